/** Descriptors on their way: those that go with one write, and those that came with one read. */

import type { Attachment } from "../connection/input.ts";
import { EBADF, F_DUPFD_CLOEXEC, F_GETFD } from "../libc/constants.ts";
import { errnoOf, failureOf, lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { sendMessage } from "../libc/message.ts";

/** The kernel has dropped descriptors, because none was free for them. */
export class DescriptorsLost extends Error {
  readonly code = "EMFILE";
}

/** What came with one read. They are closed unless a reader takes them. */
export class Incoming implements Attachment {
  readonly failure: DescriptorsLost | undefined;
  readonly #libc: Libc;
  #fds: readonly number[];

  /** @param isCut Whether the kernel has dropped some. */
  constructor(libc: Libc, fds: readonly number[], isCut: boolean) {
    this.#libc = libc;
    this.#fds = fds;
    if (isCut) this.failure = new DescriptorsLost("MSG_CTRUNC");
  }

  /** Returns the descriptors, which belong to the caller from here on. */
  take(): readonly number[] {
    const fds = this.#fds;
    this.#fds = [];
    return fds;
  }

  close(): void {
    for (const fd of this.take()) this.#libc.close(fd);
  }
}

/**
 * What goes with one write. The caller may close its descriptors while the write waits: then
 * duplicates are sent.
 */
export class Outgoing {
  readonly #libc: Libc;
  #fds: readonly number[];
  #duplicates: number[] = [];
  #failure: Error | undefined;
  #isSent = false;

  constructor(libc: Libc, fds: readonly number[]) {
    this.#libc = libc;
    this.#fds = fds;
  }

  /** Sends them with bytes, over a socket. Returns what sendmsg does, or throws. */
  send(socket: number, data: Uint8Array): number {
    if (this.#failure !== undefined) throw this.#failure;
    const count = sendMessage(this.#libc, socket, data, this.#fds);
    this.#isSent = count >= 0;
    if (count < 0 && errnoOf(this.#libc) === EBADF) throw this.#notOpen();
    return count;
  }

  /** Duplicates them if they still wait. A failure is that of the write. */
  keepOpen(): void {
    if (this.#isSent) return;
    for (const fd of this.#fds) {
      const duplicate = this.#libc.fcntl(fd, F_DUPFD_CLOEXEC, 0);
      if (duplicate < 0) {
        const errno = errnoOf(this.#libc);
        this.#failure ??= errno === EBADF ? this.#notOpen() : failureOf(this.#libc, errno);
        return this.close();
      }
      this.#duplicates.push(duplicate);
    }
    this.#fds = this.#duplicates;
  }

  /** Closes the duplicates. */
  close(): void {
    for (const fd of this.#duplicates.splice(0)) this.#libc.close(fd);
  }

  /** Returns the failure that names the descriptor that is not open. */
  #notOpen(): Error {
    const failure = lastFailure(this.#libc);
    const closed = this.#fds.find((fd) => this.#libc.fcntl(fd, F_GETFD, 0) < 0);
    if (closed !== undefined) failure.message = `descriptor ${closed} is not open`;
    return failure;
  }
}
