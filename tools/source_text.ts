/** Finds the comments and string literals of TypeScript files, and the files of this project. */

/** A comment or a string literal. Consecutive lines of `//` are one comment. */
export interface SourcePart {
  readonly kind: "line" | "block" | "string";
  /** The text with its delimiters. */
  readonly text: string;
  /** The offset in the source. */
  readonly start: number;
}

/** Directories that do not belong to the project, or are generated. */
const SKIPPED = [".git", ".coverage", "node_modules", "results"];

/** Keywords after which a slash begins a regular expression. */
const BEFORE_REGEXP = /\b(?:return|typeof|case|in|of|do|else|void|yield|await|throw)$/;

/**
 * Returns the paths of all files below a directory with one of the endings, sorted.
 *
 * @param endings Endings of the names, such as `".ts"`.
 * @param directory The directory, `""` for the working directory.
 */
export function projectFiles(endings: readonly string[], directory = ""): string[] {
  return [...Deno.readDirSync(directory || ".")].flatMap(({ name, isDirectory }) => {
    const path = directory === "" ? name : `${directory}/${name}`;
    if (isDirectory) return SKIPPED.includes(name) ? [] : projectFiles(endings, path);
    return endings.some((ending) => name.endsWith(ending)) ? [path] : [];
  }).sort();
}

/** Returns the line of an offset, counted from 1. */
export function lineOf(source: string, offset: number): number {
  let line = 1;
  for (let i = source.indexOf("\n"); i >= 0 && i < offset; i = source.indexOf("\n", i + 1)) line++;
  return line;
}

/** Returns the comments and string literals of a source, in order. */
export function partsOf(source: string): SourcePart[] {
  const parts: SourcePart[] = [];
  // One entry per open template: the number of open braces within its `${`.
  const braces: number[] = [];
  let i = 0;
  let code = "";

  const skip = (pattern: RegExp): number => {
    pattern.lastIndex = i;
    return pattern.exec(source)?.[0].length ?? 1;
  };
  const add = (kind: SourcePart["kind"], length: number) => {
    const last = parts.at(-1);
    const text = source.slice(i, i + length);
    if (kind === "line" && last?.kind === "line" && isOneComment(source, last, i)) {
      parts[parts.length - 1] = { ...last, text: source.slice(last.start, i + length) };
    } else {
      parts.push({ kind, text, start: i });
    }
    i += length;
  };
  const addTemplatePiece = () => {
    const length = skip(/[`}](?:[^`\\$]|\\[^]|\$(?!\{))*(?:`|\$\{)?/y);
    if (source.slice(i, i + length).endsWith("${")) braces.push(0);
    add("string", length);
    code = ")";
  };

  while (i < source.length) {
    const char = source[i]!;
    const next = source[i + 1];
    if (char === "/" && next === "/") add("line", skip(/\/\/.*/y));
    else if (char === "/" && next === "*") add("block", skip(/\/\*[^]*?\*\//y));
    else if (char === '"' || char === "'") {
      add("string", skip(char === '"' ? /"(?:[^"\\\n]|\\[^])*"/y : /'(?:[^'\\\n]|\\[^])*'/y));
      code = ")";
    } else if (char === "`") {
      addTemplatePiece();
    } else if (char === "}" && braces.at(-1) === 0) {
      braces.pop();
      addTemplatePiece();
    } else if (char === "/" && isRegExpNext(code)) {
      i += skip(/\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y);
      code = ")";
    } else {
      if (braces.length > 0 && char === "{") braces[braces.length - 1]!++;
      if (braces.length > 0 && char === "}") braces[braces.length - 1]!--;
      if (!/\s/.test(char)) code = /\s/.test(source[i - 1] ?? "") ? char : (code + char).slice(-10);
      i++;
    }
  }
  return parts;
}

/** Reports whether only the start of one line is between a comment and an offset. */
function isOneComment(source: string, last: SourcePart, offset: number): boolean {
  return /^\n[ \t]*$/.test(source.slice(last.start + last.text.length, offset));
}

/** Reports whether a slash after some code begins a regular expression, and does not divide. */
function isRegExpNext(code: string): boolean {
  return code === "" || /[(,=:[!&|?{};+\-*%~^<>]$/.test(code) || BEFORE_REGEXP.test(code);
}
