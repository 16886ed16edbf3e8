/**
 * A server of whole packets. Each one is answered by one, and a client in Python needs no framing.
 *
 * Terminal 1: deno run --allow-ffi=/lib/x86_64-linux-gnu/libc.so.6
 * --allow-read=/tmp/upper.sock,/tmp/upper.sock.lock
 * --allow-write=/tmp/upper.sock,/tmp/upper.sock.lock --allow-net=unix:/tmp/upper.sock
 * examples/packet_server.ts /tmp/upper.sock
 * Terminal 2: python3
 *   >>> import socket
 *   >>> client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
 *   >>> client.connect("/tmp/upper.sock")
 *   >>> client.send(b"one"), client.recv(100)
 */

import { shutdownOnSignal } from "@uds/uds";
import { listenPackets, type PacketSocket } from "@uds/uds/native";

async function answer(socket: PacketSocket): Promise<void> {
  await using client = socket;
  for await (const packet of client) {
    const text = new TextDecoder().decode(packet);
    await client.send(new TextEncoder().encode(text.toUpperCase()));
  }
}

const path = Deno.args[0] ?? "/tmp/upper.sock";
await using listener = await listenPackets(path);
using _signals = shutdownOnSignal({ shutdown: () => listener.close() });
console.log(`listening on ${path}`);

for await (const client of listener) {
  answer(client).catch((error) => console.error(error.message));
}
