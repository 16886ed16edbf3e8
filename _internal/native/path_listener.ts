/** The listener behind `listenPackets()`. */

import type { UnixAddr } from "../../address.ts";
import type { PacketSocket } from "../../native/packet_socket.ts";
import { Acceptor, type Listening } from "../accept/acceptor.ts";
import { seen, seenFrom } from "../base/caller_stack.ts";
import { ErrorContext } from "../base/error_context.ts";
import { onAbort } from "../base/event_loop.ts";
import { EAGAIN, SOCK_CLOEXEC, SOCK_NONBLOCK } from "../libc/constants.ts";
import { errnoOf, failureOf } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { readiness } from "../libc/readiness.ts";
import { peerName } from "../libc/socket_name.ts";
import type { Reporter } from "../server/reporter.ts";
import { PacketPace } from "./packet_pace.ts";
import { FdPacketSocket } from "./packet_socket.ts";
import type { PathOwner } from "./path_owner.ts";

/**
 * A listener that owns its path. `for await` over it ends when it closes.
 *
 * @category Packets
 */
export interface PacketListener extends AsyncIterable<PacketSocket>, AsyncDisposable {
  /** The address that clients connect to. */
  readonly addr: UnixAddr;
  /**
   * Accepts a connection. Several calls may wait: the first one is served first.
   *
   * - If the process or the system runs out of descriptors, it waits until one is free.
   *
   * @returns The connection, of type `"seqpacket"`. Close it when you are done.
   * @throws {Deno.errors.BadResource} when the listener is closed, or closes meanwhile.
   * @throws {SocketError} when accepting fails for good.
   */
  accept(): Promise<PacketSocket>;
  /**
   * Stops listening. Removes the socket file, if it is still the one that was bound, and then the
   * lock. Idempotent; disposal does the same.
   *
   * - Accepted connections go on. Those in the backlog are reset.
   *
   * @throws {SocketError} when a file cannot be removed; the listener closes all the same.
   */
  close(): Promise<void>;
  /** Keeps the process running while an `accept` is pending. This is the default. */
  ref(): void;
  /** Allows the process to exit while an `accept` is pending. */
  unref(): void;
}

/** What a listener needs besides its socket. */
export interface ListenerOptions {
  readonly path: string;
  readonly maxPacketBytes: number | undefined;
  readonly reporter: Reporter;
  readonly signal: AbortSignal | undefined;
}

/** Accepts the connections of a socket one by one. */
export class PathListener implements PacketListener {
  readonly addr: UnixAddr;
  readonly #owner: PathOwner;
  readonly #reporter: Reporter;
  readonly #acceptor: Acceptor<PacketSocket>;
  /** Settles when the calls so far have been served. */
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;
  readonly #stopListeningToSignal: () => void;

  /** @param owner The socket and its path, which are released with this. */
  constructor(libc: Libc, owner: PathOwner, options: ListenerOptions) {
    const { path, reporter } = options;
    this.addr = { transport: "unix", path };
    this.#owner = owner;
    this.#reporter = reporter;
    const listening = new FdListening(libc, owner.fd, this.addr, options.maxPacketBytes);
    this.#acceptor = new Acceptor(listening, new ErrorContext("accept", path));
    this.#acceptor.onFailure = (error, isFirst) => {
      if (isFirst) reporter.report(error);
    };
    this.#stopListeningToSignal = onAbort(options.signal, () => {
      this.close().catch(reporter.report);
    });
  }

  accept(): Promise<PacketSocket> {
    const next = this.#last.then(() => this.#acceptor.accept());
    this.#last = next.catch(() => {});
    return seen(next, true);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<PacketSocket> {
    try {
      for (;;) yield await this.accept();
    } catch (error) {
      if (this.#closed === undefined) throw seenFrom(this[Symbol.asyncIterator], error);
    }
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#stopListeningToSignal();
    try {
      // Nothing is awaited before: the name goes at once.
      this.#owner.release();
    } finally {
      await this.#acceptor.close();
      this.#reporter.flush();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  ref(): void {
    this.#acceptor.listener.ref();
  }

  unref(): void {
    this.#acceptor.listener.unref();
  }
}

/** A listening socket, by its descriptor. */
class FdListening implements Listening<PacketSocket> {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #addr: UnixAddr;
  readonly #maxPacketBytes: number | undefined;
  readonly #pace = new PacketPace();
  #isClosed = false;

  constructor(libc: Libc, fd: number, addr: UnixAddr, maxPacketBytes: number | undefined) {
    this.#libc = libc;
    this.#fd = fd;
    this.#addr = addr;
    this.#maxPacketBytes = maxPacketBytes;
  }

  async accept(): Promise<PacketSocket> {
    const libc = this.#libc;
    await this.#pace.next();
    for (;;) {
      if (this.#isClosed) throw closedError();
      const fd = libc.accept4!(this.#fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd >= 0) return this.#wrap(fd);
      const errno = errnoOf(libc);
      if (errno !== EAGAIN) throw failureOf(libc, errno);
      await readiness(libc).wait(this.#fd, "read");
      this.#pace.waited();
    }
  }

  #wrap(fd: number): PacketSocket {
    const libc = this.#libc;
    try {
      return new FdPacketSocket(libc, fd, {
        type: "seqpacket",
        localAddr: this.#addr,
        remoteAddr: { transport: "unix", path: peerName(libc, fd) || null },
        maxPacketBytes: this.#maxPacketBytes,
      });
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  close(): void {
    this.#isClosed = true;
    readiness(this.#libc).forget(this.#fd, closedError());
    this.#libc.close(this.#fd);
  }

  ref(): void {
    if (!this.#isClosed) readiness(this.#libc).ref(this.#fd);
  }

  unref(): void {
    if (!this.#isClosed) readiness(this.#libc).unref(this.#fd);
  }
}

function closedError(): Error {
  return new Deno.errors.BadResource("the listener was closed");
}
