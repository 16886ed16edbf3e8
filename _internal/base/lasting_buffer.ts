/** Memory of the caller that must last until it is sent. Code elsewhere can detach it. */

/** Throws if the buffer of the data is detached. The data would count as empty. */
export function checkAttached(name: string, data: Uint8Array): void {
  if (data.length > 0 || !(data.buffer as ArrayBuffer).detached) return;
  throw new TypeError(`Invalid ${name}: its buffer is detached. Transfer a copy of it instead`);
}

/** Returns the cause of a failure after a buffer was detached or resized. */
export function bufferLost(): TypeError {
  return new TypeError(
    "its buffer was detached or resized while it was written. Await the write first",
  );
}

/** Throws unless the data has as many bytes as when it was passed. */
export function requireSize(data: Uint8Array, size: number): void {
  if (data.length !== size) throw bufferLost();
}

/**
 * Returns the bytes that were not sent; `undefined` unless the data has as many bytes as when it
 * was passed.
 */
export function bytesFrom(data: Uint8Array, sent: number, size: number): Uint8Array | undefined {
  if (data.length !== size) return undefined;
  return sent === 0 ? data : data.subarray(sent);
}
