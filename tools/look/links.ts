/** The links from one page to another, and to files of this repository. */

import { dirname, join } from "@std/path/posix";
import type { Page } from "./pages.ts";

/** Returns the links of the pages that lead nowhere, a line each. */
export async function brokenLinks(pages: Page[], output: string): Promise<string[]> {
  const texts = new Map<string, string>();
  for (const { html } of pages) texts.set(html, await Deno.readTextFile(join(output, html)));
  const anchors = new Map(
    [...texts].map(([html, text]) => [html, new Set(matches(text, /\sid="([^"]*)"/g))]),
  );
  const broken: string[] = [];
  for (const { html, source } of pages) {
    for (
      const href of new Set(
        matches(texts.get(html) ?? "", /<(?:a|img)\b[^>]*?\s(?:href|src)="([^"]*)"/g),
      )
    ) {
      // Deno links a parameter of a type alias to nothing.
      if (/^(?:\w+:|\/\/|#type_param_)/.test(href)) continue;
      const [path = "", anchor = ""] = href.split("#").map(decodeURIComponent);
      const target = path === "" ? html : join(dirname(html), path);
      const known = anchors.get(target) ?? anchors.get(join(target, "index.html"));
      const isThere = known !== undefined
        ? anchor === "" || known.has(anchor)
        : await exists(join(output, target)) || await exists(target);
      if (!isThere) {
        broken.push(`${source}: ${href}`);
      }
    }
  }
  return broken;
}

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, match = ""]) =>
    match.replaceAll("&amp;", "&").replaceAll("&quot;", '"').replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">").replaceAll("&#x3D;", "=").replaceAll("&#x2F;", "/")
  );
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
