/**
 * The output of a command. It ends with the command, even if a process that it left has the socket.
 */

import type { Connection } from "../../connection.ts";
import { ConnectionClosed } from "../../errors.ts";
import type { Child } from "../../pair.ts";

/**
 * How often, and how long in milliseconds, to wait for bytes in the kernel after the command exits.
 */
const WAITS = 5;
const WAIT_MS = 50;

/** The maximum number of bytes to read after the exit. By default, no socket buffer holds more. */
const MAX_LEFT_BYTES = 4 * 1024 * 1024;

/** Returns what a command writes until it exits. */
export function commandOutput({ conn, status }: Child): Pick<Connection, "read"> {
  let hasExited = false;
  let isReading = false;
  // The waits are short, so that a busy event loop counts as one of them only.
  let waits = WAITS;
  let left = MAX_LEFT_BYTES;
  let timer: ReturnType<typeof setTimeout> | undefined;
  status.then(() => {
    hasExited = true;
    wait();
  });
  return {
    async read(buffer) {
      if (left <= 0) return null;
      isReading = true;
      wait();
      try {
        const count = await conn.read(buffer);
        if (hasExited) left -= count ?? 0;
        return count;
      } catch (error) {
        if (waits <= 0 && error instanceof ConnectionClosed) return null;
        throw error;
      } finally {
        isReading = false;
        clearTimeout(timer);
      }
    },
  };

  /** Closes the socket after some waits without a byte. */
  function wait(): void {
    if (!hasExited || !isReading) return;
    timer = setTimeout(() => {
      if (--waits <= 0) conn.close();
      else wait();
    }, WAIT_MS);
  }
}
