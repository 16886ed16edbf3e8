/** The behaviors that Go's `nettest.TestConn` expects, for connections of any kind. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Connection, ConnectionClosed } from "@uds/uds";
import { assertSameBytes } from "../connection/_connection.ts";
import {
  decode,
  encode,
  gate,
  isPending,
  KIB,
  MIB,
  pseudoRandom,
  readAll,
  TempDir,
  turn,
} from "../_helpers.ts";
import { follows } from "./_follows.ts";

/** Opens two connected ends. Go tests each of its networks in the same way. */
export type Open = (dir: TempDir) => Promise<[Connection, Connection]>;

/** Reads as many bytes as the buffer holds. Reports whether they came before the end of file. */
async function readFull(conn: Connection, buffer: Uint8Array): Promise<boolean> {
  for (let at = 0; at < buffer.length;) {
    const count = await conn.read(buffer.subarray(at));
    if (count === null) return false;
    at += count;
  }
  return true;
}

/** Sends everything back, until the connection closes. */
function echo(conn: Connection): void {
  conn.readable.pipeTo(conn.writable).catch(() => {});
}

/** Asserts that what an echoing peer gets comes back. */
async function roundTrip(conn: Connection): Promise<void> {
  const text = "once around";
  const buffer = new Uint8Array(text.length);
  await conn.write(encode(text));
  assert(await readFull(conn, buffer));
  assertEquals(decode(buffer), text);
}

/** Reads what an echoing peer still has, up to a marker that was not sent before. */
async function resync(conn: Connection): Promise<void> {
  const writing = conn.write(Uint8Array.of(0xff));
  const buffer = new Uint8Array(KIB);
  for (;;) {
    const count = await conn.read(buffer);
    assert(count !== null);
    if (buffer[count - 1] === 0xff) break;
  }
  await writing;
}

/** Returns the message of what a call rejects with. */
async function errorReason(call: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => call, Error)).message;
}

type Test = [name: string, behavior: string, fn: (a: Connection, b: Connection) => Promise<void>];

const TESTS: Test[] = [
  ["BasicIO", "many small writes arrive whole, then the end", async (a, b) => {
    const sent = pseudoRandom(256 * KIB, 1);
    const received = readAll(b);
    for (let at = 0; at < sent.length; at += KIB) await a.write(sent.subarray(at, at + KIB));
    a.close();
    assertSameBytes(await received, sent);
  }],

  ["PingPong", "both ends count to 300 by turns", async (a, b) => {
    const counts = async (conn: Connection) => {
      const view = new DataView(new ArrayBuffer(8));
      const bytes = new Uint8Array(view.buffer);
      let seen = 0;
      for (let last = 0n; await readFull(conn, bytes);) {
        const value = view.getBigUint64(0, true);
        if (seen++ > 0) assertEquals(value, last + 2n);
        last = value;
        view.setBigUint64(0, value + 1n, true);
        if (value < 300n) await conn.write(bytes);
        else break;
      }
      conn.close();
      return seen;
    };
    const counting = Promise.all([counts(a), counts(b)]);
    await a.write(new Uint8Array(8));
    assertEquals(await counting, [150, 151]);
  }],

  ["RacyRead", "the buffer of an aborted read is free at once", async (a, b) => {
    const chunk = pseudoRandom(4 * KIB, 2);
    const writing = (async () => {
      for (;;) await b.write(chunk);
    })();
    let seen = 0;
    for (let round = 0; round < 10; round++) {
      const controllers = Array.from({ length: 10 }, () => new AbortController());
      const reads = controllers.map(async ({ signal }) => {
        const buffer = new Uint8Array(KIB);
        try {
          return buffer.subarray(0, await a.read(buffer, { signal }) ?? 0);
        } catch (error) {
          assertEquals(error, signal.reason);
          buffer.fill(0);
          return new Uint8Array();
        }
      });
      for (const [i, each] of controllers.entries()) if (i % 2 === 0) each.abort(new Error("late"));
      for (const bytes of await Promise.all(reads)) {
        for (const byte of bytes) assertEquals(byte, chunk[seen++ % chunk.length]);
      }
    }
    assert(seen > 0);
    b.close();
    await assertRejects(() => writing, ConnectionClosed);
  }],

  ["RacyWrite", "the buffer of a write is free once it has settled", async (a, b) => {
    const received = readAll(b);
    await Promise.all(Array.from({ length: 10 }, async (_, writer) => {
      const block = new Uint8Array(KIB);
      for (let i = 0; i < 40; i++) {
        await a.write(block.fill(writer * 20 + i % 20));
        block.fill(0xee);
      }
    }));
    a.close();
    const bytes = await received;
    const counts = new Map<number, number>();
    for (let at = 0; at < bytes.length; at += KIB) {
      const block = bytes.subarray(at, at + KIB);
      assert(block.every((byte) => byte === block[0]), `the block at ${at} is mixed`);
      counts.set(block[0]!, (counts.get(block[0]!) ?? 0) + 1);
    }
    assertEquals([counts.size, [...counts.values()].every((count) => count === 2)], [200, true]);
  }],

  ["ReadTimeout", "a read that is aborted does not affect writes", async (a, b) => {
    const received = readAll(b);
    const signal = AbortSignal.abort(new Error("long ago"));
    assertEquals(await errorReason(a.read(new Uint8Array(KIB), { signal })), "long ago");
    assertEquals(await a.write(new Uint8Array(KIB)), KIB);
    a.close();
    assertEquals((await received).length, KIB);
  }],

  ["PastTimeout", "a signal that has aborted rejects a read at once", async (a, b) => {
    echo(b);
    await roundTrip(a);
    await a.write(encode("kept"));
    const buffer = new Uint8Array(4);
    const signal = AbortSignal.abort(new Error("past"));
    assertEquals(await errorReason(a.read(buffer, { signal })), "past");
    assertEquals(buffer, new Uint8Array(4));
    assert(await readFull(a, buffer));
    assertEquals(decode(buffer), "kept");
    await roundTrip(a);
  }],

  ["PresentTimeout", "an abort ends a read that waits, and no write", async (a, b) => {
    const late = new AbortController();
    const reading = errorReason(a.read(new Uint8Array(KIB), { signal: late.signal }));
    const writing = a.write(new Uint8Array(MIB));
    assert(await isPending(Promise.race([reading, writing])));
    late.abort(new Error("now"));
    assertEquals(await reading, "now");
    // A stream cannot go on after a write that was sent in part. So a write takes no signal.
    assert(await isPending(writing));
    const received = readAll(b);
    assertEquals(await writing, MIB);
    a.close();
    assertEquals((await received).length, MIB);
  }],

  [
    "FutureTimeout",
    "a read waits until its time is over, and the next one reads",
    async (a, b) => {
      const error = await assertRejects(
        () => a.read(new Uint8Array(KIB), { signal: AbortSignal.timeout(10) }),
        DOMException,
      );
      assertEquals(error.name, "TimeoutError");
      const writing = a.write(new Uint8Array(MIB));
      echo(b);
      await Promise.all([writing, resync(a)]);
      await roundTrip(a);
    },
  ],

  ["CloseTimeout", "close() ends reads and writes that are under way", async (a, b) => {
    echo(b);
    const { opened: running, open } = gate();
    const forever = async (call: () => Promise<unknown>) => {
      for (;;) {
        await call();
        open();
      }
    };
    const buffer = new Uint8Array(KIB);
    const reads = assertRejects(() => forever(() => a.read(buffer)), ConnectionClosed);
    const writes = assertRejects(
      () => forever(() => a.write(new Uint8Array(KIB))),
      ConnectionClosed,
    );
    await running;
    a.close();
    await Promise.all([reads, writes]);
  }],

  ["ConcurrentMethods", "all members can be used at once", async (a, b) => {
    echo(b);
    const ends: Promise<unknown>[] = [];
    for (let i = 0; i < 100; i++) {
      const each = new AbortController();
      ends.push(
        a.read(new Uint8Array(KIB), { signal: each.signal }),
        a.read(new Uint8Array(KIB), { signal: AbortSignal.abort() }),
        a.write(new Uint8Array(KIB)),
        turn().then(() => each.abort()),
      );
      a.unref();
      a.ref();
      assertEquals([a.localAddr.transport, a.remoteAddr.transport], ["unix", "unix"]);
      assert(a.bytesRead <= 100 * KIB && a.bytesWritten <= 100 * KIB);
    }
    await Promise.allSettled(ends);
    await resync(a);
    await roundTrip(a);
  }],
];

/** Defines the tests for each kind of connection, by its name. */
export function testConn(kinds: Record<string, Open>): void {
  for (const [kind, open] of Object.entries(kinds)) {
    for (const [name, behavior, fn] of TESTS) {
      follows(`Go nettest: TestConn/${name}`, `Connection ${kind}: ${behavior}`, async () => {
        await using dir = new TempDir();
        const [a, b] = await open(dir);
        try {
          await fn(a, b);
        } finally {
          a.close();
          b.close();
        }
      });
    }
  }
}
