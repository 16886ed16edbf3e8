/**
 * Checks that comments are short: lines of at most 100 columns, and at most four lines of text.
 *
 * - The number of lines is not limited for the header of a file, for the doc comment of an exported
 *   declaration or of one of its members, and for the comments that docs/faults.md is written from.
 * - Longer reasons belong on a page of `docs/design/`.
 * - `deno run -A tools/check_comments.ts [FILE…]` lists the comments and fails if there are any.
 * - With `--count` it prints how many there are, and succeeds.
 */

import { lineOf, partsOf, projectFiles, type SourcePart } from "./source_text.ts";

/** The width of a line, as `deno fmt` and `.editorconfig` have it. */
const MAX_COLUMNS = 100;
/** Lines of text of a comment in the code. */
const MAX_LINES = 4;

/** A comment that is too wide or too long. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly kind: "wide" | "long";
  /** The number of columns or of lines. */
  readonly size: number;
}

/**
 * Returns the comments of a source that are too wide or too long.
 *
 * @param file The path, for the result.
 * @param source The content of the file.
 */
export function problemsOf(file: string, source: string): Problem[] {
  const lines = source.split("\n");
  return partsOf(source).filter(({ kind }) => kind !== "string").flatMap((part) => {
    const first = lineOf(source, part.start);
    const count = part.text.split("\n").length;
    const problems: Problem[] = [];
    for (let line = first; line < first + count; line++) {
      const size = [...lines[line - 1] ?? ""].length;
      // A line that cannot be broken, such as an address, is as long as it must be.
      const isOneWord = /^\s*(?:\*|\/\/)?\s*\S+$/.test(lines[line - 1] ?? "");
      if (size > MAX_COLUMNS && !isOneWord) problems.push({ file, line, kind: "wide", size });
    }
    const size = textLines(part.text);
    if (size > MAX_LINES && !isHeader(source, part) && !isPublished(source, part)) {
      problems.push({ file, line: first, kind: "long", size });
    }
    return problems;
  });
}

/** Returns how many lines of a comment have text. */
function textLines(comment: string): number {
  return comment.split("\n").filter((line) => /[^\s/*]/.test(line)).length;
}

/** Reports whether only comments come before a comment. */
function isHeader(source: string, { start }: SourcePart): boolean {
  const before = source.slice(0, start).replace(/\/\*[^]*?\*\/|\/\/.*|^#!.*/g, "");
  return before.trim() === "";
}

/** Reports whether a doc comment is that of an exported declaration, of a member of one, or of a fault. */
function isPublished(source: string, { text, start }: SourcePart): boolean {
  if (!text.startsWith("/**")) return false;
  if (/^\/\*\*\s*\* Fault: /.test(text)) return true;
  const indent = source.slice(source.lastIndexOf("\n", start) + 1, start);
  if (indent === "") return source.slice(start + text.length).trimStart().startsWith("export ");
  const outer = source.slice(0, start).split("\n").findLast((line) => /^[a-z]/.test(line));
  return outer?.startsWith("export ") ?? false;
}

if (import.meta.main) {
  const given = Deno.args.filter((arg) => !arg.startsWith("--"));
  const files = given.length > 0 ? given : projectFiles([".ts"]);
  const problems = files.flatMap((file) => problemsOf(file, Deno.readTextFileSync(file)));
  const wide = problems.filter(({ kind }) => kind === "wide").length;
  if (!Deno.args.includes("--count")) {
    for (const { file, line, kind, size } of problems) {
      const limit = kind === "wide" ? `${MAX_COLUMNS} columns` : `${MAX_LINES} lines`;
      console.error(`${file}:${line}: a comment of ${size}, at most ${limit}`);
    }
    if (problems.length > 0) Deno.exitCode = 1;
  }
  console.log(`${wide} comment lines are too wide, ${problems.length - wide} comments too long`);
}
