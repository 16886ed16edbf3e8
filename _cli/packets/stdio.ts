/**
 * Packets on standard input and output, for `--type dgram` and `--type seqpacket`.
 *
 * - By default each line of the input is a packet, and each packet is printed as a line.
 * - With `--framing raw` each read of the input is a packet, and packets are printed as they are,
 *   as `nc -u` and socat do.
 */

import { SilenceTimer } from "../../_internal/base/silence.ts";
import type { PacketSocket } from "../../native/packet_socket.ts";
import { UsageError } from "../exit_codes.ts";
import { describe, fromHex, stdinItems, toLine } from "../io/framing.ts";
import { print } from "../io/output.ts";
import type { Wire } from "../io/pipe_stdio.ts";
import { Peekable, readStdin } from "../io/stdin.ts";
import type { CommonFlags } from "../parse/command.ts";
import type { FramingFlags, TypeFlags } from "../parse/options.ts";
import { json } from "../text/printable.ts";

/** How the packets of a command are read and printed. */
export type PacketFlags = CommonFlags & FramingFlags & TypeFlags;

/** The largest packet of a read: socat's buffer, so that a socat as the peer cuts none. */
const READ_BYTES = 8192;

/** How long, in milliseconds, to wait for further packets after the end of the input, as socat. */
export const QUIET_MS = 500;

/** Throws unless the options go together with a type of packets. */
export function checkPackets(
  { type, framing, piece }: PacketFlags & { readonly piece?: number },
): void {
  if (framing !== undefined && framing !== "lines" && framing !== "raw") {
    throw new UsageError(
      `--framing ${framing} does not go with --type ${type}: a packet is a message already. ` +
        `Use lines or raw`,
    );
  }
  if (piece !== undefined) {
    throw new UsageError(`--piece does not go with --type ${type}: packets are read whole`);
  }
}

/** Returns the packets of standard input. */
export function packetItems(flags: PacketFlags): Peekable<Uint8Array> {
  if (flags.framing === "raw" && !flags.hex) return new Peekable(readPackets());
  return stdinItems({ ...flags, framing: "lines" });
}

async function* readPackets(): AsyncGenerator<Uint8Array> {
  for await (const chunk of readStdin()) {
    for (let at = 0; at < chunk.length; at += READ_BYTES) {
      yield chunk.subarray(at, at + READ_BYTES);
    }
  }
}

/** The most characters with which `--hex` writes a byte: two digits, and what separates them. */
const MOST_DIGITS = 4;

/** Returns all of standard input as one packet, which may have at most `limit` bytes. */
export async function* wholeInput(flags: PacketFlags, limit: number): AsyncGenerator<Uint8Array> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of readStdin()) {
    chunks.push(chunk.slice());
    size += chunk.length;
    if (size > MOST_DIGITS * limit) break;
  }
  const bytes = await new Blob(chunks).bytes();
  const packet = flags.hex ? fromHex(new TextDecoder().decode(bytes)) : bytes;
  if (packet.length > limit) {
    throw new Error(
      `Cannot send the input as one packet: it has more than ${limit} bytes. ` +
        `Use --framing raw or lines to send several`,
    );
  }
  yield packet;
}

/** Returns an item of the input as a packet. */
export function toPacket(item: Uint8Array, { hex }: PacketFlags): Uint8Array {
  return hex ? fromHex(new TextDecoder().decode(item)) : item;
}

/** Prints a packet. With `--json` also its sender, if that is known. */
export function printPacket(
  packet: Uint8Array,
  flags: PacketFlags,
  from?: string | null,
): Promise<void> {
  if (flags.json) {
    const sender = from === undefined ? {} : { from };
    return print(`${json({ ...describe(packet, flags), ...sender })}\n`);
  }
  return print(flags.framing === "raw" && !flags.hex ? packet : toLine(packet, flags));
}

/** What a connection is of which {@linkcode pipeStdio} closes both ends. */
export function closing(close: () => unknown): Wire["conn"] {
  return {
    close,
    // Called after the peer's end, to see whether it still reads.
    write: () => Promise.reject(new Error("the peer has ended")),
  };
}

/** When the exchange over a datagram socket ends. The kernel reports no end. */
export interface DatagramEnd {
  /** How long, in milliseconds, nothing may come after the end. */
  readonly quietMs: number;
  /** The end; by default that of the input. */
  readonly ended?: Promise<unknown>;
}

/** Returns a connected socket that is piped as the options say. */
export function packetWire(
  socket: PacketSocket,
  flags: PacketFlags,
  { quietMs, ended }: DatagramEnd,
): Wire {
  const quiet = new AbortController();
  const timer = new SilenceTimer(() => quiet.abort());
  const isDatagram = socket.type === "dgram";
  let hasEnded = false;
  const end = () => {
    hasEnded = true;
    timer.start(quietMs);
  };
  if (isDatagram) ended?.then(end);
  return {
    conn: closing(() => socket.close()),
    channel: {
      async closeWrite() {
        if (!isDatagram) await socket.closeWrite();
        else if (ended === undefined) end();
      },
      close() {
        timer.stop();
        socket.close();
      },
    },
    incoming: receive(),
    send: (item) => socket.send(toPacket(item, flags)),
    print: (packet) => printPacket(packet, flags),
  };

  async function* receive(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const packet = await socket.receive({ signal: quiet.signal }).catch((error) => {
        if (quiet.signal.aborted) return null;
        throw error;
      });
      if (packet === null) return;
      if (hasEnded) timer.start(quietMs);
      yield packet;
    }
  }
}
