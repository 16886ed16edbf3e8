/** `uds run` on a pair of sockets of packets. */

import "../../_internal/native/plug_in.ts";
import type { PacketType } from "../../native/packet_socket.ts";
import { type Child, pair } from "../../pair.ts";
import { onStdio, SHELL } from "../io/child.ts";
import type { Wire } from "../io/pipe_stdio.ts";
import type { Peekable } from "../io/stdin.ts";
import { type PacketFlags, packetItems, packetWire } from "./stdio.ts";

/** How long, in milliseconds, packets may still come after a command has exited. */
const LEFT_MS = 50;

/** Starts a command on one end of a pair. */
export async function startOnPackets(
  flags: PacketFlags & { readonly stdio?: boolean },
  type: PacketType,
  command: string,
  args: string[],
): Promise<{ child: Child<unknown>; wire: Wire; input: Peekable<Uint8Array> }> {
  const child = flags.stdio
    ? await pair(SHELL, { type, args: onStdio(command, args) })
    // What it prints itself is not data of the socket.
    : await pair(command, { type, args, stdout: "piped" });
  const wire = packetWire(child.conn, flags, { quietMs: LEFT_MS, ended: child.status });
  return { child, wire, input: packetItems(flags) };
}
