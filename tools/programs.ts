/**
 * Runs the tests of `tests/programs`, and compares the table of docs/compatibility.md with what
 * they have checked. `UDS_UPDATE_DOCS=1 deno task test:programs` writes the table.
 *
 * The versions may differ: they are those of the system that the table was written on.
 */

import type { Row } from "../tests/programs/_programs.ts";
import { formatMarkdown } from "./markdown.ts";
import { runTests, summary, testFiles } from "./test.ts";

const PAGE = "docs/compatibility.md";

/**
 * The section of the page: its heading and introduction, and the table, which a heading follows.
 */
const SECTION = /(^## Programs\n[^|#]*)((?:\|.*\n)*)/m;

const HEAD = "| program | version | way | what was checked |\n| --- | --- | --- | --- |\n";

/** Returns the table of what was checked, sorted by the program. */
export function tableOf(rows: readonly Row[]): string {
  const sorted = rows.map(({ program, version, way, what }) =>
    `| ${[program, version, way, what].map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`
  ).sort((a, b) => a.toLowerCase() < b.toLowerCase() ? -1 : 1);
  return HEAD + sorted.join("");
}

/** Returns the page with another table. */
export function pageWith(page: string, table: string): string {
  if (!SECTION.test(page)) throw new Error(`${PAGE} has no section "## Programs"`);
  return page.replace(SECTION, (_, before: string) => before + table);
}

/** Returns the cells of the table of a page, apart from the versions. */
export function checkedBy(page: string): string[] {
  const [, , table = ""] = SECTION.exec(page) ?? [];
  return table.trimEnd().split("\n").map((line) => {
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    return [...cells.slice(0, 2), ...cells.slice(3)].join(" | ").replace(/-+/g, "-");
  });
}

/** Writes the table, or reports whether that of the page differs. */
async function update(rows: readonly Row[]): Promise<void> {
  const page = await Deno.readTextFile(PAGE);
  const written = await formatMarkdown(pageWith(page, tableOf(rows)));
  if (Deno.env.get("UDS_UPDATE_DOCS") === "1") return await Deno.writeTextFile(PAGE, written);
  if (checkedBy(page).join("\n") === checkedBy(written).join("\n")) return;
  console.error(`${PAGE} differs: run UDS_UPDATE_DOCS=1 deno task test:programs`);
  Deno.exitCode = 1;
}

if (import.meta.main) {
  const file = await Deno.makeTempFile({ prefix: "uds-" });
  const env = { UDS_PROGRAMS: file };
  const result = await runTests({ files: testFiles("tests/programs"), env });
  const lines = (await Deno.readTextFile(file)).split("\n").filter((line) => line !== "");
  await Deno.remove(file);
  if (!result.ok) Deno.exitCode = 1;
  // Without all of the programs the table would lack rows.
  else if (result.counts.ignored === 0) await update(lines.map((line) => JSON.parse(line)));
  console.log(`\n${summary(result)}`);
}
