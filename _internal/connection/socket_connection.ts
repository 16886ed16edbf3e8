/**
 * The one implementation of `Connection`, over anything that reads and writes like a
 * `Deno.UnixConn`.
 *
 * ```
 *   reading  open ──▶ given up      `readable` was cancelled
 *            open ──▶ end of file   the peer has ended its direction
 *   writing  open ──▶ ended         our end of file was sent, or the peer takes no more
 *
 *   open ──▶ over     both directions have ended, or the peer has reset the connection
 *   open ──▶ closed   `close()` was called, a read or a write has timed out, or the buffer of a
 *                     half-sent write was detached
 * ```
 *
 * - The descriptor is closed when the connection is over or closed, by {@linkcode
 *   SocketConnection.#end} alone.
 * - A transport writes as much as fits. The rest is written here, under one queue, so concurrent
 *   writes do not mix.
 */

import type { UnixAddr } from "../../address.ts";
import type { SocketError } from "../../errors.ts";
import { AlreadyEncoded } from "../base/already_encoded.ts";
import { seenFrom } from "../base/caller_stack.ts";
import { checkArguments, checkOptions, type Checks, checkSignal, show } from "../base/check.ts";
import { arrived, turn } from "../base/event_loop.ts";
import { codeOf, timedOut } from "../base/failure.ts";
import { bufferLost, bytesFrom, checkAttached } from "../base/lasting_buffer.ts";
import { handled, rejected } from "../base/rejection.ts";
import { countSocket, settlesWithin } from "../base/silence.ts";
import { closedError, connectionFailure, type Operation } from "./connection_error.ts";
import { IdleTimer } from "./idle_timer.ts";
import { Input, type Keep } from "./input.ts";
import { PeerWatch } from "./peer_watch.ts";
import { ReadableSide } from "./readable.ts";
import { openWritable } from "./writable.ts";

/**
 * Options of {@linkcode Connection.read}.
 *
 * @category Connections
 */
export interface ReadOptions {
  /** Ends the wait. The read rejects with its reason. */
  signal?: AbortSignal | undefined;
}

/** The methods of a `Deno.UnixConn` that a connection needs. */
export interface Transport {
  /** The descriptor, if it is known. Deno does not tell that of a `Deno.UnixConn`. */
  readonly fd?: number | undefined;
  /** Whether it holds bytes that have come, before those in the kernel. */
  readonly hasBytes?: boolean;
  /** Closes descriptors that come with the bytes, unless they are kept. */
  read(buffer: Uint8Array, keep?: Keep): Promise<number | null>;
  /** Sends descriptors with the first byte, if it can. */
  write(data: Uint8Array, descriptors?: Descriptors): Promise<number>;
  /** Looks at the next bytes, which stay unread. Without it, bytes are read ahead instead. */
  peek?(buffer: Uint8Array): Promise<number | null>;
  closeWrite(): Promise<void>;
  close(): void;
  ref(): void;
  unref(): void;
}

/** Descriptors to send with bytes. Only the transport looks inside. */
export type Descriptors = object;

/** How long, in milliseconds, a connection may wait for its peer. */
export interface Timeouts {
  /** How long a read may wait; no limit by default. */
  idleTimeout?: number;
  /** How long a read may wait for the first byte; `idleTimeout` by default. */
  firstByteTimeout?: number;
  /** How long a write may wait for the peer to read anything; no limit by default. */
  writeTimeout?: number;
}

/** The addresses of a connection, and how long it may wait. */
export interface SocketConnectionOptions extends Timeouts {
  localAddr: UnixAddr;
  remoteAddr: UnixAddr;
  /** Bytes that were read before, by a read that may still be pending. */
  readAhead?: Promise<Uint8Array> | undefined;
  /** The only direction of a pipe. */
  only?: "read" | "write" | undefined;
  /** Reports whether the process that has the other end of a pair has exited. */
  hasPeerExited?: (() => boolean) | undefined;
}

const READ_CHECKS: Checks<ReadOptions> = { signal: checkSignal };

const NOTHING: Uint8Array = new Uint8Array(0);

/** How long an async disposal waits for queued writes. */
const FLUSH_MS = 5000;
/** More microtasks than a stream needs until it passes on its next chunk: 3 were measured. */
const STREAM_TICKS = 16;

/** Returns the transport of a connection; `undefined` if it is not one of this package. */
export let transportOf: (conn: unknown) => Transport | undefined;

/** Reports whether a connection of this package is open: its transport has not been closed. */
export let isOpen: (conn: unknown) => boolean;
/** Reads as `read()` does, and keeps what came with the bytes. */
export let readAndKeep: (
  conn: SocketConnection,
  buffer: Uint8Array,
  signal: AbortSignal | undefined,
  keep: Keep,
) => Promise<number | null>;

/** Writes as `write()` does, and sends descriptors with the first byte. */
export let writeWith: (
  conn: SocketConnection,
  data: Uint8Array,
  descriptors: Descriptors,
) => Promise<number>;

/** Replaces the transport of a connection, while it goes on. */
export let replaceTransport: (conn: SocketConnection, transport: Transport) => void;

/**
 * Flushes and closes a connection after its handler has returned. Later calls say so. Returns a
 * promise only if there is something to flush.
 *
 * @param onLate Called with the error of each later write, because its bytes are lost, and with
 * that of {@linkcode reportLate}.
 */
export let endHandled: (
  conn: SocketConnection,
  onLate: (error: Error) => void,
) => Promise<void> | undefined;

/**
 * Reports the error of a read, if it has failed because the handler has returned. Call this if the
 * error reaches no code of the user.
 */
export let reportLate: (conn: object, error: Error) => void;

/** A connection over a transport, which it owns. */
export class SocketConnection {
  static {
    transportOf = (conn) =>
      typeof conn === "object" && conn !== null && #transport in conn ? conn.#transport : undefined;
    isOpen = (conn) =>
      typeof conn === "object" && conn !== null && #state in conn && conn.#state === "open";
    readAndKeep = (conn, buffer, signal, keep) => conn.#readNext(buffer, signal, keep);
    writeWith = (conn, data, descriptors) => conn.#writeNext(data, descriptors);
    replaceTransport = (conn, transport) => conn.#transport = transport;
    endHandled = (conn, onLate) => {
      if (conn.#state === "open") conn.#onLate = onLate;
      if (conn.#queued > 0 || conn.#writable !== undefined) return conn[Symbol.asyncDispose]();
      conn.close();
      return undefined;
    };
    reportLate = (conn, error) => {
      if (#onLate in conn) conn.#onLate?.(error);
    };
  }

  readonly localAddr: UnixAddr;
  readonly remoteAddr: UnixAddr;
  #transport: Transport;
  readonly #idle: IdleTimer | undefined;
  readonly #stall: IdleTimer | undefined;
  #bytesRead = 0;
  #bytesWritten = 0;

  #state: "open" | "over" | "closed" = "open";
  /** Set if the connection was open when its handler returned. */
  #onLate: ((error: Error) => void) | undefined;
  #reading: "open" | "given up" | "end of file" = "open";
  #writing: "open" | "ended" = "open";
  /** The failure that ended the connection. Every later read and write rejects with it. */
  #failure: SocketError | undefined;
  #closeWrite: Promise<void> | undefined;

  #queued = 0;
  /** The last job of the write direction, while there is one. */
  #lastJob: Promise<unknown> | undefined;
  /** Made on demand: most connections close first. */
  #ended: PromiseWithResolvers<void> | undefined;

  /** Made when a read has to wait for more than the kernel. */
  #input: Input | undefined;
  #watch: PeerWatch | undefined;
  readonly #hasPeerExited: (() => boolean) | undefined;
  #keepsAlive = true;
  #readable: ReadableSide | undefined;
  #writable: WritableStream<Uint8Array> | undefined;

  constructor(transport: Transport, options: SocketConnectionOptions) {
    this.#transport = transport;
    this.localAddr = options.localAddr;
    this.remoteAddr = options.remoteAddr;
    const { idleTimeout = Infinity, firstByteTimeout = idleTimeout, writeTimeout } = options;
    if (Math.min(idleTimeout, firstByteTimeout) < Infinity) {
      const onIdle = (ms: number) => this.#endIdle(ms);
      this.#idle = new IdleTimer(firstByteTimeout, idleTimeout, onIdle);
    }
    if (writeTimeout !== undefined && writeTimeout < Infinity) {
      const onStall = (ms: number) => this.#timeOut("write", `the peer did not read for ${ms} ms`);
      this.#stall = new IdleTimer(writeTimeout, writeTimeout, onStall);
    }
    this.#hasPeerExited = options.hasPeerExited;
    if (options.only === "write") this.#reading = "given up";
    if (options.only === "read") this.#writing = "ended";
    // Bytes that were only looked at are not ahead.
    if (options.readAhead !== undefined && transport.peek === undefined) {
      this.putBack(options.readAhead.then((bytes) => {
        this.#came(bytes.length);
        return bytes;
      }));
    }
    countSocket(1);
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** Resolves when the connection has closed; see {@linkcode SocketConnection.closed}. */
  get ended(): Promise<void> {
    if (this.#ended === undefined) {
      this.#ended = Promise.withResolvers();
      if (this.#state !== "open") this.#ended.resolve();
    }
    return this.#ended.promise;
  }

  /**
   * As {@linkcode SocketConnection.ended}. Notices that the peer leaves, for which it reads ahead.
   */
  get closed(): Promise<void> {
    if (this.#watch === undefined && this.#state === "open") {
      this.#watch = new PeerWatch(() => this.#mayLeave(), () => this.#keepsAlive);
      this.#openInput().keepAhead();
    }
    return this.ended;
  }

  read(buffer: Uint8Array, options?: ReadOptions): Promise<number | null> {
    const signal = options?.signal;
    try {
      checkArguments("read", arguments, 2, "read(buffer, { signal })");
      if (!(buffer instanceof Uint8Array)) {
        throw new TypeError(`Invalid buffer: expected a Uint8Array, got ${show(buffer)}`);
      }
      if (options !== undefined) checkOptions("read", options, READ_CHECKS);
      signal?.throwIfAborted();
    } catch (error) {
      return Promise.reject(seenFrom(this.read, error));
    }
    return this.#readNext(buffer, signal);
  }

  #readNext(buffer: Uint8Array, signal?: AbortSignal, keep?: Keep): Promise<number | null> {
    if (this.#readable !== undefined && buffer.length > 0) {
      // From here on the abandoned read waits for this call.
      if (this.#waitsForNothing) this.#idle?.restart();
      this.#readable.handOver();
    }
    return this.#readInTime(buffer, signal, keep);
  }

  #readInTime(buffer: Uint8Array, signal?: AbortSignal, keep?: Keep): Promise<number | null> {
    const isPlain = this.#input === undefined && signal === undefined && keep === undefined;
    const reading = isPlain || buffer.length === 0 || this.#state === "closed"
      ? this.#read(buffer)
      : this.#openInput().read(buffer, signal, keep);
    return this.#idle === undefined ? reading : this.#idle.during(reading);
  }

  #openInput(): Input {
    return this.#input ??= new Input({
      mayRead: () => this.#state === "open" && this.#reading !== "end of file",
      mayKeep: () => this.#state === "open" && this.#reading === "open",
      read: (into, keep) => this.#read(into, keep),
      stalled: () => this.#watch?.start(),
    });
  }

  #read(buffer: Uint8Array, keep?: Keep): Promise<number | null> {
    if (this.#state !== "open" || this.#reading === "end of file" || buffer.length === 0) {
      return this.#readNothing(buffer);
    }
    // No closure and no `await` for each read: it then costs a third less.
    return this.#transport.read(buffer, keep).then(this.#hasRead, this.#hasFailedToRead);
  }

  // deno-lint-ignore require-await -- its errors reject
  async #readNothing(buffer: Uint8Array): Promise<number | null> {
    if (this.#failure !== undefined) throw this.#failed("read", undefined);
    if (this.#state === "closed") throw this.#seen(this.#closedError("read"));
    if (this.#reading === "end of file") return null;
    if (this.#state === "over") throw this.#seen(closedError(this, "read", "over"));
    try {
      checkAttached("buffer", buffer);
    } catch (error) {
      throw this.#seen(error as Error);
    }
    return buffer.length;
  }

  readonly #hasRead = (count: number | null): number | null => {
    if (count !== null) {
      this.#came(count);
    } else {
      this.#reading = "end of file";
      this.#settle();
    }
    return count;
  };

  readonly #hasFailedToRead = (cause: unknown): null => {
    // Another read met the end of file while this one waited.
    if (this.#isOverAtEndOfFile) return null;
    throw this.#failed("read", cause);
  };

  /**
   * Asks whether the peer has left, if that is all that a stalled input leaves open. Reports
   * whether to ask again.
   */
  async #mayLeave(): Promise<boolean> {
    if (!this.#input?.isStalled || this.#state !== "open") return false;
    const isGone = await this.#enqueue(async () => {
      // After our own end of file, every write fails.
      if (this.#closeWrite !== undefined) return false;
      if (this.#hasPeerExited?.() && this.#reading === "end of file") return true;
      return await this.#write(NOTHING, 0).then(() => false, () => true);
    });
    if (isGone) this.#ended?.resolve();
    return !isGone && this.#closeWrite === undefined;
  }

  write(data: Uint8Array): Promise<number> {
    try {
      checkArguments("write", arguments, 1, "write(data)");
      if (!(data instanceof Uint8Array)) {
        throw new TypeError(
          `Invalid data: expected a Uint8Array, got ${show(data)}${remedyForData(data)}`,
        );
      }
      checkAttached("data", data);
    } catch (error) {
      return rejected(seenFrom(this.write, error));
    }
    return this.#writeNext(data);
  }

  writeText(text: string): Promise<number> {
    try {
      checkArguments("writeText", arguments, 1, "writeText(text)");
      if (typeof text !== "string") {
        const remedy = ArrayBuffer.isView(text) ? ". Use write()" : "";
        throw new TypeError(`Invalid text: expected a string, got ${show(text)}${remedy}`);
      }
    } catch (error) {
      return rejected(seenFrom(this.writeText, error));
    }
    return this.#writeNext(new TextEncoder().encode(text));
  }

  #writeNext(data: Uint8Array, descriptors?: Descriptors): Promise<number> {
    if (this.#closeWrite !== undefined && this.#state !== "closed") {
      return rejected(this.#seen(closedError(this, "write", "closeWrite", data)));
    }
    const size = data.length;
    const isPlain = this.#lastJob === undefined && this.#state === "open" &&
      this.#stall === undefined && descriptors === undefined && size > 0;
    return isPlain
      ? this.#writeAtOnce(data, size)
      : this.#enqueue(() => this.#write(data, size, descriptors));
  }

  /** Writes as the first job of the queue. If all bytes fit, that takes one promise less. */
  #writeAtOnce(data: Uint8Array, size: number): Promise<number> {
    const hasFailed = (cause: unknown): never => {
      const unsent = bytesFrom(data, 0, size);
      const error = this.#seen(this.#errorOf("write", reasonOf(cause, unsent), unsent), hasFailed);
      this.#endJob();
      handled(ended);
      throw error;
    };
    const ended: Promise<number> = this.#transport.write(data).then((count) => {
      this.#bytesWritten += count;
      if (count < size) return this.#writeRest(data, size, count, ended);
      this.#endJob();
      return count;
    }, hasFailed);
    this.#queued++;
    return this.#lastJob = ended;
  }

  async #writeRest(
    data: Uint8Array,
    size: number,
    sent: number,
    ended: Promise<number>,
  ): Promise<number> {
    try {
      return await this.#write(data, size, undefined, sent);
    } catch (error) {
      handled(ended);
      throw error;
    } finally {
      this.#endJob();
    }
  }

  /** @param size How many bytes the data had when it was passed. */
  async #write(
    data: Uint8Array,
    size: number,
    descriptors?: Descriptors,
    sent = 0,
  ): Promise<number> {
    // At least once: even a write of no bytes shows whether the peer is still there.
    do {
      const rest = bytesFrom(data, sent, size);
      if (this.#state !== "open") throw this.#failed("write", undefined, rest);
      if (rest === undefined) throw this.#cutShort(sent);
      try {
        const writing = this.#transport.write(rest, sent === 0 ? descriptors : undefined);
        const count = await (this.#stall === undefined ? writing : this.#stall.during(writing));
        this.#bytesWritten += count;
        sent += count;
      } catch (cause) {
        const unsent = bytesFrom(data, sent, size);
        if (reasonOf(cause, unsent) !== cause) throw this.#cutShort(sent);
        const reason = size === 0 ? await this.#whyGone(cause) : cause;
        throw this.#failed("write", reason, unsent);
      }
    } while (sent < size);
    return sent;
  }

  /**
   * Returns the error of a write that has lost its buffer. If the peer has a part of the bytes, it
   * would take the next ones for the rest: so the connection closes.
   */
  #cutShort(sent: number): Error {
    const error = connectionFailure(this, "write", bufferLost());
    if (sent > 0) {
      this.#failure = error;
      this.#end("closed");
    }
    return this.#seen(error);
  }

  /**
   * Returns why the peer has gone. Deno ends the direction of a peer a moment before it closes, so
   * the end of file can hide that the peer left bytes unread. One more read then finds the reset.
   */
  async #whyGone(cause: unknown): Promise<unknown> {
    if (this.#reading !== "end of file" || codeOf(cause) !== "EPIPE") return cause;
    return await this.#transport.read(new Uint8Array(1)).then(() => cause, (reset) => reset);
  }

  closeWrite(): Promise<void> {
    return this.#closeWrite ??= this.#enqueue(() => this.#endWriting());
  }

  async #endWriting(): Promise<void> {
    if (this.#state === "closed") throw this.#failed("closeWrite", undefined);
    // If nothing is left to read, closing the descriptor sends the end of file.
    if (this.#state === "open" && this.#writing === "open" && this.#reading === "open") {
      try {
        await this.#transport.closeWrite();
      } catch (cause) {
        // ENOTCONN, EPIPE: the peer is gone, and so is the direction.
        const isGone = ["ENOTCONN", "EPIPE"].includes(codeOf(cause) ?? "");
        if (this.#isClosed || !isGone) throw this.#failed("closeWrite", cause);
      }
    }
    this.#writing = "ended";
    this.#settle();
  }

  close(): void {
    this.#end("closed");
  }

  ref(): void {
    this.#keepsAlive = true;
    if (this.#state === "open") this.#transport.ref();
  }

  unref(): void {
    this.#keepsAlive = false;
    if (this.#state === "open") this.#transport.unref();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A stream passes on a chunk a few microtasks after its start, or after the chunk before it.
    const mayQueue = () => this.#writable !== undefined && this.#queued === 0;
    for (let i = 0; i < STREAM_TICKS && mayQueue(); i++) await undefined;
    await this.flush();
    this.close();
  }

  /** Waits for the queued writes, for at most 5 seconds. */
  async flush(): Promise<void> {
    if (this.#queued > 0) await settlesWithin(this.#writeQueued(), FLUSH_MS);
  }

  async #writeQueued(): Promise<void> {
    while (this.#queued > 0 && this.#state === "open") {
      await this.#lastJob?.catch(() => {});
      // The stream passes on one chunk after the other, and then its end.
      if (this.#writable !== undefined && !this.#isClosed) await turn();
    }
  }

  /**
   * Makes bytes of the peer the next to be read, before those that were put back earlier. A read of
   * them may still be pending.
   */
  putBack(bytes: Uint8Array | Promise<Uint8Array>): void {
    this.#openInput().putBack(bytes);
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#readable ??= new ReadableSide({
      read: (into) => this.#readInTime(into),
      putBack: (bytes) => this.putBack(bytes),
      giveUp: () => {
        if (this.#reading === "open") this.#reading = "given up";
        this.#settle();
      },
    });
    return this.#readable.stream;
  }

  get writable(): WritableStream<Uint8Array> {
    return this.#writable ??= openWritable(this);
  }

  /** Makes writes, and a disposal, wait for what was written before there was this connection. */
  writeAfter(earlier: Promise<void>): void {
    handled(this.#enqueue(() => earlier));
  }

  /** Runs the jobs of the write direction one after another. */
  #enqueue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#lastJob === undefined ? job() : this.#lastJob.then(job, job);
    this.#queued++;
    // V8 finds the function that awaits a promise if that has one listener: until it fails.
    const ended = result.then((value) => {
      this.#endJob();
      return value;
    }, (error) => {
      this.#endJob();
      handled(ended);
      throw error;
    });
    return this.#lastJob = ended;
  }

  #endJob(): void {
    if (--this.#queued === 0) this.#lastJob = undefined;
  }

  // Getters, because TypeScript does not expect that the state changes during an `await`.
  get #isClosed(): boolean {
    return this.#state === "closed";
  }

  get #isOverAtEndOfFile(): boolean {
    return this.#state === "over" && this.#reading === "end of file";
  }

  /** Closes the descriptor when both directions have ended. */
  #settle(): void {
    if (this.#reading !== "open" && this.#writing === "ended") this.#end("over");
  }

  #end(state: "over" | "closed"): void {
    if (this.#state !== "open") return;
    this.#state = state;
    countSocket(-1);
    this.#idle?.stop();
    this.#stall?.stop();
    this.#input?.stop();
    this.#watch?.stop();
    this.#transport.close();
    this.#ended?.resolve();
  }

  /** Cuts the stack of an error of this connection, so that it begins at the caller. */
  #seen(error: Error, hasFailed: (cause: never) => unknown = this.#hasFailedToRead): Error {
    const { read, write, writeText, closeWrite } = this;
    const inner = [hasFailed, this.#readNothing, this.#writeRest, this.#write, this.#endWriting];
    return seenFrom(read, error, write, writeText, closeWrite, ...inner) as Error;
  }

  /** Changes the state after a failure, and returns the error to throw. */
  #failed(operation: Operation, cause: unknown, unsent?: Uint8Array): Error {
    return this.#seen(this.#errorOf(operation, cause, unsent));
  }

  #errorOf(operation: Operation, cause: unknown, unsent?: Uint8Array): Error {
    const before = this.#failure;
    if (before !== undefined) {
      if (operation === "read" && before.operation === "read") return before;
      return connectionFailure(this, operation, before, unsent, before);
    }
    if (this.#state === "over") return closedError(this, operation, "over", unsent);
    if (this.#state === "closed") {
      const error = this.#closedError(operation, unsent);
      // A write of no bytes only asks whether the peer is there.
      if (operation === "write" && unsent?.length !== 0) this.#onLate?.(error);
      return error;
    }
    const error = connectionFailure(this, operation, cause, unsent);
    const code = codeOf(cause);
    if (operation === "read" && code === "ECONNRESET") {
      this.#failure = error;
      this.#end("over");
    } else if (code === "EPIPE" || code === "ECONNRESET") {
      // What the peer sent before it left can still be read.
      this.#writing = "ended";
      this.#settle();
    }
    return error;
  }

  #closedError(operation: Operation, unsent?: Uint8Array): Error {
    const end = this.#onLate === undefined ? "closed" : "returned";
    return closedError(this, operation, end, unsent);
  }

  #came(count: number): void {
    this.#bytesRead += count;
    arrived();
    this.#idle?.came(count);
  }

  /** Whether the only pending read is one that a stream has abandoned. */
  get #waitsForNothing(): boolean {
    return this.#idle?.waiting === 1 && this.#readable?.isAbandoned === true;
  }

  /** Times out because a read has waited for too long. */
  #endIdle(ms: number): void {
    if (this.#waitsForNothing) this.#idle?.restart();
    else this.#timeOut("read", `nothing came for ${ms} ms`);
  }

  /** Closes the connection. All reads and writes, also later ones, reject with `TimedOut`. */
  #timeOut(operation: "read" | "write", state: string): void {
    this.#failure = connectionFailure(this, operation, timedOut(state));
    this.#end("closed");
  }
}

/** Returns what to do with a value that is not bytes. */
function remedyForData(data: unknown): string {
  if (data instanceof AlreadyEncoded) return ". Use sendEncoded() of its channel";
  return typeof data === "string" ? ". Use writeText()" : "";
}

/** Returns why a write has failed. The kernel cannot read a buffer that has become smaller. */
function reasonOf(cause: unknown, unsent: Uint8Array | undefined): unknown {
  return unsent === undefined && codeOf(cause) === "EFAULT" ? bufferLost() : cause;
}
