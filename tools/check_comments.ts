/**
 * Checks that comments are short: lines of at most 100 columns, and at most four lines of text.
 *
 * - The number of lines is not limited for the header of a file, for the doc comment of an exported
 *   declaration or of one of its members, and for the comments that docs/faults.md is written from.
 * - Longer reasons belong on a page of `docs/design/`.
 * - `deno run -A tools/check_comments.ts [FILE…]` lists the comments and fails if there are any.
 * - With `--count` it prints how many there are, and succeeds. With `--fix` it first wraps the
 *   paragraphs that are too wide.
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

/** Returns how many lines of a comment have text. A drawing between two fences does not count. */
function textLines(comment: string): number {
  return comment.replace(/```[^]*?```/g, "").split("\n").filter((line) => /[^\s/*]/.test(line))
    .length;
}

/** Reports whether only comments come before a comment. */
function isHeader(source: string, { start }: SourcePart): boolean {
  const before = source.slice(0, start).replace(/\/\*[^]*?\*\/|\/\/.*|^#!.*/g, "");
  return before.trim() === "";
}

/** Reports whether a doc comment belongs to an export, to a member of one, or to a fault. */
function isPublished(source: string, { text, start }: SourcePart): boolean {
  if (!text.startsWith("/**")) return false;
  if (/^\/\*\*\s*\* Fault: /.test(text)) return true;
  const indent = source.slice(source.lastIndexOf("\n", start) + 1, start);
  if (indent === "") return source.slice(start + text.length).trimStart().startsWith("export ");
  const outer = source.slice(0, start).split("\n").findLast((line) => /^[a-z]/.test(line));
  return outer?.startsWith("export ") ?? false;
}

/** A line that begins a paragraph: a list item, a tag, a heading, a table, a fence, a label. */
const OPENS = /^(?:[-*+] |\d+\. |@|#|\||```|(?:Fault|How|Then): )/;

/** Returns the source with each paragraph wrapped that has a line of a comment that is too wide. */
export function wrapComments(source: string): string {
  let result = "";
  let end = 0;
  for (const { kind, text, start } of partsOf(source)) {
    const indent = source.slice(source.lastIndexOf("\n", start - 1) + 1, start);
    const isWide = `${indent}${text}`.split("\n").some((line) => [...line].length > MAX_COLUMNS);
    // A comment behind code stays where it is.
    if (kind === "string" || !isWide || indent.trim() !== "") continue;
    result += source.slice(end, start) + wrapComment(text, indent, kind);
    end = start + text.length;
  }
  return result + source.slice(end);
}

function wrapComment(text: string, indent: string, kind: "line" | "block"): string {
  const isBlock = kind === "block";
  const begin = `${indent}${isBlock ? " * " : "// "}`;
  const contents = (isBlock ? text.replace(/^\/\*\*?|\s*\*\/$/g, "") : text).split("\n")
    .map((line) => line.replace(isBlock ? /^\s*(?:\* ?)?/ : /^\s*\/\/ ?/, "").trimEnd());
  if (isBlock && contents[0] === "") contents.shift();
  const lines = paragraphs(contents).flatMap(({ lines, isCode }) =>
    isCode ? lines : wrapParagraph(lines, begin.length)
  );
  const body = lines.map((line) => (begin + line).trimEnd());
  if (!isBlock) return body.join("\n").trimStart();
  return [text.startsWith("/**") ? "/**" : "/*", ...body, `${indent} */`].join("\n");
}

/** Lines of a comment that are wrapped together. */
interface Paragraph {
  readonly lines: string[];
  readonly isCode: boolean;
}

/** Splits lines into paragraphs. An empty line is one, and so is each line of a code block. */
function paragraphs(lines: readonly string[]): Paragraph[] {
  const result: Paragraph[] = [];
  let isCode = false;
  let isOpen = false;
  for (const line of lines) {
    const text = line.trimStart();
    const isFence = text.startsWith("```");
    if (isCode || isFence || text === "" || !isOpen || OPENS.test(text)) {
      result.push({ lines: [line], isCode: isCode || isFence });
    } else {
      result.at(-1)!.lines.push(line);
    }
    if (isFence) isCode = !isCode;
    isOpen = !isCode && !isFence && text !== "" && !/^[|#]/.test(text);
  }
  return result;
}

/** Wraps a paragraph if one of its lines is too wide, with its own indentation. */
function wrapParagraph(lines: readonly string[], used: number): readonly string[] {
  const width = MAX_COLUMNS - used;
  const [first = "", second] = lines;
  const isWide = lines.some((line) => [...line].length > width);
  if (!isWide || /^\s*[|#]/.test(first)) return lines;
  const [margin = ""] = /^\s*/.exec(first)!;
  const [bullet = ""] = /^(?:[-*+] |\d+\. )?/.exec(first.trimStart())!;
  const hanging = second === undefined
    ? margin + " ".repeat(bullet.length)
    : /^\s*/.exec(second)![0];
  const wrapped: string[] = [];
  let line = margin;
  for (const word of lines.join(" ").trim().split(/\s+/)) {
    const isEmpty = line.trim() === "";
    if (!isEmpty && [...line].length + 1 + [...word].length > width) {
      wrapped.push(line);
      line = hanging + word;
    } else {
      line += isEmpty ? word : ` ${word}`;
    }
  }
  return [...wrapped, line];
}

if (import.meta.main) {
  const given = Deno.args.filter((arg) => !arg.startsWith("--"));
  const files = given.length > 0 ? given : projectFiles([".ts"]);
  if (Deno.args.includes("--fix")) {
    for (const file of files) {
      const source = Deno.readTextFileSync(file);
      const wrapped = wrapComments(source);
      if (wrapped !== source) Deno.writeTextFileSync(file, wrapped);
    }
  }
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
