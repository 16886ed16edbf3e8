/**
 * A transport that gets its bytes by a callback.
 *
 * - Bytes without a reader stay where they are, and reading pauses.
 * - It keeps the process alive while an operation is pending, not merely because it is open.
 */

import type { Transport } from "../connection/socket_connection.ts";

/** The size of the one buffer to read into. */
export const BUFFER_SIZE: number = 256 * 1024;

/** The most bytes passed to the socket at once. A failed write counts the whole slice as unsent. */
const SLICE_SIZE = 256 * 1024;

interface Reader {
  buffer: Uint8Array;
  resolve: (count: number | null) => void;
  reject: (error: Error) => void;
}

/** A transport that gets its bytes by a callback. */
export abstract class CallbackSocket implements Transport {
  readonly #readers: Reader[] = [];
  /** The bytes without a reader: with a buffer of ours at most those in it. */
  #rest: Uint8Array[] = [];
  /** How the reading has ended: `null` at end of file. */
  #readEnd: Error | null | undefined;
  #pending = 0;
  #keepsAlive = true;
  #isClosed = false;

  abstract write(data: Uint8Array): Promise<number>;
  abstract closeWrite(): Promise<void>;

  /** Reads on, after the bytes without a reader were taken. */
  protected abstract resume(): void;
  /** Sets whether the socket keeps the process alive. */
  protected abstract keepAlive(keeps: boolean): void;
  /** Closes the descriptor. */
  protected abstract destroy(): void;

  get hasBytes(): boolean {
    return this.#rest.length > 0;
  }

  /** How the reading has ended: `null` at end of file, `undefined` if it has not. */
  protected get readEnd(): Error | null | undefined {
    return this.#readEnd;
  }

  /** Returns the part of the data that is written at once. */
  protected slice(data: Uint8Array): Uint8Array {
    return data.length > SLICE_SIZE ? data.subarray(0, SLICE_SIZE) : data;
  }

  /** Delivers bytes to pending reads. Reports whether they want more. */
  protected deliver(bytes: Uint8Array): boolean {
    let rest = bytes;
    while (rest.length > 0) {
      const reader = this.#readers.shift();
      if (reader === undefined) {
        this.#rest.push(rest);
        return false;
      }
      const count = Math.min(reader.buffer.length, rest.length);
      reader.buffer.set(rest.subarray(0, count));
      rest = rest.subarray(count);
      this.settle(() => reader.resolve(count));
    }
    return true;
  }

  protected endReading(end: Error | null): void {
    this.#readEnd = end;
    for (const { resolve, reject } of this.#readers.splice(0)) {
      this.settle(() => end === null ? resolve(null) : reject(end));
    }
  }

  read(buffer: Uint8Array): Promise<number | null> {
    const first = this.#rest[0];
    if (first !== undefined) {
      const count = Math.min(buffer.length, first.length);
      buffer.set(first.subarray(0, count));
      if (count < first.length) {
        this.#rest[0] = first.subarray(count);
      } else {
        this.#rest.shift();
        if (this.#rest.length === 0) this.resume();
      }
      return Promise.resolve(count);
    }
    if (this.#readEnd === null) return Promise.resolve(null);
    if (this.#readEnd !== undefined) return Promise.reject(this.#readEnd);
    return new Promise((resolve, reject) => {
      this.#readers.push({ buffer, resolve, reject });
      this.begin();
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.destroy();
    if (this.#readEnd === undefined) {
      this.endReading(new Deno.errors.Interrupted("operation canceled"));
    }
  }

  ref(): void {
    this.#keepsAlive = true;
    if (this.#pending > 0) this.keepAlive(true);
  }

  unref(): void {
    this.#keepsAlive = false;
    this.keepAlive(false);
  }

  /** Called when an operation begins to wait. */
  protected begin(): void {
    if (this.#pending++ === 0 && this.#keepsAlive) this.keepAlive(true);
  }

  /** Settles an operation that has waited. */
  protected settle(settle: () => void): void {
    if (--this.#pending === 0 && !this.#isClosed) this.keepAlive(false);
    settle();
  }
}
