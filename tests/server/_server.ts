/** Helpers that the tests of `server` share. */

import { connect, isSocketError } from "@uds/uds";
import { assert } from "@std/assert";
import { decode, readAll } from "../_helpers.ts";

/** Returns everything that a server sends to a silent client. */
export async function fetchText(path: string): Promise<string> {
  const conn = await connect(path);
  const text = decode(await readAll(conn));
  conn.close();
  return text;
}

/** Returns the fields of an error of this package, without its message. */
export function fieldsOf(error: unknown): unknown[] {
  assert(isSocketError(error), `${error} has no operation and path`);
  return [error.name, error.operation, error.path, error.code];
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
