/** The order of bytes where `detach()` meets `closed`, `readable` and reads with a signal. */

import { type Connection, delimited, lines, messages, socketpair } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  decode,
  encode,
  isPending,
  pseudoRandom,
  readAll,
  readText,
  test,
  turn,
} from "../_helpers.ts";
import { concat } from "./_framing.ts";
import { assertSameBytes } from "../connection/_connection.ts";

/** Waits until a connection that nothing reads has begun to read ahead. */
function rest(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 100));
}

/** Returns a connection that reads ahead, and its peer. */
async function watched(): Promise<[Connection, Connection]> {
  const [conn, peer] = await socketpair();
  assert(await isPending(conn.closed));
  return [conn, peer];
}

test("detach() during a read from what is ahead returns the bytes in order", async () => {
  const [conn, peer] = await watched();
  // More than one read of the messages takes.
  const bytes = Uint8Array.from(pseudoRandom(60_000, 1), (byte) => byte === 10 ? 11 : byte);
  bytes.set(encode("first\n"));
  await peer.write(bytes);
  await peer.closeWrite();
  await rest();
  const channel = messages(conn, lines());
  assertEquals(await channel.receive(), "first");
  channel.receive().catch(() => {});
  using detached = channel.detach();
  assertSameBytes(await readAll(detached), bytes.subarray(6));
  peer.close();
});

test("detach() returns what was read at once, although the connection reads ahead", async () => {
  const [conn, peer] = await watched();
  const channel = messages(conn, lines());
  await peer.write(encode("first\nrest"));
  assertEquals(await channel.receive(), "first");
  await rest();
  channel.receive().catch(() => {});
  using detached = channel.detach();
  assertEquals(await readText(detached), "rest");
  await peer.write(encode("more"));
  assertEquals(await readText(detached), "more");
  peer.close();
});

test("detach() twice during pending reads returns what was read at once", async () => {
  const [conn, peer] = await socketpair();
  await peer.write(encode("1\n2\nrest"));
  const first = messages(conn, lines());
  assertEquals(await first.receive(), "1");
  assertEquals(await first.receive(), "2");
  first.receive().catch(() => {});
  const second = messages(first.detach(), lines());
  const line = second.receive();
  line.catch(() => {});
  assert(await isPending(line));
  second.receive().catch(() => {});
  using detached = second.detach();
  assertEquals(await readText(detached), "rest");
  await peer.write(encode("more"));
  await peer.closeWrite();
  assertEquals(decode(await readAll(detached)), "more");
  peer.close();
});

const LF = new Uint8Array([10]);

/** What a step takes from a connection. */
type Step = (conn: Connection, size: number) => Promise<Uint8Array> | Uint8Array;

const NOTHING = new Uint8Array(0);

const STEPS: Record<string, Step> = {
  async read(conn, size) {
    const buffer = new Uint8Array(size);
    return buffer.subarray(0, await conn.read(buffer) ?? 0);
  },
  async "an aborted read"(conn, size) {
    const controller = new AbortController();
    const buffer = new Uint8Array(size);
    const reading = conn.read(buffer, { signal: controller.signal });
    if (size % 2 === 0) await turn();
    controller.abort();
    return buffer.subarray(0, await reading.catch(() => 0) ?? 0);
  },
  async readable(conn) {
    const reader = conn.readable.getReader();
    const { value = NOTHING } = await reader.read();
    reader.releaseLock();
    return value;
  },
  async "a reader that is released while it reads"(conn, size) {
    const reader = conn.readable.getReader();
    const reading = reader.read().catch(() => ({ value: NOTHING }));
    if (size % 2 === 0) await turn();
    reader.releaseLock();
    return (await reading).value ?? NOTHING;
  },
  async "messages, and one that is still received"(conn, size) {
    const channel = messages(conn, delimited(10));
    const parts = [];
    const message = await channel.receive();
    if (message !== undefined) parts.push(message.slice(), LF);
    const controller = new AbortController();
    const late = channel.receive({ signal: controller.signal }).catch(() => undefined);
    if (size % 3 === 0) controller.abort();
    if (size % 2 === 0) await turn();
    channel.detach();
    const received = await late;
    if (received !== undefined) parts.push(received.slice(), LF);
    return concat(...parts);
  },
  closed(conn) {
    void conn.closed;
    return NOTHING;
  },
  async rest() {
    await new Promise((resolve) => setTimeout(resolve, 12));
    return NOTHING;
  },
};

test(
  "every byte is read once and in order, in any mix of reads, streams, closed and detach()",
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(fc.constantFrom(...Object.keys(STEPS)), fc.integer({ min: 1, max: 40 })),
          {
            maxLength: 12,
          },
        ),
        fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 6 }),
        fc.integer(),
        async (steps, writes, seed) => {
          const [conn, peer] = await socketpair();
          const bytes = pseudoRandom(writes.reduce((sum, size) => sum + size, 0), seed);
          // A delimiter about every 40 bytes, and one at the end.
          bytes.forEach((byte, i) => bytes[i] = byte % 40 === 0 ? 10 : byte);
          if (bytes.length > 0) bytes.set(LF, bytes.length - 1);
          const writing = (async () => {
            let at = 0;
            for (const size of writes) {
              await peer.write(bytes.subarray(at, at += size));
              if (size % 3 === 0) await turn();
            }
            await peer.closeWrite();
          })();
          const parts = [];
          for (const [name, size] of steps) parts.push(await STEPS[name]!(conn, size));
          parts.push(await readAll(conn));
          await writing;
          assertSameBytes(concat(...parts), bytes);
          conn.close();
          peer.close();
        },
      ),
      { numRuns: 300 },
    );
  },
  { deadline: 60_000 },
);
