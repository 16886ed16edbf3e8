/** Tables for people. */

import { bold } from "./color.ts";
import { printable } from "./printable.ts";

/** Lines of columns, each as wide as its widest cell; on a terminal the header stands out. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((_, i) =>
    Math.max(...[header, ...rows].map((row) => cell(row, i).length))
  );
  const [first = "", ...others] = [header, ...rows].map((row) =>
    widths.map((width, i) => cell(row, i).padEnd(width)).join("  ").trimEnd()
  );
  return [bold(first), ...others, ""].join("\n");
}

function cell(row: readonly string[], i: number): string {
  return printable(row[i] ?? "");
}
