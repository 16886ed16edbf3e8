/**
 * Renders the pages and the reference as HTML, and opens each in headless Chromium, in a narrow and
 * in a wide window. Fails if a page is wider than its window, or a link leads nowhere.
 *
 * With `--output DIR` it keeps the HTML and pictures of some pages.
 */

import { Browser } from "./browser.ts";
import { brokenLinks } from "./links.ts";
import { type Page, writePages, writeReference } from "./pages.ts";

const WIDTHS = [400, 1400];
const WIDE = 1000;
/** The height of a picture, in pixels: as much as a reader sees after some scrolling. */
const HEIGHT = 2400;

/** The pages with a picture, one of each kind. */
const PICTURES =
  /^(?:README|docs\/(?:first_daemon|command_line|messages|options|compatibility|workers)|api\/(?:index|~\/(?:ServeOptions|serve)))\.html$/;

/**
 * Reports whether a page is opened. Of the reference, only the pages of modules and of two symbols
 * are opened.
 */
function isOpened({ html }: Page): boolean {
  return !html.includes("~") || PICTURES.test(html);
}

/** Returns the pages that are wider than a window. Writes pictures of some pages. */
async function tooWide(pages: Page[], output: string): Promise<string[]> {
  const problems: string[] = [];
  await using browser = await Browser.start();
  await Deno.mkdir(`${output}/pictures`, { recursive: true });
  for (const width of WIDTHS) {
    for (const { html, source } of pages) {
      const actual = await browser.open(`file://${output}/${html}`, width);
      // Deno's layout of the reference needs a wide window.
      const isBound = width > WIDE || !html.startsWith("api/");
      if (actual > width && isBound) {
        problems.push(`${source}: ${actual} pixels in a window of ${width}`);
      }
      if (!PICTURES.test(html)) continue;
      const name = html.replaceAll("/", "_").replace(/html$/, `${width}.png`);
      await Deno.writeFile(`${output}/pictures/${name}`, await browser.picture(width, HEIGHT));
    }
  }
  return problems;
}

const [option, directory] = Deno.args;
const isKept = option === "--output" && directory !== undefined;
const output = isKept
  ? (await Deno.mkdir(directory, { recursive: true }), await Deno.realPath(directory))
  : await Deno.makeTempDir({ prefix: "uds-" });
try {
  const pages = [...await writePages(output), ...await writeReference(output)];
  const problems = [
    ...await brokenLinks(pages, output),
    ...await tooWide(pages.filter(isOpened), output),
  ];
  for (const problem of problems) console.error(problem);
  console.log(`${pages.length} pages, ${problems.length} problems`);
  if (problems.length > 0) Deno.exitCode = 1;
} finally {
  if (!isKept) await Deno.remove(output, { recursive: true });
}
