/** Text in lines of a width, for a terminal that need not be wide. */

/** The width that texts are written for. */
export const FULL_WIDTH = 104;

/** The narrowest second column. */
const MIN_COLUMN = 26;
const INDENT = "  ";
const DEEP_INDENT = "      ";

/** Returns the width of the terminal, at most the full one. Elsewhere it is the full one. */
export function terminalWidth(): number {
  if (!Deno.stdout.isTerminal()) return FULL_WIDTH;
  // A terminal of no size is one that does not know it.
  return Math.min(Deno.consoleSize().columns || FULL_WIDTH, FULL_WIDTH);
}

/** Returns words in lines. A word that is too long has a separate line. */
function fill(words: readonly string[], width: number, end = ""): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    if (line !== "" && line.length + 1 + word.length + end.length > width) {
      lines.push(line + end);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** Returns a text in lines of a width. */
export function wrap(text: string, width: number): string[] {
  return fill(text.split(" "), width);
}

/** Returns a command line in lines that a shell joins. Quoted text stays whole. */
export function wrapCommand(line: string, width: number): string[] {
  if (line.length <= width) return [line];
  return fill(line.match(/(?:'[^']*'|"[^"]*"|\S)+/g) ?? [], width - DEEP_INDENT.length, " \\");
}

/** Returns a text in lines of a width. Only empty and indented lines stay separate. */
export function rewrap(text: string, width: number): string[] {
  return joined(text).flatMap((line) => line.startsWith(INDENT) ? [line] : wrap(line, width));
}

/** Returns the paragraphs of a text, each as one line. Empty and indented lines stay separate. */
export function joined(text: string): string[] {
  const lines: string[] = [];
  let isOpen = false;
  for (const line of text.split("\n")) {
    const isPlain = line !== "" && !line.startsWith(INDENT);
    if (isPlain && isOpen) lines.push(`${lines.pop()} ${line}`);
    else lines.push(line);
    isOpen = isPlain;
  }
  return lines;
}

/** Returns rows in two columns, or one below the other where they do not fit side by side. */
export function twoColumns(
  rows: readonly (readonly [string, string])[],
  width: number,
  isCommand = false,
): string[] {
  const left = Math.max(0, ...rows.map(([first]) => first.length));
  const at = INDENT.length + left + 2;
  const right = width - at;
  // Commands stand beside their meanings only if all of them fit.
  const isWide = right >= MIN_COLUMN && (!isCommand || rows.every((row) => row[1].length <= right));
  if (isWide) {
    return rows.flatMap(([first, second]) =>
      wrap(second, right).map((line, i) =>
        `${INDENT}${(i === 0 ? first : "").padEnd(left)}  ${line}`.trimEnd()
      )
    );
  }
  return rows.flatMap(([first, second]) => [
    ...(isCommand ? wrapCommand(first, width - INDENT.length) : [first]).map((line, i) =>
      (i === 0 ? INDENT : DEEP_INDENT) + line
    ),
    ...wrap(second, width - DEEP_INDENT.length).map((line) => DEEP_INDENT + line),
  ]);
}
