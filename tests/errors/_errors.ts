/** Helpers that the tests of `errors` share. */

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
