/** Colors: on a terminal only, and not if NO_COLOR is set. */

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** Returns a text in a color, for standard output or another stream. */
export function paint(
  color: keyof typeof CODES,
  text: string,
  stream: { isTerminal(): boolean } = Deno.stdout,
): string {
  // Deno reads NO_COLOR itself, without a permission.
  return stream.isTerminal() && !Deno.noColor ? `\x1b[${CODES[color]}m${text}\x1b[0m` : text;
}
