/** Helpers that the tests of `takeover` share. */

import { connect, type Connection, permissionFlags, permissions } from "@uds/uds";
import { encode, readText, testAlone } from "../_helpers.ts";

/** Options of a server that others may replace. */
export const RENAME = { publish: "rename" } as const;

/** Options of a server that replaces another one. */
export const REPLACE = { publish: "rename", existing: "replace" } as const;

export const SERVER_FLAGS = (path: string): string[] =>
  permissionFlags(permissions("serve", path, RENAME));

/** Returns a handler that sends a text. */
export const greet = (text: string) => async (conn: Connection): Promise<void> =>
  void await conn.write(encode(text));

/** Returns the text that the server at a path sends. */
export async function greetingAt(path: string): Promise<string> {
  await using conn = await connect(path);
  return `${await readText(conn)}`;
}

/**
 * Defines cases that mostly wait for seconds and run at the same time, alone like those of
 * {@linkcode testAlone}. A failure names the case, after all have ended.
 */
export function testAloneAtOnce(name: string, rows: Record<string, () => Promise<void>>): void {
  testAlone(`${name} (${Object.keys(rows).length} cases at once)`, async () => {
    const entries = Object.entries(rows);
    const results = await Promise.allSettled(entries.map(([, run]) => run()));
    const failures = results.flatMap((result, i) =>
      result.status === "rejected"
        ? [new Error(`${entries[i]![0]}: ${result.reason}`, { cause: result.reason })]
        : []
    );
    if (failures.length > 0) throw failures[0];
  });
}
