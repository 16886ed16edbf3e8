/** What the tests of packet sockets share. */

import type { PacketSocket, PacketType } from "@uds/uds/native";
import { socketpair } from "@uds/uds/native";

export const TYPES: readonly PacketType[] = ["seqpacket", "dgram"];

/** The largest packet that a socket of Linux sends without options. */
export const MAX_BYTES: number = socketpair({ type: "dgram" }).map((socket) => {
  socket.close();
  return socket.maxPacketBytes;
})[0]!;

export const SIZES: readonly number[] = [0, 1, 64 * 1024, MAX_BYTES];

/** A pair of packet sockets, which closes on disposal. */
export class Ends implements Disposable {
  readonly a: PacketSocket;
  readonly b: PacketSocket;

  constructor(type: PacketType, maxPacketBytes?: number) {
    [this.a, this.b] = socketpair({ type, maxPacketBytes });
  }

  [Symbol.dispose](): void {
    this.a.close();
    this.b.close();
  }
}

/** Returns a packet that differs in every byte from a shifted one, and from others' of its size. */
export function packet(bytes: number, seed = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 8) + seed) & 255);
}

/** Compares packets. A failure does not list all bytes. */
export function assertSame(actual: Uint8Array | null, expected: Uint8Array): void {
  if (actual?.length !== expected.length) {
    throw new Error(`got ${actual?.length} bytes instead of ${expected.length}`);
  }
  const differs = actual.findIndex((byte, i) => byte !== expected[i]);
  if (differs >= 0) throw new Error(`byte ${differs} of ${expected.length} differs`);
}

/** Receives as many packets as are there. */
export async function receiveAll(socket: PacketSocket): Promise<Uint8Array[]> {
  const packets = [];
  for await (const packet of socket) packets.push(packet);
  return packets;
}

/** Sends until the kernel takes no more. Returns the number, and the send that waits. */
export async function fill(
  socket: PacketSocket,
  bytes: Uint8Array,
): Promise<{ count: number; waiting: Promise<void> }> {
  for (let count = 0;; count++) {
    let isSent = false;
    const waiting = socket.send(bytes).then(() => void (isSent = true));
    // More than the socket needs to let others go first.
    for (let i = 0; i < 5 && !isSent; i++) await new Promise((resolve) => setTimeout(resolve, 0));
    if (!isSent) return { count, waiting };
  }
}
