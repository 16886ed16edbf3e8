/** What carries the packets of a socket. */

import type { Direction } from "../libc/readiness.ts";

/** A packet that has come. */
export interface Arrival {
  readonly size: number;
  /** The bytes, in new memory; `undefined` if the packet was too large. Then it is lost. */
  readonly packet: Uint8Array<ArrayBuffer> | undefined;
  /** The name of the socket that sent it; `""` without one that is UTF-8. */
  readonly from: string;
}

/** A transport of packets. Its methods throw the failures of the system, with their codes. */
export interface PacketTransport {
  /** The largest packet, sent or received. */
  readonly maxPacketBytes: number;
  /** The largest packet that the system takes. */
  readonly sendLimit: number;
  /**
   * Sends a packet. Returns `undefined` if it would wait.
   *
   * @param size How many bytes it had when it was passed. Throws if their number has changed.
   */
  send(packet: Uint8Array, size: number): true | undefined;
  /** Returns packets in order; `null` at the end, `undefined` if none has come. */
  receive(): readonly Arrival[] | null | undefined;
  /** Resolves when it may be worth another try. */
  ready(direction: Direction, signal: AbortSignal): Promise<void>;
  /** Sends the end. */
  closeWrite(): void;
  close(): void;
  ref(): void;
  unref(): void;
}
