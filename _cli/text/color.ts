/** Colors: on a terminal only, and not if NO_COLOR is set. */

/** Returns bold text for standard output. */
export function bold(text: string): string {
  return paint("1", text, Deno.stdout);
}

/** Returns dim text for standard output. */
export function dim(text: string): string {
  return paint("2", text, Deno.stdout);
}

/** Returns green text for standard output. */
export function green(text: string): string {
  return paint("32", text, Deno.stdout);
}

/** Returns yellow text for standard output. */
export function yellow(text: string): string {
  return paint("33", text, Deno.stdout);
}

/** Returns red text for standard error. */
export function red(text: string): string {
  return paint("31", text, Deno.stderr);
}

function paint(code: string, text: string, stream: { isTerminal(): boolean }): string {
  // Deno reads NO_COLOR itself, without a permission.
  return stream.isTerminal() && !Deno.noColor ? `\x1b[${code}m${text}\x1b[0m` : text;
}
