/** Colours: on a terminal only, and not where NO_COLOR is set. */

/** Text for standard output that stands out. */
export function bold(text: string): string {
  return paint("1", text, Deno.stdout);
}

/** Text for standard output that stands back. */
export function dim(text: string): string {
  return paint("2", text, Deno.stdout);
}

/** What goes one way on standard output. */
export function green(text: string): string {
  return paint("32", text, Deno.stdout);
}

/** What goes the other way. */
export function yellow(text: string): string {
  return paint("33", text, Deno.stdout);
}

/** Text for standard error that tells of a failure. */
export function red(text: string): string {
  return paint("31", text, Deno.stderr);
}

function paint(code: string, text: string, stream: { isTerminal(): boolean }): string {
  // Deno reads NO_COLOR itself: no permission is needed for that.
  return stream.isTerminal() && !Deno.noColor ? `\x1b[${code}m${text}\x1b[0m` : text;
}
