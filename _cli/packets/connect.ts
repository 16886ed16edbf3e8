/** `uds connect` and `uds send` to a socket of packets. */

import type { SocketPath } from "../../address.ts";
import { connectPackets } from "../../native/connect_packets.ts";
import type { PacketSocket, PacketType } from "../../native/packet_socket.ts";
import { isOtherType } from "../exit_codes.ts";
import { pipeStdio } from "../io/pipe_stdio.ts";
import { reporter } from "../io/reporter.ts";
import { SilenceLimit } from "../io/silence_limit.ts";
import { Peekable } from "../io/stdin.ts";
import type { ConnectingFlags, ExchangingFlags } from "../parse/options.ts";
import { shownPath } from "../parse/parameters.ts";
import {
  checkPackets,
  type PacketFlags,
  packetItems,
  packetWire,
  QUIET_MS,
  toPacket,
  wholeInput,
} from "./stdio.ts";

/** The options of `connect` and `send` that packets have too. */
type Flags = PacketFlags & ConnectingFlags & ExchangingFlags & { readonly piece?: number };

/** Pipes standard input and output. */
export async function connectStdio(
  flags: Flags,
  type: PacketType,
  path: SocketPath,
): Promise<void> {
  checkPackets(flags);
  const socket = await open(flags, type, path);
  await pipeStdio(packetWire(socket, flags, { quietMs: QUIET_MS }), packetItems(flags), {
    expect: flags.expect,
    timeout: flags.timeout,
  });
}

/** Sends one packet, or those of standard input, and prints the replies. */
export async function sendPackets(
  flags: Flags,
  type: PacketType,
  path: SocketPath,
  message: string,
): Promise<void> {
  checkPackets(flags);
  const isInput = message === "-";
  // A wrong message is refused before anything is connected.
  const packet = isInput ? undefined : toPacket(new TextEncoder().encode(message), flags);
  const socket = await open(flags, type, path);
  if (isInput && Deno.stdin.isTerminal()) {
    reporter.say("type the message, and Ctrl-D", { event: "reading" });
  }
  const { expect, timeout, framing } = flags;
  const isWhole = isInput && framing === undefined;
  const source = packet !== undefined
    ? new Peekable([packet].values())
    : isWhole
    ? new Peekable(wholeInput(flags, socket.maxPacketBytes))
    : packetItems(flags);
  const wire = packetWire(socket, flags, { quietMs: timeout ?? QUIET_MS });
  // These are packets already.
  const send = (item: Uint8Array) => socket.send(item);
  // Silence is the end of datagrams.
  const silence = type === "dgram" ? Infinity : timeout || Infinity;
  const start = `Got no answer from ${JSON.stringify(shownPath(path))} within`;
  using limit = new SilenceLimit(silence, start);
  await pipeStdio(
    packet !== undefined || isWhole ? { ...wire, send } : wire,
    source,
    expect === undefined ? { limit } : { expect, timeout },
  );
}

/** The remedies for a socket of another type: the function of the library, and the option. */
const REMEDIES: readonly [library: string, option: string][] = [
  ["Connect to it with connect() or connectPackets()", "Use --type seqpacket, or leave out --type"],
  ["Connect to it with connect()", "Leave out --type"],
  ["Send to it with bindPackets()", "Use --type dgram"],
];

async function open(flags: Flags, type: PacketType, path: SocketPath): Promise<PacketSocket> {
  const { timeout, wait } = flags;
  try {
    return await connectPackets({ path, type, timeout, wait, autobind: type === "dgram" });
  } catch (error) {
    const remedy = isOtherType(error) &&
      REMEDIES.find(([library]) => error.message.endsWith(library));
    if (remedy) error.message = error.message.replace(...remedy);
    throw error;
  }
}
