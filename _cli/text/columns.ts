/** Text in columns. */

import { paint } from "./color.ts";
import { printable } from "./printable.ts";

/** Returns a line for each row. Each column is as wide as its widest cell. */
export function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd());
}

/** Returns a table. On a terminal the header is bold. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const [first = "", ...others] = align([header, ...rows.map((row) => row.map(printable))]);
  return [paint("bold", first), ...others, ""].join("\n");
}
