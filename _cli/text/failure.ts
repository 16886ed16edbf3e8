/** Failures of the system that do not name the operation. */

/**
 * Returns a failure of the same class that begins with what was tried.
 *
 * @param attempt What was tried, such as `Cannot read "c.pem"`.
 * @param cause What Deno threw.
 */
export function failure(attempt: string, cause: Error): Error {
  const state = cause.message.replace(/ \(os error \d+\).*$/s, "");
  return new (cause.constructor as ErrorConstructor)(`${attempt}: ${state}`, { cause });
}

/** Does some work. If it fails, throws a {@linkcode failure} of the attempt. */
export async function explained<T>(attempt: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw failure(attempt, error as Error);
  }
}
