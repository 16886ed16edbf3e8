/**
 * A transport over a descriptor that Deno's own API cannot open: an inherited socket, in the child
 * and in the parent. It is a `net.Socket` of node:net that behaves like a `Deno.UnixConn`.
 *
 * - Reads use the `onread` option, which fills one buffer of ours and is two to four times as fast
 *   as `'data'` events. Bytes without a reader stay in that buffer, and reading pauses.
 * - A `net.Socket` destroys itself at the first error, and drops what the peer sent before it left.
 *   `destroy` is therefore replaced: a failed write ends only the writing.
 * - The bytes that a child sent before it ended stay readable: see {@linkcode FdSocket.fromStream}.
 * - It keeps the process alive while an operation is pending, not merely because it is open.
 */

import type { Socket, SocketConstructorOpts } from "node:net";
import { NotASocket } from "../../errors.ts";
import { builtin } from "../base/node.ts";
import { readBuffer } from "../base/read_buffer.ts";
import type { Transport } from "../connection/socket_connection.ts";
import { fromNode } from "./node_error.ts";

const BUFFER_SIZE = 256 * 1024;

/** The most bytes passed to the socket at once. A failed write counts the whole slice as unsent. */
const SLICE_SIZE = 256 * 1024;

/** The codes with which the first use reports that a descriptor is not a connected socket. */
const UNCONNECTED = ["EBADF", "EINVAL", "ENOTCONN"];

interface Reader {
  buffer: Uint8Array;
  resolve: (count: number | null) => void;
  reject: (error: Error) => void;
}

/** The handle of a `net.Socket`, which has no public name. */
type WithHandle = { _handle: { fd?: number } | null | undefined };

/** A socket at a descriptor. */
export class FdSocket implements Transport {
  readonly #socket: Socket;
  readonly #readers: Reader[] = [];
  /** The bytes without a reader: with `onread` at most the one buffer. */
  #rest: Uint8Array[] = [];
  /** How the reading has ended: `null` at end of file. */
  #readEnd: Error | null | undefined;
  #writeError: Error | undefined;
  #hasPushedEnd = false;
  #isEnding = false;
  #isClosed = false;
  #pending = 0;
  #keepsAlive = true;

  /**
   * @param open Opens the socket with the buffer to read into.
   * @param bufferSize The size of that buffer.
   */
  constructor(
    open: (onRead: SocketConstructorOpts["onread"]) => Socket,
    bufferSize: number = BUFFER_SIZE,
  ) {
    const socket = this.#socket = open({
      buffer: readBuffer(bufferSize),
      callback: (count, buffer) => this.#deliver(buffer.subarray(0, count)),
    });
    // The end of file, also after a failed write, which keeps `'end'` from being emitted.
    const push = socket.push;
    socket.push = (chunk, encoding) => {
      if (chunk === null) this.#hasPushedEnd = true;
      const wantsMore = push.call(socket, chunk, encoding);
      this.#endIfEmpty();
      return wantsMore;
    };
    // Errors come through `destroy` and the callbacks of writes.
    socket.on("error", () => {});
    socket.destroy = (error?: Error & { syscall?: string }) => {
      const isOfWriting = error?.syscall === "write" || error?.syscall === "shutdown";
      if (error && !isOfWriting && !(this.#readEnd instanceof Error)) {
        this.#endReading(translate(error));
      }
      return socket;
    };
    socket.unref();
  }

  /** The descriptor, while it is open. */
  get fd(): number | undefined {
    const fd = (this.#socket as unknown as WithHandle)._handle?.fd;
    return fd !== undefined && fd >= 0 ? fd : undefined;
  }

  get hasBytes(): boolean {
    return this.#rest.length > 0;
  }

  /**
   * Takes over a stream of a child that was started in this turn of the event loop. Later, its
   * unread bytes may be dropped when the child exits.
   */
  static fromStream(stream: Socket, only?: "read" | "write"): FdSocket {
    const handle = (stream as unknown as WithHandle)._handle;
    if (typeof handle !== "object" || handle === null) return FdSocket.#fromEvents(stream);
    (stream as unknown as WithHandle)._handle = null;
    stream.destroy();
    return FdSocket.fromHandle(handle, only);
  }

  /** Takes over a handle of node:net. */
  static fromHandle(handle: object, only?: "read" | "write", bufferSize?: number): FdSocket {
    const { Socket } = builtin("node:net");
    return new FdSocket(
      (onread) =>
        new Socket(
          {
            handle,
            allowHalfOpen: true,
            readable: only !== "write",
            writable: only !== "read",
            ...(only !== "write" && { onread }),
          } as SocketConstructorOpts,
        ),
      bufferSize,
    );
  }

  /** Reads a stream without a handle by its `'data'` events. */
  static #fromEvents(stream: Socket): FdSocket {
    stream.allowHalfOpen = true;
    const socket = new FdSocket(() => stream);
    stream.on("data", (chunk: Uint8Array) => {
      if (!socket.#deliver(chunk)) stream.pause();
      socket.#endIfEmpty();
    });
    return socket;
  }

  /** Delivers bytes to pending reads. Reports whether they want more. */
  #deliver(bytes: Uint8Array): boolean {
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
      this.#settle(() => reader.resolve(count));
    }
    return true;
  }

  /**
   * Ends the reading if the end of file has come, and no event is due that delivers bytes before
   * it.
   */
  #endIfEmpty(): void {
    const isEmpty = this.#socket.readableLength === 0;
    if (this.#hasPushedEnd && this.#readEnd === undefined && isEmpty) this.#endReading(null);
  }

  #endReading(end: Error | null): void {
    this.#readEnd = end;
    for (const { resolve, reject } of this.#readers.splice(0)) {
      this.#settle(() => end === null ? resolve(null) : reject(end));
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
        if (this.#rest.length === 0) this.#socket.resume();
      }
      return Promise.resolve(count);
    }
    if (this.#readEnd === null) return Promise.resolve(null);
    if (this.#readEnd !== undefined) return Promise.reject(this.#readEnd);
    return new Promise((resolve, reject) => {
      this.#readers.push({ buffer, resolve, reject });
      this.#begin();
    });
  }

  write(data: Uint8Array): Promise<number> {
    if (this.#writeError !== undefined) return Promise.reject(this.#writeError);
    const slice = data.length > SLICE_SIZE ? data.subarray(0, SLICE_SIZE) : data;
    return new Promise((resolve, reject) => {
      this.#begin();
      this.#socket.write(slice, (error) => {
        if (error) this.#writeError ??= translate(error);
        this.#settle(() => error ? reject(this.#writeError) : resolve(slice.length));
      });
    });
  }

  closeWrite(): Promise<void> {
    if (this.#writeError !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#begin();
      this.#isEnding = true;
      this.#socket.end((error?: Error | null) => {
        this.#isEnding = false;
        this.#settle(() => error ? reject(translate(error)) : resolve());
      });
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const socket = this.#socket as Partial<Pick<Socket, "destroy">>;
    delete socket.destroy;
    const destroy = () => this.#socket.destroy();
    // Destroyed before its end is sent, the socket would never leave the memory.
    if (this.#isEnding) builtin("node:timers").setImmediate(destroy);
    else destroy();
    if (this.#readEnd === undefined) {
      this.#endReading(new Deno.errors.Interrupted("operation canceled"));
    }
  }

  ref(): void {
    this.#keepsAlive = true;
    if (this.#pending > 0) this.#socket.ref();
  }

  unref(): void {
    this.#keepsAlive = false;
    this.#socket.unref();
  }

  #begin(): void {
    if (this.#pending++ === 0 && this.#keepsAlive) this.#socket.ref();
  }

  #settle(settle: () => void): void {
    if (--this.#pending === 0 && !this.#isClosed) this.#socket.unref();
    settle();
  }
}

/** Returns an error of the socket as a `Deno.UnixConn` would throw it. */
function translate(cause: Error & { code?: string }): Error {
  if (!UNCONNECTED.includes(cause.code ?? "")) return fromNode(cause);
  const state = "the descriptor is not a connected Unix stream socket";
  return new NotASocket(state, { operation: "inherited", path: null, cause });
}
