/**
 * A transport over a descriptor that Deno's own API cannot open: an inherited socket, in the child
 * and in the parent. It is a `net.Socket` of node:net that behaves like a `Deno.UnixConn`.
 *
 * - Reads use the `onread` option, which fills one buffer of ours and is two to four times as fast
 *   as `'data'` events. Bytes without a reader stay in that buffer, and reading pauses.
 * - A `net.Socket` destroys itself at the first error, and drops what the peer sent before it left.
 *   `destroy` is therefore replaced: a failed write ends only the writing.
 * - The bytes that a child sent before it ended stay readable: see {@linkcode FdSocket.fromStream}.
 */

import type { Socket, SocketConstructorOpts } from "node:net";
import { builtin } from "../base/node.ts";
import { readBuffer } from "../base/read_buffer.ts";
import { errorOfCode } from "../base/system_code.ts";
import { BUFFER_SIZE, CallbackSocket } from "./callback_socket.ts";
import { emptyWriteFails, learnFrom } from "./empty_write.ts";
import { fromNode, unconnected } from "./node_error.ts";

/** The handle of a `net.Socket`, which has no public name. */
type WithHandle = { _handle: { fd?: number } | null | undefined };

/** A socket at a descriptor. */
export class FdSocket extends CallbackSocket {
  readonly #socket: Socket;
  #writeError: Error | undefined;
  #hasPushedEnd = false;
  #isEnding = false;

  /**
   * @param open Opens the socket with the buffer to read into.
   * @param bufferSize The size of that buffer.
   */
  constructor(
    open: (onRead: SocketConstructorOpts["onread"]) => Socket,
    bufferSize: number = BUFFER_SIZE,
  ) {
    super();
    const socket = this.#socket = open({
      buffer: readBuffer(bufferSize),
      callback: (count, buffer) => this.deliver(buffer.subarray(0, count)),
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
      if (error && !isOfWriting && !(this.readEnd instanceof Error)) {
        this.endReading(translate(error));
      }
      return socket;
    };
    socket.unref();
    if (socket.writable) learnFrom(this.#handle);
  }

  get #handle(): WithHandle["_handle"] {
    return (this.#socket as unknown as WithHandle)._handle;
  }

  /** The descriptor, while it is open. */
  get fd(): number | undefined {
    const fd = this.#handle?.fd;
    return fd !== undefined && fd >= 0 ? fd : undefined;
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
      if (!socket.deliver(chunk)) stream.pause();
      socket.#endIfEmpty();
    });
    return socket;
  }

  /**
   * Ends the reading if the end of file has come, and no event is due that delivers bytes before
   * it.
   */
  #endIfEmpty(): void {
    const isEmpty = this.#socket.readableLength === 0;
    if (this.#hasPushedEnd && this.readEnd === undefined && isEmpty) this.endReading(null);
  }

  write(data: Uint8Array): Promise<number> {
    if (this.#writeError !== undefined) return Promise.reject(this.#writeError);
    if (data.length === 0 && this.#socket.writableLength === 0) return this.#writeNothing();
    const slice = this.slice(data);
    // The socket has its own copy or hold: the buffer may be detached meanwhile.
    const { length } = slice;
    return new Promise((resolve, reject) => {
      this.begin();
      this.#socket.write(slice, (error) => {
        if (error) this.#writeError ??= translate(error);
        this.settle(() => error ? reject(this.#writeError) : resolve(length));
      });
    });
  }

  async #writeNothing(): Promise<number> {
    if (!await emptyWriteFails(this.#handle)) return 0;
    throw this.#writeError ??= errorOfCode("EPIPE", "Broken pipe (os error 32)");
  }

  closeWrite(): Promise<void> {
    if (this.#writeError !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.begin();
      this.#isEnding = true;
      this.#socket.end((error?: Error | null) => {
        this.#isEnding = false;
        this.settle(() => error ? reject(translate(error)) : resolve());
      });
    });
  }

  protected resume(): void {
    this.#socket.resume();
  }

  protected keepAlive(keeps: boolean): void {
    if (keeps) this.#socket.ref();
    else this.#socket.unref();
  }

  protected destroy(): void {
    const socket = this.#socket as Partial<Pick<Socket, "destroy">>;
    delete socket.destroy;
    const destroy = () => this.#socket.destroy();
    // Destroyed before its end is sent, the socket would never leave the memory.
    if (this.#isEnding) builtin("node:timers").setImmediate(destroy);
    else destroy();
  }
}

/** Returns an error of the socket as a `Deno.UnixConn` would throw it. */
function translate(cause: Error): Error {
  return unconnected(cause) ?? fromNode(cause);
}
