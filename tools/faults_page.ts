/**
 * Writes docs/faults.md from the tests of `tests/faults`.
 *
 * - Each test has a doc comment before it: `Fault:`, `How:` and `Then:`, each of one or more lines.
 * - The first comment of a file is the heading of its section, and a text below it.
 * - `deno run -A tools/faults_page.ts` writes the page. With `--check` it fails if the page
 *   differs.
 */

import { formatMarkdown } from "./markdown.ts";

const PAGE = "docs/faults.md";
const DIRECTORY = "tests/faults";

const INTRO = `# Faults

What is broken on purpose, how, and what must happen then. \`deno task test:faults\` does all this to
real processes, in about a quarter of an hour. An \`…\` in the name of a test stands for what differs
between the tests of a series.

This page is written by \`tools/faults_page.ts\` from the comments beside the tests.
`;

const LABELS = ["Fault", "How", "Then"] as const;

/** A fault, with the test or the series of tests that causes it. */
export interface Fault {
  /** The fault, how it is caused, and what must happen. */
  readonly cells: readonly string[];
  readonly test: string;
}

/** The faults of a test file. */
export interface Section {
  readonly title: string;
  readonly text: string;
  readonly faults: readonly Fault[];
}

/** A call of `test()` with the doc comment before it, if it has one. */
const TEST =
  /(?:\/\*\*((?:(?!\*\/)[^])*)\*\/\s*)?^[ \t]*(?:Deno\.)?test(?:Alone)?\(\s*(["'`])((?:(?!\2)[^])*)\2/gm;

/**
 * Returns the faults of a file of tests.
 *
 * @throws {Error} if its heading, or the comment of a test, is missing.
 */
export function sectionOf(file: string, source: string): Section {
  const [, header] = /^\/\*\*([^]*?)\*\//.exec(source) ?? [];
  const [, title, text = ""] = /^# (.*)\n?([^]*)$/.exec(textOf(header ?? "")) ?? [];
  if (title === undefined) throw new Error(`${file} does not begin with a heading: /** # … */`);
  const faults = [...source.matchAll(TEST)].map(([, comment = "", , name = ""]) => {
    const test = name.replace(/\$\{[^}]*\}/g, "…");
    const [, ...cells] = new RegExp(`^${LABELS.map((l) => `${l}: ([^]*)`).join("\n")}$`)
      .exec(textOf(comment)) ?? [];
    if (cells.length === 0) {
      throw new Error(`${file} has a test without "${LABELS.join(':", "')}:" before it: ${test}`);
    }
    return { cells: cells.map(oneLine), test };
  });
  return { title, text: oneLine(text), faults };
}

/** Returns the text of a doc comment without its asterisks. */
function textOf(comment: string): string {
  return comment.split("\n").map((line) => line.replace(/^\s*\* ?/, "")).join("\n").trim();
}

function oneLine(text: string): string {
  return text.trim().replace(/\s+/g, " ");
}

/** Returns the page, before it is formatted. */
export function pageOf(sections: readonly Section[]): string {
  const parts = sections.map(({ title, text, faults }) =>
    [
      `## ${title}`,
      ...(text === "" ? [] : [text]),
      [
        "| fault | how | what must happen | test |",
        "| --- | --- | --- | --- |",
        ...faults.map(({ cells, test }) =>
          `| ${[...cells, `\`${test}\``].map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
        ),
      ].join("\n"),
    ].join("\n\n")
  );
  return [INTRO, ...parts].join("\n\n") + "\n";
}

if (import.meta.main) {
  const files = [...Deno.readDirSync(DIRECTORY)].map(({ name }) => `${DIRECTORY}/${name}`)
    .filter((file) => file.endsWith("_test.ts")).sort();
  const sections = files.map((file) => sectionOf(file, Deno.readTextFileSync(file)));
  const page = await formatMarkdown(pageOf(sections));
  if (!Deno.args.includes("--check")) {
    await Deno.writeTextFile(PAGE, page);
  } else if (page !== await Deno.readTextFile(PAGE)) {
    console.error(`${PAGE} differs from ${DIRECTORY}: run deno run -A tools/faults_page.ts`);
    Deno.exitCode = 1;
  }
  console.log(`${sections.flatMap(({ faults }) => faults).length} faults in ${PAGE}`);
}
