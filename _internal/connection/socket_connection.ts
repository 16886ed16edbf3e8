/**
 * The one implementation of `Connection`, over anything that reads and writes like a `Deno.UnixConn`.
 *
 * - The descriptor is closed when both directions have ended, or on `close()`: {@linkcode #settle} is
 *   the only place that does it.
 * - A transport writes as much as fits; the rest is written here, under one queue, so that concurrent
 *   writers never mix.
 * - A stream that is cancelled while it reads leaves a read behind that no call can take back. What it
 *   brings is set aside for the next reader.
 */

import type { UnixAddr } from "../../address.ts";
import { ConnectionClosed, type SocketError } from "../../errors.ts";
import { ChunkBuffer } from "./chunk_buffer.ts";
import { arrived, turn } from "../base/event_loop.ts";
import { IdleTimer } from "./idle_timer.ts";
import { checkArguments, show } from "../base/check.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { countSocket, SilenceTimer } from "../base/silence.ts";
import { addPipeSource, addPipeTarget } from "./pipe.ts";
import { codeOf, stateOf, systemError } from "../base/failure.ts";

/** What a connection is made of. */
export interface Transport {
  read(buffer: Uint8Array): Promise<number | null>;
  write(data: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  ref(): void;
  unref(): void;
}

/** How long a connection may wait for its peer. */
export interface Timeouts {
  /** Milliseconds that a read may wait; no limit by default. */
  idleTimeout?: number;
  /** The same until the first byte has come; `idleTimeout` by default. */
  firstByteTimeout?: number;
  /** Milliseconds that a write may wait for the peer to read anything; no limit by default. */
  writeTimeout?: number;
}

/** Where a connection stands, and how long it may wait. */
export interface SocketConnectionOptions extends Timeouts {
  localAddr: UnixAddr;
  remoteAddr: UnixAddr;
  /** Bytes that were read before, by a read that may still be pending. */
  aside?: Promise<Uint8Array>;
  /** The only direction that there is, of a pipe. */
  only?: "read" | "write";
}

/** How long an async disposal waits for queued writes. */
const FLUSH_MS = 5000;

const NOTHING: Uint8Array = new Uint8Array(0);

/** A connection over a transport, which it owns. */
export class SocketConnection {
  readonly localAddr: UnixAddr;
  readonly remoteAddr: UnixAddr;
  readonly closed: Promise<void>;
  readonly #transport: Transport;
  readonly #resolveClosed: () => void;
  /** Where there is a limit on how long a read may wait. */
  readonly #idle: IdleTimer | undefined;
  /** Where there is a limit on how long a write may stand still. */
  readonly #stall: IdleTimer | undefined;
  #bytesRead = 0;
  #bytesWritten = 0;

  /** Set when the descriptor is closed; `"both ends"` if no one asked for it. */
  #over: "close()" | "both ends" | undefined;
  /** A failure that ended the connection; every later read and write rejects with it. */
  #failure: Error | undefined;
  /** The peer's end of file has been read, or nobody will read any more. */
  #readEnded = false;
  /** Our end of file is sent, or the peer takes no more. */
  #writeEnded = false;
  #endOfFile = false;
  #closeWrite: Promise<void> | undefined;

  #queued = 0;
  #lastJob: Promise<unknown> = Promise.resolve();

  /** What a cancelled stream's read brings: to be read before anything else. */
  #aside: Promise<Uint8Array> | undefined;
  /** Lets the stream's pending read be for the next reader. */
  #takeOver: (() => void) | undefined;
  /** Lets what the stream holds be for the next reader. */
  #takeQueue: (() => void) | undefined;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array> | undefined;

  constructor(transport: Transport, options: SocketConnectionOptions) {
    this.#transport = transport;
    this.localAddr = options.localAddr;
    this.remoteAddr = options.remoteAddr;
    const { idleTimeout = Infinity, firstByteTimeout = idleTimeout, writeTimeout } = options;
    if (Math.min(idleTimeout, firstByteTimeout) < Infinity) {
      this.#idle = new IdleTimer(firstByteTimeout, idleTimeout, (ms) => this.#endIdle(ms));
    }
    if (writeTimeout !== undefined && writeTimeout < Infinity) {
      this.#stall = new IdleTimer(
        writeTimeout,
        writeTimeout,
        (ms) => this.#timeOut("write", `the peer did not read for ${ms} ms`),
      );
    }
    this.#readEnded = options.only === "write";
    this.#writeEnded = options.only === "read";
    this.#aside = options.aside?.then((bytes) => {
      this.#came(bytes.length);
      return bytes;
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    countSocket(1);
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    if (arguments.length > 1) return surplus("read", arguments, "read(buffer)");
    if (!(buffer instanceof Uint8Array)) {
      return Promise.reject(
        new TypeError(`Invalid buffer: expected a Uint8Array, got ${show(buffer)}`),
      );
    }
    // Whoever the stream's read was for has gone.
    if (this.#readable?.locked === false) {
      this.#takeOver?.();
      this.#takeQueue?.();
    }
    return this.#idle === undefined ? this.#next(buffer) : this.#nextInTime(buffer, this.#idle);
  }

  async #nextInTime(buffer: Uint8Array, idle: IdleTimer): Promise<number | null> {
    idle.begin();
    try {
      return await this.#next(buffer);
    } finally {
      idle.end();
    }
  }

  #next(buffer: Uint8Array): Promise<number | null> {
    return this.#aside === undefined || buffer.length === 0 || this.#over === "close()"
      ? this.#read(buffer)
      : this.#readAside(buffer);
  }

  async #read(buffer: Uint8Array): Promise<number | null> {
    if (this.#failure !== undefined) throw this.#failed("read", undefined);
    if (this.#over === "close()") throw this.#closedError("read");
    if (this.#endOfFile) return null;
    if (this.#over !== undefined) throw this.#closedError("read", this.#over);
    if (buffer.length === 0) return 0;
    try {
      const count = await this.#transport.read(buffer);
      if (count === null) {
        this.#endOfFile = this.#readEnded = true;
        this.#settle();
      } else {
        this.#came(count);
      }
      return count;
    } catch (cause) {
      // A second reader that waited when the first one met the end.
      if (this.#endOfFile && this.#over === "both ends") return null;
      throw this.#failed("read", cause);
    }
  }

  /** Reads what was set aside; readers that come meanwhile wait for what it leaves. */
  async #readAside(buffer: Uint8Array): Promise<number | null> {
    const before = this.#aside as Promise<Uint8Array>;
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    this.#aside = promise;
    const aside = await before;
    const rest = aside.subarray(buffer.length);
    if (rest.length === 0 && this.#aside === promise) this.#aside = undefined;
    // Ask the transport before the next reader does: first come, first served.
    const reading = aside.length === 0 ? this.#read(buffer) : undefined;
    resolve(rest);
    if (reading !== undefined) return reading;
    buffer.set(aside.subarray(0, buffer.length));
    return aside.length - rest.length;
  }

  write(data: Uint8Array): Promise<number> {
    if (arguments.length > 1) return surplus("write", arguments, "write(data)");
    if (!(data instanceof Uint8Array)) {
      return handled(
        Promise.reject(
          new TypeError(
            `Invalid data: expected a Uint8Array, got ${show(data)}` +
              (typeof data === "string" ? ". Use new TextEncoder().encode(…)" : ""),
          ),
        ),
      );
    }
    if (this.#closeWrite !== undefined && this.#over !== "close()") {
      return handled(Promise.reject(this.#closedError("write", "closeWrite()", data)));
    }
    return this.#enqueue(() => this.#write(data));
  }

  async #write(data: Uint8Array): Promise<number> {
    let sent = 0;
    // At least once: also with no bytes the kernel tells whether the peer is still there.
    do {
      const rest = sent === 0 ? data : data.subarray(sent);
      if (this.#over !== undefined) throw this.#failed("write", undefined, rest);
      try {
        const writing = this.#transport.write(rest);
        const count = await (this.#stall === undefined ? writing : inTime(writing, this.#stall));
        this.#bytesWritten += count;
        sent += count;
      } catch (cause) {
        throw this.#failed("write", data.length === 0 ? await this.#whyGone(cause) : cause, rest);
      }
    } while (sent < data.length);
    return sent;
  }

  /**
   * What became of a peer that has gone: Deno ends its direction a moment before it closes, so an end of
   * file can be read although the peer left with bytes unread; that is told once more.
   */
  async #whyGone(cause: unknown): Promise<unknown> {
    if (!this.#endOfFile || codeOf(cause) !== "EPIPE") return cause;
    return await this.#transport.read(new Uint8Array(1)).then(() => cause, (reset) => reset);
  }

  closeWrite(): Promise<void> {
    this.#closeWrite ??= this.#enqueue(async () => {
      if (this.#over === "close()") throw this.#failed("closeWrite", undefined);
      // Where nothing is left to read, closing the descriptor is what tells the peer.
      if (this.#over === undefined && !this.#writeEnded && !this.#readEnded) {
        try {
          await this.#transport.closeWrite();
        } catch (cause) {
          if (this.#over === "close()") throw this.#failed("closeWrite", undefined);
          // ENOTCONN: the peer is gone, and with it the direction.
          if (codeOf(cause) !== "ENOTCONN" && codeOf(cause) !== "EPIPE") {
            throw this.#failed("closeWrite", cause);
          }
        }
      }
      this.#writeEnded = true;
      this.#settle();
    });
    return this.#closeWrite;
  }

  close(): void {
    this.#end("close()");
  }

  ref(): void {
    if (this.#over === undefined) this.#transport.ref();
  }

  unref(): void {
    if (this.#over === undefined) this.#transport.unref();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A stream that was opened just now hands over what it has only after its start.
    for (let i = 0; i < 3 && this.#writable !== undefined; i++) await undefined;
    if (this.#queued > 0) await this.#flush();
    this.close();
  }

  /** Waits for queued writes, but not longer than their time. */
  async #flush(): Promise<void> {
    let isLate = false;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const limit = new SilenceTimer(() => {
      isLate = true;
      resolve();
    });
    limit.start(FLUSH_MS);
    while (this.#queued > 0 && this.#over === undefined && !isLate) {
      await Promise.race([this.#lastJob, late]);
      // It hands over one chunk after the other, and then its end.
      if (this.#writable !== undefined) await turn();
    }
    limit.stop();
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= this.#openReadable();
  }

  get writable(): WritableStream<Uint8Array> {
    return this.#writable ??= this.#openWritable();
  }

  #openWritable(): WritableStream<Uint8Array> {
    const stream = new WritableStream<Uint8Array>({
      // The stream itself calls abort() only after the write under way, which may wait forever.
      start: ({ signal }) => signal.addEventListener("abort", () => this.close(), { once: true }),
      write: async (chunk) => void await this.write(chunk),
      close: () => this.closeWrite(),
      abort: () => this.close(),
    });
    addPipeTarget(stream);
    return stream;
  }

  #openReadable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const buffer = new ChunkBuffer();
    let controller!: ReadableByteStreamController;
    let cancelled = false;
    /** A read fills the memory of a reader that brought its own, */
    let fills = false;
    /** and that reader has gone since. */
    let abandoned = false;

    /**
     * Reads, and gives what comes to the stream by `give`, or, if nobody reads from it any more, to the
     * next reader. Tells whether the stream has what it asked for.
     */
    const read = async (into: Uint8Array, give: (count: number) => void): Promise<boolean> => {
      const { promise, resolve } = Promise.withResolvers<Uint8Array>();
      let taken = false;
      const takeOver = this.#takeOver = () => {
        if (taken) return;
        taken = true;
        // Nobody waits for it any more.
        this.#idle?.end();
        this.#setAside([promise]);
      };
      let bytes = NOTHING;
      this.#idle?.begin();
      try {
        const count = await this.#next(into);
        // All in this turn: nobody else may read before it is settled whose the bytes are.
        fills = false;
        if (count !== null && !stream.locked) takeOver();
        if (taken && count !== null) bytes = into.slice(0, count);
        if (cancelled) return true;
        if (count === null) {
          controller.close();
          controller.byobRequest?.respond(0);
        } else if (!taken) {
          give(count);
        } else if (controller.byobRequest) {
          if (stream.locked) return false;
          forget();
        }
        return true;
      } finally {
        fills = false;
        if (!taken) this.#idle?.end();
        this.#takeOver = undefined;
        resolve(bytes);
      }
    };

    /** Lets the request of a reader that has gone be: the next one would stand behind it, and wait. */
    const forget = () => {
      controller.enqueue(new Uint8Array(1));
      takeQueue();
    };

    /** What has been read and nobody has taken from the stream yet; nobody may hold its lock. */
    const takeQueue = () => {
      const reader = stream.getReader();
      const chunks = [];
      while ((controller.desiredSize ?? 0) < 0) chunks.push(reader.read());
      reader.releaseLock();
      return chunks.map((chunk) => chunk.then(({ value }) => value ?? NOTHING));
    };

    const stream: ReadableStream<Uint8Array<ArrayBuffer>> = new ReadableStream({
      type: "bytes",
      start: (given) => {
        controller = given;
      },
      pull: async () => {
        const request = controller.byobRequest;
        if (request?.view) {
          const { buffer, byteOffset, byteLength } = request.view;
          const view = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
          fills = true;
          abandoned = false;
          const isDone = await read(view, (count) => {
            if (abandoned) controller.enqueue(view.slice(0, count));
            else request.respond(count);
          });
          if (isDone) return;
        }
        const give = (count: number) => controller.enqueue(buffer.take(count));
        while (!await read(buffer.bytes, give));
      },
      cancel: () => {
        cancelled = true;
        this.#takeOver?.();
        this.#readEnded = true;
        this.#settle();
      },
    }, { highWaterMark: 0 });

    onRelease(stream, () => {
      if (fills) abandoned = true;
      else if (!cancelled && controller.byobRequest) forget();
    });
    this.#takeQueue = () => {
      if ((controller.desiredSize ?? 0) < 0) this.#setAside(takeQueue());
    };
    addPipeSource(stream);
    return stream;
  }

  /** Puts what has been read before everything else that waits for a reader. */
  #setAside(parts: Promise<Uint8Array>[]): void {
    const [first] = parts;
    this.#aside = this.#aside === undefined && parts.length === 1
      ? first
      : Promise.all([...parts, this.#aside ?? NOTHING]).then(concat);
  }

  /** Runs jobs of the write direction one after another. */
  #enqueue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#queued === 0 ? job() : this.#lastJob.then(job);
    this.#queued++;
    const done = () => void this.#queued--;
    this.#lastJob = result.then(done, done);
    return result;
  }

  /** Closes the descriptor when neither direction has anything left to do. */
  #settle(): void {
    if (this.#readEnded && this.#writeEnded) this.#end("both ends");
  }

  #end(by: "close()" | "both ends"): void {
    if (this.#over !== undefined) return;
    this.#over = by;
    countSocket(-1);
    this.#idle?.stop();
    this.#stall?.stop();
    this.#transport.close();
    this.#resolveClosed();
  }

  /** Takes note of a failure, and gives the error to throw. */
  #failed(operation: "read" | "write" | "closeWrite", cause: unknown, unsent?: Uint8Array): Error {
    const path = this.#path();
    const fields = { operation, path, ...(unsent && { unsent }) };
    if (this.#failure !== undefined) {
      if (operation === "read" && (this.#failure as SocketError).operation === operation) {
        return this.#failure;
      }
      const state = stateOf(this.#failure.cause);
      const rest = unsent === undefined ? "" : `, and ${unsent.length} bytes were not sent`;
      return systemError(this.#start(operation), this.#failure, fields, `${state}${rest}`);
    }
    if (this.#over !== undefined) {
      return this.#closedError(operation, this.#over, unsent);
    }
    const error = systemError(this.#start(operation), cause, fields);
    const code = codeOf(cause);
    if (operation === "read" && code === "ECONNRESET") {
      this.#failure = error;
      this.#end("both ends");
    } else if (code === "EPIPE" || code === "ECONNRESET") {
      // What the peer sent before it left can still be read.
      this.#writeEnded = true;
      this.#settle();
    }
    return error;
  }

  #closedError(operation: string, by: string = "close()", unsent?: Uint8Array): ConnectionClosed {
    const reason = by === "both ends"
      ? "both directions have ended"
      : `${by} was called on this side`;
    const rest = unsent === undefined ? "" : `, and ${unsent.length} bytes were not sent`;
    return new ConnectionClosed(`${this.#start(operation)}: ${reason}${rest}`, {
      operation,
      path: this.#path(),
      unsent,
    });
  }

  /** The path that tells the connection from others: the peer's, or that of the server. */
  #path(): string | null {
    return this.remoteAddr.path ?? this.localAddr.path;
  }

  /** The beginning of a message: `Cannot read from "/run/app.sock"`. */
  #start(operation: string): string {
    const verb = operation === "read"
      ? "read from"
      : operation === "write"
      ? "write to"
      : "half-close";
    const { remoteAddr: { path }, localAddr } = this;
    if (path !== null) return `Cannot ${verb} ${quoteAddress(path)}`;
    const server = localAddr.path === null ? "" : ` of ${quoteAddress(localAddr.path)}`;
    return `Cannot ${verb} ${server === "" ? "the unnamed peer" : `a client${server}`}`;
  }

  /** Bytes have come. */
  #came(count: number): void {
    this.#bytesRead += count;
    arrived();
    this.#idle?.came(count);
  }

  /** Ends the connection when a read has waited for too long. */
  #endIdle(ms: number): void {
    if (this.#readable?.locked === false) this.#takeOver?.();
    if (this.#idle?.isWaiting) this.#timeOut("read", `nothing came for ${ms} ms`);
  }

  /** Closes the connection; everything that waits, and all that comes after, rejects with the state. */
  #timeOut(operation: "read" | "write", state: string): void {
    const cause = Object.assign(new Deno.errors.TimedOut(state), { code: "ETIMEDOUT" });
    this.#failure = systemError(this.#start(operation), cause, { operation, path: this.#path() });
    this.#end("close()");
  }
}

async function inTime(writing: Promise<number>, stall: IdleTimer): Promise<number> {
  stall.begin();
  try {
    return await writing;
  } finally {
    stall.end();
  }
}

/** Rejects because of an argument too many: options would be ignored. */
function surplus(name: string, given: IArguments, call: string): Promise<never> {
  return handled(new Promise<never>(() => checkArguments(name, given, 1, call)));
}

/** A rejection that nobody awaits must not end the process. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Some bytes, one after the other. */
function concat(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Calls back when a reader that brings its own memory has let go of a stream. */
function onRelease(stream: ReadableStream<Uint8Array>, callback: () => void): void {
  const getReader = stream.getReader.bind(stream);
  stream.getReader = function (options?: { mode: "byob" }) {
    const reader = getReader(options as { mode: "byob" });
    if (options?.mode !== "byob") return reader;
    let isReleased = false;
    reader.releaseLock = () => {
      ReadableStreamBYOBReader.prototype.releaseLock.call(reader);
      if (!isReleased) callback();
      isReleased = true;
    };
    return reader;
  } as typeof stream.getReader;
}
