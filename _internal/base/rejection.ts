/** Rejections that need not be awaited. */

/** Keeps a rejection from ending the process if it is not awaited. */
export function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Returns a promise that has rejected, and need not be awaited. */
export function rejected(error: unknown): Promise<never> {
  return handled(Promise.reject(error));
}
