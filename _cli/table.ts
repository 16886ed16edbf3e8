/** Tables for people. */

import { bold } from "./color.ts";

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

/** A cell without what would move the cursor: a file may have any name. */
function cell(row: readonly string[], i: number): string {
  return (row[i] ?? "").replace(/\p{Cc}/gu, (control) => {
    return `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}
