/**
 * A transport over a descriptor that Deno's own API cannot adopt: an inherited socket, in the child
 * and in the parent. It is a `net.Socket` of node:net, with the manners of a `Deno.UnixConn`.
 *
 * - Reads go through the `onread` option, which fills one buffer of ours and is two to four times as
 *   fast as `'data'` events. What no reader waits for yet stays in that buffer, and reading pauses.
 * - A `net.Socket` destroys itself at the first error, and with it what the peer had sent before it
 *   left. Here `destroy` is kept away from it: a failed write ends the writing only.
 * - It keeps the process alive while something is pending, not merely because it is open.
 * - node:net is loaded at the first use: it takes 20 to 40 ms.
 */

import type { Socket, SocketConstructorOpts } from "node:net";
import type { UnixAddr } from "../../address.ts";
import { NotASocket } from "../../errors.ts";
import { builtin } from "../base/node.ts";
import { readBuffer } from "../base/read_buffer.ts";
import { SocketConnection, type Transport } from "../connection/socket_connection.ts";

/** The descriptor of a child at which it finds its socket. */
export const CHILD_FD = 3;

const NO_ADDR: UnixAddr = { transport: "unix", path: null };

const BUFFER_SIZE = 256 * 1024;

/** What is handed to the socket at once. A failed write counts such a slice as unsent as a whole. */
const SLICE_SIZE = 256 * 1024;

/** The errors of Deno that node's codes stand for. */
const CLASSES: Record<string, new (message: string, options?: ErrorOptions) => Error> = {
  EPIPE: Deno.errors.BrokenPipe,
  ECONNRESET: Deno.errors.ConnectionReset,
};

/** What the first use of a descriptor says that could not be told from a connected socket before. */
const UNCONNECTED = ["EBADF", "EINVAL", "ENOTCONN"];

/** The descriptors that were adopted: once closed, a number may come to be one of Deno's own. */
const adoptedDescriptors = new Set<number>();

interface Reader {
  buffer: Uint8Array;
  resolve: (count: number | null) => void;
  reject: (error: Error) => void;
}

/** The handle of a `net.Socket`, which node:net has no public name for. */
type WithHandle = { _handle: unknown };

/** An adopted descriptor. */
export class AdoptedSocket implements Transport {
  readonly #socket: Socket;
  readonly #readers: Reader[] = [];
  /** What has come and nobody has read yet: with `onread` at most the one buffer. */
  #rest: Uint8Array[] = [];
  #endPushed = false;
  #ended = false;
  #readError: Error | undefined;
  #writeError: Error | undefined;
  #closed = false;
  #ending = false;
  #pending = 0;
  #keepsAlive = true;

  private constructor(open: (onRead: SocketConstructorOpts["onread"]) => Socket) {
    this.#socket = open({
      buffer: readBuffer(BUFFER_SIZE),
      callback: (count, buffer) => this.#deliver(buffer.subarray(0, count)),
    });
    this.#listen();
  }

  /** Adopts a descriptor of this process, which closing it will close. */
  static fromDescriptor(fd: number): AdoptedSocket {
    const { Socket } = builtin("node:net");
    if ("WorkerGlobalScope" in globalThis) {
      const state =
        "in a worker, because nothing there tells whether the main thread has it, and " +
        "closing it there would give its number to another file. Take it in the main thread";
      throw Object.assign(
        new Deno.errors.NotSupported(`Cannot take over descriptor ${fd} ${state}`),
        { operation: "inherited", path: null },
      );
    }
    if (adoptedDescriptors.has(fd)) {
      throw refusalOf(fd, Object.assign(new Error("adopted before"), { code: "EEXIST" }));
    }
    let adopted;
    try {
      adopted = new AdoptedSocket((onread) => new Socket({ fd, allowHalfOpen: true, onread }));
    } catch (cause) {
      throw refusalOf(fd, cause as Error);
    }
    adoptedDescriptors.add(fd);
    // Only a TCP socket has a port.
    if (adopted.#socket.localPort === undefined) return adopted;
    adopted.close();
    throw refusalOf(fd, new Error("it is a TCP socket"));
  }

  /**
   * Takes over the parent's end of a child's extra pipe, in the turn in which the child was started:
   * later its unread bytes may be thrown away when the child exits. The same for its standard streams.
   */
  static fromStream(stream: Socket, only?: "read" | "write"): AdoptedSocket {
    const { Socket } = builtin("node:net");
    const handle = (stream as unknown as WithHandle)._handle;
    if (typeof handle !== "object" || handle === null) return AdoptedSocket.#fromEvents(stream);
    (stream as unknown as WithHandle)._handle = null;
    stream.destroy();
    return new AdoptedSocket((onread) =>
      new Socket(
        {
          handle,
          allowHalfOpen: true,
          readable: only !== "write",
          writable: only !== "read",
          ...(only !== "write" && { onread }),
        } as SocketConstructorOpts,
      )
    );
  }

  /** Without a handle to take over: by `'data'` events, whose chunks are queued where none is asked for. */
  static #fromEvents(stream: Socket): AdoptedSocket {
    stream.allowHalfOpen = true;
    const adopted = new AdoptedSocket(() => stream);
    stream.on("data", (chunk: Uint8Array) => {
      if (!adopted.#deliver(chunk)) stream.pause();
      adopted.#endIfEmpty();
    });
    return adopted;
  }

  #listen(): void {
    const socket = this.#socket;
    // The end of file, also after a failed write, which keeps `'end'` from being emitted.
    const push = socket.push;
    socket.push = (chunk, encoding) => {
      if (chunk === null) this.#endPushed = true;
      const wantsMore = push.call(socket, chunk, encoding);
      this.#endIfEmpty();
      return wantsMore;
    };
    // Errors come through `destroy` and the callbacks of writes.
    socket.on("error", () => {});
    socket.destroy = (error?: Error & { syscall?: string }) => {
      if (error && error.syscall !== "write" && error.syscall !== "shutdown") {
        this.#readError ??= translate(error);
        for (const { reject } of this.#readers.splice(0)) {
          this.#settle(() => reject(this.#readError as Error));
        }
      }
      return socket;
    };
    socket.unref();
  }

  /** Hands bytes to who waits for them; tells whether more may come. */
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

  /** Ends the reading when the end has come and nothing waits in the stream: with events, it may. */
  #endIfEmpty(): void {
    if (this.#endPushed && !this.#ended && this.#socket.readableLength === 0) this.#end();
  }

  #end(): void {
    this.#ended = true;
    for (const { resolve } of this.#readers.splice(0)) this.#settle(() => resolve(null));
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
    if (this.#readError !== undefined) return Promise.reject(this.#readError);
    if (this.#ended) return Promise.resolve(null);
    if (this.#closed) return Promise.reject(canceled());
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
      this.#ending = true;
      this.#socket.end((error?: Error | null) => {
        this.#ending = false;
        this.#settle(() => error ? reject(translate(error)) : resolve());
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const socket = this.#socket as Partial<Pick<Socket, "destroy">>;
    delete socket.destroy;
    const destroy = () => this.#socket.destroy();
    // While it still ends, destroying it would keep all of it in memory for ever.
    if (this.#ending) builtin("node:timers").setImmediate(destroy);
    else destroy();
    const error = canceled();
    for (const { reject } of this.#readers.splice(0)) this.#settle(() => reject(error));
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
    if (--this.#pending === 0 && !this.#closed) this.#socket.unref();
    settle();
  }
}

/** A connection over an adopted descriptor; neither of its ends has a name. */
export function adoptedConnection(
  transport: AdoptedSocket,
  only?: "read" | "write",
): SocketConnection {
  const addresses = { localAddr: NO_ADDR, remoteAddr: NO_ADDR };
  return new SocketConnection(transport, { ...addresses, ...(only && { only }) });
}

/** Why a descriptor could not be adopted. */
function refusalOf(fd: number, cause: Error & { code?: string }): Error {
  const start = `Cannot take over descriptor ${fd}`;
  const fields = { operation: "inherited", path: null, code: "ENOTSOCK", cause };
  if (cause.code === "EEXIST") {
    const error = new Deno.errors.Busy(`${start}: it was taken over before`, { cause });
    return Object.assign(error, { ...fields, code: cause.code });
  }
  return new NotASocket(
    `${start}: no connected Unix stream socket is open there. Start this program with pair(), or ` +
      `pass the descriptor that the parent has agreed on`,
    fields,
  );
}

/** What Deno says of a read that closing has ended. */
function canceled(): Error {
  return new Deno.errors.Interrupted("operation canceled");
}

/** An error of node's as Deno has it: its class, its code. */
function translate(cause: Error & { code?: string }): Error {
  if (UNCONNECTED.includes(cause.code ?? "")) {
    const state = "the descriptor is no connected Unix stream socket";
    return new NotASocket(state, { operation: "inherited", path: null, cause });
  }
  const Class = CLASSES[cause.code ?? ""] ?? Error;
  return Object.assign(new Class(cause.message, { cause }), cause.code ? { code: cause.code } : {});
}
