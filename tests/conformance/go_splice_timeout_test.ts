/** The behaviors of Go's tests of copies between connections, and of its tests of timeouts. */

import { connect, type Connection, ConnectTimeout, relay, serve, socketpair } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { assertSameBytes, bothEnds } from "../connection/_connection.ts";
import {
  decode,
  encode,
  FullListener,
  isPending,
  KIB,
  MIB,
  pseudoRandom,
  readAll,
  TempDir,
} from "../_helpers.ts";
import { follows } from "./_follows.ts";

/** Defines a test of `relay()` between two pairs: `up` is what sends, `down` what receives. */
function splices(
  name: string,
  behavior: string,
  fn: (up: Connection, down: Connection, relaying: ReturnType<typeof relay>) => Promise<void>,
): void {
  follows(`Go net: TestSplice/unix/${name}`, `relay() ${behavior}`, async () => {
    const [up, a] = await socketpair();
    const [b, down] = await socketpair();
    try {
      await fn(up, down, relay(a, b));
    } finally {
      for (const end of [up, a, b, down]) end.close();
    }
  });
}

for (
  const [name, chunkSize, totalSize] of [
    ["simple", 128, 128],
    ["multipleWrite", 4 * KIB, 256 * KIB],
    ["big", 2 * MIB, 4 * MIB],
  ] as const
) {
  splices(name, `passes ${totalSize} bytes on, and counts them`, async (up, down, relaying) => {
    const data = pseudoRandom(totalSize, 11);
    const received = readAll(down);
    for (let at = 0; at < totalSize; at += chunkSize) {
      await up.write(data.subarray(at, at + chunkSize));
    }
    await up.closeWrite();
    assertSameBytes(await received, data);
    await down.closeWrite();
    assertEquals(await relaying, { aToB: totalSize, bToA: 0 });
  });
}

splices(
  "readerAtEOF",
  "passes the end of one direction on, and the other one goes on",
  async (up, down, relaying) => {
    await up.closeWrite();
    assertEquals(await down.read(new Uint8Array(1)), null);
    await down.write(encode("bye"));
    await down.closeWrite();
    assertEquals(decode(await readAll(up)), "bye");
    assertEquals(await relaying, { aToB: 0, bToA: 3 });
  },
);

splices(
  "issue25985",
  "ends in both directions when a client sends, leaves, and its server ends",
  async (up, down, relaying) => {
    await up.write(encode("foo"));
    up.close();
    assertEquals(decode(await readAll(down)), "foo");
    down.close();
    assertEquals((await relaying).aToB, 3);
  },
);

// Timeouts ----------------------------------------------------------------------------------------

follows(
  "Go net: TestDialTimeout",
  "connect() to a full backlog tries until its time is over",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("full.sock");
    using _full = await FullListener.open(path);
    const error = await assertRejects(() => connect({ path, timeout: 20 }), ConnectTimeout);
    assertInstanceOf(error.cause, Deno.errors.WouldBlock);
  },
);

follows(
  "Go net: TestDialTimeoutMaxDuration",
  "connect() and serve() take the longest durations for what they are",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    for (const timeout of [Infinity, 2 ** 31 - 1]) {
      await using _server = await serve(
        { path, idleTimeout: timeout, writeTimeout: timeout },
        (conn) => conn.readable.pipeTo(conn.writable),
      );
      using conn = await connect({ path, timeout });
      await conn.write(encode("in time"));
      await conn.closeWrite();
      assertEquals(decode(await readAll(conn)), "in time");
    }
  },
);

follows(
  "Go net: TestReadTimeoutMustNotReturn",
  "read() with a signal that does not abort waits, and so does one without",
  async () => {
    const [a, b] = await socketpair();
    for (const options of [{}, { signal: new AbortController().signal }]) {
      const reading = a.read(new Uint8Array(1), options);
      assert(await isPending(reading));
      await b.write(Uint8Array.of(1));
      assertEquals(await reading, 1);
    }
    a.close();
    b.close();
  },
);

follows(
  "Go net: TestReadTimeoutFluctuation, TestVariousTimeouts",
  "read() with many short timeouts gets every byte of a peer that is slow",
  async () => {
    await using dir = new TempDir();
    using ends = await bothEnds(dir);
    const data = pseudoRandom(2 * KIB, 12);
    const writing = (async () => {
      for (let at = 0; at < data.length; at += 64) {
        await ends.left.write(data.subarray(at, at + 64));
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      await ends.left.closeWrite();
    })();
    const received = new Uint8Array(data.length);
    let at = 0;
    for (let i = 0;; i++) {
      try {
        const signal = AbortSignal.timeout(i % 3);
        const count = await ends.right.read(received.subarray(at, at + 100), { signal });
        // At the end, the part of the buffer that is left is empty.
        if (count === null || at + count === data.length) break;
        at += count;
      } catch (error) {
        assertEquals((error as Error).name, "TimeoutError");
      }
    }
    await writing;
    assertSameBytes(received, data);
    assertEquals(await ends.right.read(new Uint8Array(1)), null);
  },
);

follows(
  "Go net: TestConcurrentSetDeadline",
  "Connections with many signals at once each reject with their own reason",
  async () => {
    const [a, b] = await socketpair();
    const reads = Array.from({ length: 100 }, (_, i) => {
      const controller = new AbortController();
      const reading = assertRejects(
        () => a.read(new Uint8Array(1), { signal: controller.signal }),
        Error,
        `reason ${i}.`,
      );
      return { reading, abort: () => controller.abort(new Error(`reason ${i}.`)) };
    });
    for (const { abort } of reads.toReversed()) abort();
    await Promise.all(reads.map(({ reading }) => reading));
    await b.write(Uint8Array.of(7));
    assertEquals(await a.read(new Uint8Array(1)), 1);
    a.close();
    b.close();
  },
);
