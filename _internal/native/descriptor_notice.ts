/**
 * Notices the descriptors that a peer sends to a connection that drops them.
 *
 * - Only the call that takes their bytes shows them. So a read that looks is recvmsg, and libc
 *   waits for it, which takes longer than Deno's own read.
 * - All looks of the process together may take 3 milliseconds of each second. A connection with
 *   pauses always looks. One that is busy all the time mostly reads as Deno does.
 */

import {
  replaceTransport,
  type SocketConnection,
  type Transport,
  transportOf,
} from "../connection/socket_connection.ts";
import { EAGAIN } from "../libc/constants.ts";
import { errnoOf, failureOf } from "../libc/failure.ts";
import { type Libc, libcIfGranted } from "../libc/library.ts";
import { receiveMessage } from "../libc/message.ts";
import { readiness } from "../libc/readiness.ts";
import { descriptorOf, recordOpen } from "./connection_descriptors.ts";

/** After a longer read comes bulk: descriptors come with small messages. */
const MAX_MESSAGE_BYTES = 16 * 1024;

/** The part of the time that looks may take: about 100 a second. */
const SHARE = 0.003;
/** What looks may take at once, in milliseconds: about 60 of them, which begin a connection. */
const MAX_CREDIT_MS = 2;
/** The same at first, when no code is compiled yet. */
const FIRST_CREDIT_MS = 10;
/** What a wait by libc takes more than one of Deno's, in milliseconds. */
const WAIT_MS = 0.03;
/** A look that takes longer was interrupted by another process. */
const MAX_LOOK_MS = 1;

/** The time that looks may take. */
class Credit {
  #ms = FIRST_CREDIT_MS;
  #at = performance.now();

  /** Whether anything is left. */
  get isLeft(): boolean {
    const now = performance.now();
    const earned = this.#ms + SHARE * (now - this.#at);
    this.#ms = Math.max(this.#ms, Math.min(earned, MAX_CREDIT_MS));
    this.#at = now;
    return this.#ms > 0;
  }

  /** Takes off the time since a look began. */
  takeSince(began: number): void {
    this.#ms -= Math.min(performance.now() - began, MAX_LOOK_MS);
  }

  /** Takes off a wait. */
  takeWait(): void {
    this.#ms -= WAIT_MS;
  }
}

const credit = new Credit();

/**
 * Calls back once if the peer of a connection sends descriptors, as far as the looks notice. Does
 * nothing if libc may not be used, or if the descriptor of the connection is not known.
 *
 * @param conn A connection that nothing has been read from, and that is read one call after the
 * other.
 */
export function noticeDescriptors(conn: SocketConnection, came: () => void): void {
  const libc = libcIfGranted();
  const transport = transportOf(conn);
  // A transport that knows its descriptor makes its own reads.
  if (libc === undefined || transport === undefined || transport.fd !== undefined) return;
  if (!credit.isLeft) return;
  const began = performance.now();
  recordOpen(transport);
  const fd = descriptorOf(transport);
  credit.takeSince(began);
  if (fd === undefined) return;
  replaceTransport(conn, new NoticingTransport(transport, libc, fd, came));
}

/** Reads by recvmsg, or as the transport below, which does all else. */
class NoticingTransport implements Transport {
  readonly #below: Transport;
  readonly #libc: Libc;
  readonly #fd: number;
  /** `undefined` when descriptors have come. */
  #came: (() => void) | undefined;
  #isBulk = false;
  #isClosed = false;

  constructor(below: Transport, libc: Libc, fd: number, came: () => void) {
    this.#below = below;
    this.#libc = libc;
    this.#fd = fd;
    this.#came = came;
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const looks = this.#came !== undefined && !this.#isBulk && credit.isLeft;
    const count = await (looks ? this.#look(buffer) : this.#below.read(buffer));
    this.#isBulk = (count ?? 0) > MAX_MESSAGE_BYTES;
    return count;
  }

  async #look(buffer: Uint8Array): Promise<number | null> {
    const libc = this.#libc;
    while (!this.#isClosed) {
      const began = performance.now();
      const { count, fds, isCut } = receiveMessage(libc, this.#fd, buffer);
      const errno = count < 0 ? errnoOf(libc) : 0;
      for (const fd of fds) libc.close(fd);
      credit.takeSince(began);
      if (fds.length > 0 || isCut) {
        this.#came?.();
        this.#came = undefined;
      }
      if (count > 0) return count;
      if (count === 0) break;
      // The kernel reports a reset once.
      if (errno !== EAGAIN) throw failureOf(libc, errno);
      credit.takeWait();
      await readiness(libc).wait(this.#fd, "read");
    }
    return await this.#below.read(buffer);
  }

  write(data: Uint8Array): Promise<number> {
    return this.#below.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#below.closeWrite();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    readiness(this.#libc).forget(this.#fd, new Deno.errors.Interrupted("operation canceled"));
    this.#below.close();
  }

  ref(): void {
    if (!this.#isClosed) readiness(this.#libc).ref(this.#fd);
    this.#below.ref();
  }

  unref(): void {
    if (!this.#isClosed) readiness(this.#libc).unref(this.#fd);
    this.#below.unref();
  }
}
