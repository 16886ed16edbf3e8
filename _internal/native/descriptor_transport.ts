/**
 * A transport over a descriptor by system calls, which sends and receives descriptors.
 *
 * - Every read is recvmsg: any other read makes the kernel drop the descriptors that come.
 * - No call waits. What would wait is tried again when the descriptor is ready.
 * - It neither sets nor needs `O_NONBLOCK`, which the other holders of the socket would get too.
 */

import type { Keep } from "../connection/input.ts";
import type { Transport } from "../connection/socket_connection.ts";
import { EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, SHUT_WR } from "../libc/constants.ts";
import { errnoOf, failureOf, lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { receiveMessage } from "../libc/message.ts";
import { type Direction, readiness } from "../libc/readiness.ts";
import { Incoming, type Outgoing } from "./descriptor_batch.ts";

/** After this many calls that did not wait, the rest of the process has its turn. */
const MAX_CALLS = 64;

/** A socket that sends and receives descriptors. */
export class DescriptorTransport implements Transport {
  readonly #libc: Libc;
  readonly #fd: number;
  #isClosed = false;
  #calls = 0;
  /** How many reads are pending: one follows the other. */
  #reads = 0;
  #lastRead: Promise<number | null> = Promise.resolve(null);

  /** @param fd The descriptor, which it owns from here on. */
  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
  }

  /** The descriptor, while it is open. */
  get fd(): number | undefined {
    return this.#isClosed ? undefined : this.#fd;
  }

  read(buffer: Uint8Array, keep?: Keep): Promise<number | null> {
    const read = () => this.#read(buffer, keep);
    const isFirst = this.#reads++ === 0;
    return this.#lastRead = isFirst ? read() : this.#lastRead.then(read, read);
  }

  async #read(buffer: Uint8Array, keep: Keep | undefined): Promise<number | null> {
    try {
      if (this.#isGreedy) await this.#wait("read");
      for (;;) {
        this.#requireOpen();
        const { count, fds, isCut } = receiveMessage(this.#libc, this.#fd, buffer);
        if (count < 0) {
          await this.#waitAfterFailure("read");
          continue;
        }
        if (fds.length > 0 || isCut) {
          const incoming = new Incoming(this.#libc, fds, isCut);
          if (keep === undefined) incoming.close();
          else keep(incoming);
        }
        return count === 0 ? null : count;
      }
    } finally {
      this.#reads--;
    }
  }

  async peek(buffer: Uint8Array): Promise<number | null> {
    for (;;) {
      this.#requireOpen();
      const flags = MSG_DONTWAIT | MSG_PEEK;
      const count = this.#libc.recv(this.#fd, buffer, BigInt(buffer.length), flags);
      if (count >= 0) return count === 0 ? null : count;
      await this.#waitAfterFailure("read");
    }
  }

  async write(data: Uint8Array, descriptors?: Outgoing): Promise<number> {
    const libc = this.#libc;
    if (this.#isGreedy) await this.#wait("write");
    for (;;) {
      this.#requireOpen();
      const count = descriptors === undefined
        ? libc.send(this.#fd, data, BigInt(data.length), MSG_DONTWAIT | MSG_NOSIGNAL)
        : descriptors.send(this.#fd, data);
      if (count >= 0) return count;
      await this.#waitAfterFailure("write");
    }
  }

  closeWrite(): Promise<void> {
    const failed = this.#libc.shutdown(this.#fd, SHUT_WR) < 0;
    return failed ? Promise.reject(lastFailure(this.#libc)) : Promise.resolve();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    readiness(this.#libc).forget(this.#fd, new Deno.errors.Interrupted("operation canceled"));
    this.#libc.close(this.#fd);
  }

  ref(): void {
    if (!this.#isClosed) readiness(this.#libc).ref(this.#fd);
  }

  unref(): void {
    if (!this.#isClosed) readiness(this.#libc).unref(this.#fd);
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new Deno.errors.BadResource("Bad resource ID");
  }

  /** Waits after a call that would have waited. Throws after any other failure. */
  async #waitAfterFailure(direction: Direction): Promise<void> {
    const errno = errnoOf(this.#libc);
    if (errno === EAGAIN) await this.#wait(direction);
    else if (errno !== EINTR) throw failureOf(this.#libc, errno);
  }

  /**
   * Whether so many calls did not wait that timers and other connections must have their turn
   * first.
   */
  get #isGreedy(): boolean {
    return ++this.#calls > MAX_CALLS && !this.#isClosed;
  }

  #wait(direction: Direction): Promise<void> {
    this.#calls = 0;
    return readiness(this.#libc).wait(this.#fd, direction);
  }
}
