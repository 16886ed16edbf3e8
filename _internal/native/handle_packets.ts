/**
 * Packets over an inherited descriptor, without any permission: by the handle that node:net has
 * for pipes.
 *
 * - `process.binding` alone has the class of that handle. `net.Socket` refuses such a descriptor,
 *   but takes a handle.
 * - The handle cuts a packet that does not fit its buffer, so the buffer has one byte more.
 * - The handle takes an empty packet for the end, and stops reading. It can be started again, and
 *   reads what follows. The end of a seqpacket socket comes again each time, packets do not: so
 *   {@linkcode MOST_EMPTY} in a row are the end.
 * - A failed write destroys a `net.Socket`, and what was not read yet. `destroy` is therefore
 *   replaced.
 */

import type { Socket, SocketConstructorOpts } from "node:net";
import { NotASocket } from "../../errors.ts";
import type { PacketType } from "../../native/packet_socket.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { onAbort } from "../base/event_loop.ts";
import { requireSize } from "../base/lasting_buffer.ts";
import { builtin } from "../base/node.ts";
import { fromNode } from "../descriptor/node_error.ts";
import type { Direction } from "../libc/readiness.ts";
import type { Arrival, PacketTransport } from "./packet_transport.ts";

/** The largest packet of Linux, unless its sender asks for more. Only libc reports it. */
const DEFAULT_MAX_BYTES = 212_960;

/** More empty packets than a send buffer of the usual size holds. */
const MOST_EMPTY = 1000;

/** The most packets to keep for the reader. */
const MOST_AHEAD = 64;

/** A handle of node:net, as far as it is needed here. */
interface Handle {
  open(fd: number): number;
  readStart(): number;
  readStop(): number;
}

/** A transport over an inherited descriptor. */
export class HandlePackets implements PacketTransport {
  readonly maxPacketBytes: number;
  readonly #type: PacketType;
  readonly #handle: Handle;
  readonly #socket: Socket;
  #arrivals: Arrival[] = [];
  /** The number of empty packets, or of times that the end came. */
  #empty = 0;
  #hasEnded = false;
  #readError: Error | undefined;
  #writeError: Error | undefined;
  /** The packet that is being sent, and the one that was sent last. */
  #sending: Uint8Array | undefined;
  #sent: Uint8Array | undefined;
  readonly #wakes: Record<Direction, () => void> = { read: () => {}, write: () => {} };
  #waits = 0;
  #keepsAlive = true;

  constructor(
    context: ErrorContext<null>,
    fd: number,
    type: PacketType,
    maxPacketBytes: number = DEFAULT_MAX_BYTES,
  ) {
    this.#type = type;
    this.maxPacketBytes = maxPacketBytes;
    const { Pipe, constants } = pipes();
    this.#handle = new Pipe(constants.SOCKET);
    if (this.#handle.open(fd) !== 0) {
      const state = "no socket is open there. Start this program with pair() and the same type";
      throw context.error(NotASocket, state, { code: "ENOTSOCK" });
    }
    const options = {
      handle: this.#handle,
      allowHalfOpen: true,
      onread: {
        buffer: new Uint8Array(maxPacketBytes + 1),
        callback: (size: number, buffer: Uint8Array<ArrayBuffer>) => this.#came(size, buffer),
      },
    };
    const socket = this.#socket = new (builtin("node:net").Socket)(
      options as unknown as SocketConstructorOpts,
    );
    const push = socket.push;
    socket.push = (chunk, encoding) =>
      chunk === null ? this.#cameEmpty() : push.call(socket, chunk, encoding);
    socket.on("error", () => {});
    socket.destroy = (error?: Error & { syscall?: string }) => {
      if (error?.syscall === "read") this.#readError ??= fromNode(error);
      this.#wakes.read();
      return socket;
    };
    socket.unref();
  }

  /** The usual one: without libc the system's is not known. */
  get sendLimit(): number {
    return Math.min(this.maxPacketBytes, DEFAULT_MAX_BYTES);
  }

  /** Keeps a packet. Reports whether to go on reading. */
  #came(size: number, buffer: Uint8Array<ArrayBuffer>): boolean {
    this.#addEmpty();
    const packet = size > this.maxPacketBytes ? undefined : buffer.slice(0, size);
    this.#arrivals.push({ size, packet, from: "" });
    this.#wakes.read();
    return this.#arrivals.length < MOST_AHEAD;
  }

  /** Adds the empty packets, which came before another one or are those of a datagram socket. */
  #addEmpty(): void {
    for (; this.#empty > 0; this.#empty--) {
      this.#arrivals.push({ size: 0, packet: new Uint8Array(0), from: "" });
    }
  }

  #cameEmpty(): boolean {
    this.#empty++;
    if (this.#type === "dgram") this.#addEmpty();
    this.#hasEnded = this.#empty >= MOST_EMPTY;
    if (this.#hasEnded || this.#type === "dgram") this.#wakes.read();
    // Not now: the handle is in the middle of stopping.
    if (!this.#hasEnded) queueMicrotask(() => this.#restart());
    return false;
  }

  #restart(): void {
    this.#handle.readStop();
    this.#handle.readStart();
  }

  receive(): readonly Arrival[] | null | undefined {
    const arrivals = this.#arrivals;
    if (arrivals.length > 0) {
      this.#arrivals = [];
      if (arrivals.length >= MOST_AHEAD) this.#socket.resume();
      return arrivals;
    }
    const error = this.#readError;
    this.#readError = undefined;
    if (error !== undefined) throw error;
    return this.#hasEnded ? null : undefined;
  }

  /** Begins to send a packet, or reports that it was sent. */
  send(packet: Uint8Array, size: number): true | undefined {
    if (this.#writeError !== undefined) throw this.#writeError;
    if (this.#sending !== undefined) return undefined;
    if (this.#sent === packet) {
      this.#sent = undefined;
      return true;
    }
    requireSize(packet, size);
    this.#sending = packet;
    this.#socket.write(packet, (error) => {
      if (error) this.#writeError ??= fromNode(error);
      else this.#sent = this.#sending;
      this.#sending = undefined;
      this.#wakes.write();
    });
    return undefined;
  }

  async ready(direction: Direction, signal: AbortSignal): Promise<void> {
    const isReady = direction === "read"
      ? this.#arrivals.length > 0 || this.#hasEnded || this.#readError !== undefined
      : this.#sending === undefined;
    if (isReady) return;
    if (this.#waits++ === 0 && this.#keepsAlive) this.#socket.ref();
    await new Promise<void>((resolve) => {
      const stop = onAbort(signal, resolve);
      this.#wakes[direction] = () => {
        stop();
        resolve();
      };
    });
    if (--this.#waits === 0) this.#socket.unref();
    if (direction === "write" && signal.aborted) this.#disown();
  }

  /** Called when an abort has taken back the packet: its memory may be that of a later one. */
  #disown(): void {
    this.#sent = undefined;
    if (this.#sending !== undefined) this.#sending = new Uint8Array(0);
  }

  closeWrite(): void {
    this.#socket.end();
  }

  close(): void {
    delete (this.#socket as Partial<Pick<Socket, "destroy">>).destroy;
    this.#socket.destroy();
  }

  ref(): void {
    this.#keepsAlive = true;
    if (this.#waits > 0) this.#socket.ref();
  }

  unref(): void {
    this.#keepsAlive = false;
    this.#socket.unref();
  }
}

/** Returns the class of the handle. It has no public name. */
function pipes(): { Pipe: new (type: number) => Handle; constants: { SOCKET: number } } {
  // deno-lint-ignore no-process-global
  return (process as unknown as { binding(name: string): never }).binding("pipe_wrap");
}
