/**
 * A transport over an inherited descriptor, by the handle that node:net has for pipes. It behaves
 * like a {@linkcode FdSocket}.
 *
 * - It loads neither node:net nor Node's streams, which take a sixth of the start of a child.
 * - `process.binding` alone has the class of the handle. A module in the sandbox has no such
 *   function, and uses {@linkcode FdSocket}.
 */

import { internals, pipeClass, SOCKET } from "../base/node.ts";
import { readBuffer } from "../base/read_buffer.ts";
import { BUFFER_SIZE, CallbackSocket } from "./callback_socket.ts";
import { failureOf, unconnected } from "./node_error.ts";

/** A handle of node:net. Its methods return 0, or the negative number of an error. */
interface Handle {
  readonly fd: number;
  onread: () => void;
  open(fd: number): number;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: Request, data: Uint8Array): number;
  shutdown(request: Request): number;
  ref(): void;
  unref(): void;
  close(): void;
}

/** A write or a shutdown that the handle has begun. */
interface Request {
  oncomplete: (status: number) => void;
}

/** What all handles share. */
interface Streams {
  WriteWrap: new () => Request;
  ShutdownWrap: new () => Request;
  /** The results of the last callback of a read, and of the last call of a write. */
  streamBaseState: Int32Array;
  kReadBytesOrError: number;
  kLastWriteWasAsync: number;
}

/** The status of the end of file (libuv, UV_EOF). */
const END_OF_FILE = -4095;
/** The status of a request that a close has ended (libuv, UV_ECANCELED on Linux). */
const CANCELED = -125;

/** A socket at an inherited descriptor. */
export class PipeSocket extends CallbackSocket {
  readonly #handle: Handle;
  readonly #streams: Streams;
  readonly #buffer = readBuffer(BUFFER_SIZE);
  #isReading = false;
  #writeError: Error | undefined;
  /** Ends the write or the shutdown that is pending. */
  #cancel: (() => void) | undefined;

  /** @param fd The descriptor. Throws unless a socket can be open there. */
  constructor(fd: number) {
    super();
    this.#streams = internals<Streams>("stream_wrap");
    this.#handle = new (pipeClass<Handle>())(SOCKET);
    const status = this.#handle.open(fd);
    if (status !== 0) throw failureOf(status, "open");
    this.#handle.useUserBuffer(this.#buffer);
    this.#handle.onread = () => this.#came();
    this.#handle.unref();
  }

  /** The descriptor, while it is open. */
  get fd(): number | undefined {
    const { fd } = this.#handle;
    return fd >= 0 ? fd : undefined;
  }

  #came(): void {
    const { streamBaseState, kReadBytesOrError } = this.#streams;
    const count = streamBaseState[kReadBytesOrError] as number;
    if (count < 0) {
      this.endReading(count === END_OF_FILE ? null : translate("read", count));
    } else if (!this.deliver(this.#buffer.subarray(0, count))) {
      this.#isReading = false;
      this.#handle.readStop();
    }
  }

  override read(buffer: Uint8Array): Promise<number | null> {
    const reading = super.read(buffer);
    if (!this.#isReading && !this.hasBytes && this.readEnd === undefined) this.resume();
    return reading;
  }

  protected resume(): void {
    this.#isReading = true;
    const status = this.#handle.readStart();
    if (status !== 0) this.endReading(translate("read", status));
  }

  write(data: Uint8Array): Promise<number> {
    if (this.#writeError !== undefined) return Promise.reject(this.#writeError);
    const slice = this.slice(data);
    const { length } = slice;
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = this.#streams;
    const request = new WriteWrap();
    const ended = this.#endOf(request);
    const status = this.#handle.writeBuffer(request, slice);
    if (status !== 0 || streamBaseState[kLastWriteWasAsync] === 0) request.oncomplete(status);
    return ended.then((status) => {
      if (status === 0) return length;
      throw this.#writeError ??= translate("write", status);
    });
  }

  async closeWrite(): Promise<void> {
    if (this.#writeError !== undefined) return;
    const request = new this.#streams.ShutdownWrap();
    const ended = this.#endOf(request);
    const status = this.#handle.shutdown(request);
    if (status !== 0) request.oncomplete(status);
    const end = await ended;
    if (end !== 0) throw translate("shutdown", end);
  }

  /** Returns the status of a request, which begins now. */
  #endOf(request: Request): Promise<number> {
    this.begin();
    return new Promise((resolve) => {
      request.oncomplete = (status) => {
        this.#cancel = undefined;
        this.settle(() => resolve(status));
      };
      this.#cancel = () => request.oncomplete(CANCELED);
    });
  }

  protected keepAlive(keeps: boolean): void {
    if (keeps) this.#handle.ref();
    else this.#handle.unref();
  }

  protected destroy(): void {
    this.#handle.close();
    // The handle ends a write, but not a shutdown.
    this.#cancel?.();
  }
}

/** Returns an error of the handle as a `Deno.UnixConn` would throw it. */
function translate(call: string, status: number): Error {
  const cause = failureOf(status, call);
  return unconnected(cause) ?? cause;
}
