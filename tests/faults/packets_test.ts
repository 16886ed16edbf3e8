/**
 * # Packets
 *
 * Pairs of sockets of both types, by system calls through FFI. `UDS_CASES` sets the number of
 * calls.
 */

import { ConnectionClosed, MessageTooLarge } from "@uds/uds";
import { type PacketType, socketpair } from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { openDescriptors, test } from "../_helpers.ts";
import { assertSame, fill, packet, TYPES } from "../native/_packets.ts";

const CASES = Number(Deno.env.get("UDS_CASES") ?? 4000);

/** The memory, in bytes, that may be in use for a while without being lost. */
const SLACK_BYTES = 64 * 1024 * 1024;

/** Makes a pair, makes 20 calls fail in every way, and closes it. */
async function round(type: PacketType, seed: number): Promise<void> {
  const [a, b] = socketpair({ type, maxPacketBytes: 1000 });
  const size = seed % 1001;
  await a.send(packet(size, seed));
  assertSame(await b.receive(), packet(size, seed));
  await assertRejects(() => a.send(new Uint8Array(1001)), MessageTooLarge);
  await assertRejects(() => a.send("text" as never), TypeError);
  assertThrows(() => socketpair({ type, protocol: 3 }), Deno.errors.NotSupported);
  const controller = new AbortController();
  const aborted = Array.from({ length: 5 }, () => b.receive({ signal: controller.signal }));
  const late = b.receive();
  controller.abort("enough");
  for (const result of await Promise.allSettled(aborted)) assertEquals(result.status, "rejected");
  await a.send(packet(1));
  assertSame(await late, packet(1));
  const pending = [assertRejects(() => b.receive(), ConnectionClosed)];
  if (seed % 50 === 0) {
    const { waiting } = await fill(b, packet(1000));
    pending.push(assertRejects(() => waiting, ConnectionClosed));
  }
  b.close();
  await Promise.all(pending);
  await assertRejects(() => a.send(packet(1)), Error);
  if (type === "seqpacket") await a.receive().catch(() => {});
  a.close();
}

/**
 * Fault: Calls of packet sockets fail, are aborted, or are cut off by `close()`
 * How: 100,000 calls on pairs that are made and closed, with packets of 0 to 1,000 bytes
 * Then: Each call has its own error, no packet is cut, and no descriptor and no memory is lost
 */
test("100,000 calls of packet sockets that fail in every way lose nothing", async () => {
  const before = openDescriptors();
  const rounds = Math.ceil(CASES / 20);
  for (let i = 0; i < rounds / 4; i++) for (const type of TYPES) await round(type, i);
  const memory = Deno.memoryUsage().rss;
  for (let i = 0; i < rounds / 2; i++) for (const type of TYPES) await round(type, i);
  assert(Deno.memoryUsage().rss - memory < SLACK_BYTES);
  assertEquals(openDescriptors(), before);
}, { deadline: 120_000 });
