/**
 * A listener that accepts by system calls, so that each connection owns its descriptor. Closing a
 * connection of Deno's shuts the socket down, for every other holder too.
 */

import type { UnixAddr } from "../../address.ts";
import type { TransportListener } from "../connection/native_slot.ts";
import {
  EAGAIN,
  ECONNABORTED,
  EINTR,
  F_SETFD,
  FD_CLOEXEC,
  SOCK_CLOEXEC,
  SUN_PATH_BYTES,
} from "../libc/constants.ts";
import { errnoOf, failureOf } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { fixedMemory } from "../libc/memory.ts";
import { readiness } from "../libc/readiness.ts";
import { decodeName } from "../libc/socket_name.ts";
import { DescriptorTransport } from "./descriptor_transport.ts";

/** After this many clients that were there already, the rest of the process has its turn. */
const MAX_CALLS = 16;

const NAME_BYTES = 2 + SUN_PATH_BYTES;
const name = fixedMemory(NAME_BYTES);
const length = new Uint32Array(new ArrayBuffer(4));

/** A listener over a descriptor that does not block. */
export class DescriptorListener implements TransportListener {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #close: () => void;
  #isClosed = false;
  #calls = 0;

  /**
   * @param fd The descriptor.
   * @param close Closes it.
   */
  constructor(libc: Libc, fd: number, close: () => void) {
    this.#libc = libc;
    this.#fd = fd;
    this.#close = close;
  }

  async accept(): Promise<DescriptorTransport & { readonly remoteAddr: UnixAddr }> {
    const libc = this.#libc;
    if (++this.#calls > MAX_CALLS) await this.#wait();
    for (;;) {
      if (this.#isClosed) throw closedError();
      length[0] = NAME_BYTES;
      const fd = libc.accept4?.(this.#fd, name, length, SOCK_CLOEXEC) ??
        libc.accept(this.#fd, name, length);
      if (fd >= 0) {
        if (SOCK_CLOEXEC === 0) libc.fcntl(fd, F_SETFD, FD_CLOEXEC);
        const path = decodeName(name, length[0]!) || null;
        const remoteAddr: UnixAddr = { transport: "unix", path };
        return Object.assign(new DescriptorTransport(libc, fd), { remoteAddr });
      }
      const errno = errnoOf(libc);
      if (errno === EAGAIN) await this.#wait();
      else if (errno !== EINTR && errno !== ECONNABORTED) throw failureOf(libc, errno);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    readiness(this.#libc).forget(this.#fd, closedError());
    this.#close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  ref(): void {
    if (!this.#isClosed) readiness(this.#libc).ref(this.#fd);
  }

  unref(): void {
    if (!this.#isClosed) readiness(this.#libc).unref(this.#fd);
  }

  #wait(): Promise<void> {
    this.#calls = 0;
    if (this.#isClosed) throw closedError();
    return readiness(this.#libc).wait(this.#fd, "read");
  }
}

function closedError(): Error {
  return new Deno.errors.BadResource("Listener has been closed");
}
