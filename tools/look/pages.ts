/** The pages and the reference as HTML, as a reader sees them. */

import { dirname, join } from "@std/path/posix";
import { Marked, type Tokens } from "marked";

/** A page of HTML: where it is, and what it was made of. */
export interface Page {
  /** The path of the file of HTML, from the output directory. */
  html: string;
  /** The path of the source, or the page itself for the reference. */
  source: string;
}

const STYLE = `
body { font: 16px/1.5 sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
body { overflow-wrap: break-word; }
pre { background: #f4f4f4; overflow-x: auto; padding: .75rem; overflow-wrap: normal; }
code { font: 14px/1.45 monospace; }
table { border-collapse: collapse; display: block; max-width: 100%; overflow-x: auto; }
td, th { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }
img { max-width: 100%; }
`;

/** Returns the identifier of a heading, as on GitHub, unless the page has it already. */
export function anchorOf(heading: string, known: Set<string>): string {
  const slug = heading.trim().toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");
  let anchor = slug;
  for (let i = 1; known.has(anchor); i++) anchor = `${slug}-${i}`;
  known.add(anchor);
  return anchor;
}

/** Returns the text of tokens, without marks. */
function plain(tokens: Tokens.Generic[]): string {
  return tokens.map((token) => token["tokens"] ? plain(token["tokens"]) : token["text"] ?? "")
    .join("").replaceAll("&amp;", "&").replaceAll("&lt;", "<").replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"').replaceAll("&#39;", "'");
}

/** Returns a page of HTML for Markdown. Links to other pages lead to their HTML. */
export async function render(markdown: string, title: string): Promise<string> {
  const anchors = new Set<string>();
  const body = await new Marked({
    renderer: {
      heading({ tokens, depth }) {
        const anchor = anchorOf(plain(tokens), anchors);
        return `<h${depth} id="${anchor}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
      },
      link({ href, tokens }) {
        const to = /^\w+:/.test(href) ? href : href.replace(/\.md(?=#|$)/, ".html");
        return `<a href="${to}">${this.parser.parseInline(tokens)}</a>`;
      },
    },
  }).parse(markdown);
  return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>` +
    `<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head>` +
    `<body>${body}</body></html>\n`;
}

/** Writes each Markdown page of this directory as HTML below another one. */
export async function writePages(output: string): Promise<Page[]> {
  const { stdout } = await new Deno.Command("git", { args: ["ls-files", "*.md"] }).output();
  const sources = new TextDecoder().decode(stdout).trim().split("\n");
  return await Promise.all(sources.map(async (source) => {
    const html = source.replace(/\.md$/, ".html");
    await Deno.mkdir(join(output, dirname(html)), { recursive: true });
    await Deno.writeTextFile(
      join(output, html),
      await render(await Deno.readTextFile(source), source),
    );
    return { html, source };
  }));
}

/** Writes the reference of all entry points below a directory. */
export async function writeReference(output: string): Promise<Page[]> {
  const { exports } = JSON.parse(await Deno.readTextFile("deno.json")) as {
    exports: Record<string, string>;
  };
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--html", "--name=uds", `--output=${output}/api`, ...Object.values(exports)],
    stdout: "null",
  }).output();
  if (!success) throw new Error("deno doc cannot write the reference");
  // A page that only leads to another one has nothing to look at.
  const isPage = (file: string) =>
    file.endsWith(".html") && !Deno.readTextFileSync(file).includes('http-equiv="refresh"');
  return filesBelow(`${output}/api`).filter(isPage).map((file) => {
    const html = file.slice(output.length + 1);
    return { html, source: html };
  });
}

function filesBelow(directory: string): string[] {
  return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(`${directory}/${name}`) : [`${directory}/${name}`]
  );
}
