/**
 * A lock that all threads of the process share, workers included: that of the stream `stderr` of
 * libc. Nothing of Deno's uses that stream.
 */

import type { ErrorContext } from "../base/error_context.ts";
import type { Libc } from "./library.ts";

/** How often to ask for the lock. Another worker holds it for microseconds. */
const MAX_TRIES = 100_000;

const address = new BigUint64Array(new ArrayBuffer(8));

/** The lock, held until it is disposed of. Nothing may be awaited meanwhile. */
export class ProcessLock implements Disposable {
  readonly #libc: Libc;
  readonly #stream: bigint;

  private constructor(libc: Libc, stream: bigint) {
    this.#libc = libc;
    this.#stream = stream;
  }

  static take(context: ErrorContext<null>, libc: Libc): ProcessLock {
    const { ftrylockfile, funlockfile, stderr } = libc;
    if (ftrylockfile === null || funlockfile === null || stderr === null) {
      throw context.error(Deno.errors.NotSupported, "this libc has no ftrylockfile. Update it");
    }
    libc.copyFrom(address, stderr, 8n);
    const stream = address[0]!;
    for (let i = 0; i < MAX_TRIES; i++) {
      if (ftrylockfile(stream) === 0) return new ProcessLock(libc, stream);
      libc.sched_yield();
    }
    throw context.error(Deno.errors.Busy, "another thread holds the lock of stderr. Try again");
  }

  [Symbol.dispose](): void {
    this.#libc.funlockfile!(this.#stream);
  }
}
