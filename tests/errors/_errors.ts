/** Helpers that the tests of `errors` share. */

import { assert, assertEquals } from "@std/assert";

/** An error with the fields that one of this package may have. */
export type AnyError = Error & Record<string, unknown>;

/** Returns the error that an operation rejects with. */
export async function errorOf(call: () => unknown): Promise<AnyError> {
  try {
    await call();
  } catch (error) {
    return error as AnyError;
  }
  throw new Error("It did not fail");
}

/** The fields that an error of this package may show: the documented ones. */
const FIELDS = [
  ...["name", "operation", "path", "code", "cause", "cleanupError", "aToB", "bToA", "holder"],
  ...["mode", "uid", "gid", "size", "limit", "method", "sent", "status", "data"],
];

/** Asserts that an error shows no other fields than the documented ones, and none that is empty. */
export function assertDocumentedFields(error: AnyError): void {
  const keys = Object.keys(error);
  assertEquals(keys.filter((key) => !FIELDS.includes(key)), [], error.message);
  assert(!("cause" in error) || error.cause !== undefined, error.message);
}
