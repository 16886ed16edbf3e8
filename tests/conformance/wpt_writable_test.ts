import { ConnectionClosed } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { decode, encode, isPending, readAll, readText, turn, untilFull } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { assertAllRejectWith, ends, failureOf, LARGE } from "./_streams.ts";

/** Two connected ends, and a writer of one. */
async function writerEnds() {
  const both = await ends();
  const writer = both.conn.writable.getWriter();
  return { ...both, writer };
}

/** The same, while a write waits for the peer to read. */
async function busyEnds() {
  const both = await writerEnds();
  const writing = both.writer.write(new Uint8Array(LARGE));
  writing.catch(() => {});
  await untilFull(both.conn);
  return { ...both, writing };
}

// General -----------------------------------------------------------------------------------------

const GENERAL = "wpt: writable-streams/general";

follows(GENERAL, "desiredSize of a released writer throws", async () => {
  using both = await writerEnds();
  both.writer.releaseLock();
  assertThrows(() => both.writer.desiredSize, TypeError);
});

follows(GENERAL, "desiredSize is 1 at first, 0 after close() and null after abort()", async () => {
  using both = await writerEnds();
  using other = await writerEnds();
  assertEquals(both.writer.desiredSize, 1);
  await both.writer.close();
  assertEquals(both.writer.desiredSize, 0);
  await other.writer.abort();
  assertEquals(other.writer.desiredSize, null);
});

for (const state of ["is ending", "has ended", "was aborted", "has failed"]) {
  follows(GENERAL, `getWriter() works for a stream that ${state}`, async () => {
    using both = await writerEnds();
    const { conn, peer, writer } = both;
    const closing = state === "is ending" || state === "has ended" ? writer.close() : undefined;
    if (state === "has ended") await closing;
    if (state === "was aborted") await writer.abort();
    if (state === "has failed") {
      peer.close();
      await failureOf(writer.write(encode("x")));
    }
    writer.releaseLock();
    const next = conn.writable.getWriter();
    assert(conn.writable.locked);
    await failureOf(next.closed);
    await closing;
  });
}

follows(GENERAL, "closed and ready of a released writer reject, ready first", async () => {
  using both = await writerEnds();
  const { writer } = both;
  const order: string[] = [];
  const settled = writer.closed.catch(() => void order.push("closed"));
  writer.ready.catch(() => void order.push("ready"));
  await writer.ready;
  writer.releaseLock();
  writer.ready.catch(() => void order.push("ready"));
  await settled;
  await assertRejects(() => writer.ready, TypeError);
  await assertRejects(() => writer.closed, TypeError);
  assert(order.includes("closed"));
});

follows(GENERAL, "releaseLock() twice does not unlock the next writer", async () => {
  using both = await writerEnds();
  const { conn, writer } = both;
  writer.releaseLock();
  conn.writable.getWriter();
  writer.releaseLock();
  assert(conn.writable.locked);
});

follows(GENERAL, "a stream is locked while it has a writer", async () => {
  using both = await ends();
  const { writable } = both.conn;
  assert(!writable.locked);
  const writer = writable.getWriter();
  assert(writable.locked);
  writer.releaseLock();
  assert(!writable.locked);
});

// Write -------------------------------------------------------------------------------------------

const WRITE = "wpt: writable-streams/write";

follows(WRITE, "write() resolves to undefined, and ready waits for it", async () => {
  using both = await busyEnds();
  const { peer, writer, writing } = both;
  const { ready } = writer;
  assertEquals(writer.desiredSize, 0);
  assert(await isPending(ready));
  const reading = readAll(peer);
  assertEquals(await writing, undefined);
  await ready;
  assertEquals(writer.desiredSize, 1);
  await writer.close();
  await reading;
});

follows(WRITE, "close() waits for all writes that were called before", async () => {
  using both = await busyEnds();
  const { peer, writer } = both;
  const order: number[] = [];
  const calls = [
    ...[0, 1, 2].map((i) => writer.write(encode(`${i}`)).then(() => order.push(i))),
    writer.close().then(() => order.push(3)),
  ];
  assert(await isPending(Promise.race(calls)));
  const bytes = await readAll(peer);
  await Promise.all(calls);
  assertEquals([order, decode(bytes.subarray(LARGE))], [[0, 1, 2, 3], "012"]);
});

follows(WRITE, "1,000 writes at once are all sent, in order", async () => {
  using both = await writerEnds();
  const { peer, writer } = both;
  const reading = readAll(peer);
  const words = Uint32Array.from({ length: 1000 }, (_, i) => i);
  const writes = Array.from(words, (_, i) => writer.write(new Uint8Array(words.buffer, 4 * i, 4)));
  await Promise.all(writes);
  await writer.close();
  assertEquals(new Uint32Array((await reading).slice().buffer), words);
});

follows(
  WRITE,
  "a failed write rejects the writes and the close() that are queued behind it",
  async () => {
    using both = await busyEnds();
    const { peer, writer, writing } = both;
    const queued = [writer.write(encode("a")), writer.write(encode("b")), writer.close()].map(
      failureOf,
    );
    peer.close();
    const error = await failureOf(writing);
    assert(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe);
    for (const other of await Promise.all(queued)) assertStrictEquals(other, error);
    await assertAllRejectWith(error, [writer.ready, writer.closed]);
  },
);

follows(WRITE, "a writer can be made by its constructor, and excludes another one", async () => {
  using both = await ends();
  const { conn, peer } = both;
  const writer = new WritableStreamDefaultWriter(conn.writable);
  assertThrows(() => new WritableStreamDefaultWriter(conn.writable), TypeError);
  await writer.write(encode("x"));
  assertEquals(await readText(peer), "x");
});

follows(WRITE, "write() of a released writer rejects", async () => {
  using both = await writerEnds();
  both.writer.releaseLock();
  await assertRejects(() => both.writer.write(encode("x")), TypeError);
});

// Close -------------------------------------------------------------------------------------------

const CLOSE = "wpt: writable-streams/close";

follows(CLOSE, "close() resolves to undefined, and keeps ready fulfilled", async () => {
  using both = await writerEnds();
  const { writer } = both;
  const closing = writer.close();
  assertEquals(await writer.ready, undefined);
  assertEquals(await closing, undefined);
  assertEquals(await writer.closed, undefined);
});

follows(CLOSE, "close() while a write waits fulfills ready at once", async () => {
  using both = await busyEnds();
  const { peer, writer } = both;
  const { ready } = writer;
  assert(await isPending(ready));
  const closing = writer.close();
  await ready;
  assert(await isPending(closing));
  await readAll(peer);
  await closing;
});

follows(CLOSE, "ready of a writer for a stream that has ended is fulfilled", async () => {
  using both = await ends();
  await both.conn.writable.close();
  assertEquals(await both.conn.writable.getWriter().ready, undefined);
});

for (const busy of [false, true]) {
  follows(
    CLOSE,
    `releaseLock() does not stop close() ${busy ? "behind a write" : "at once"}`,
    async () => {
      using both = busy ? await busyEnds() : await writerEnds();
      const { conn, peer, writer } = both;
      const closing = writer.close();
      writer.releaseLock();
      await assertRejects(() => writer.closed, TypeError);
      await readAll(peer);
      assertEquals(await closing, undefined);
      assertEquals(await conn.writable.getWriter().closed, undefined);
    },
  );
}

follows(CLOSE, "close() of a stream without a writer works", async () => {
  using both = await ends();
  assertEquals(await both.conn.writable.close(), undefined);
  assertEquals(await readText(both.peer), null);
});

for (const state of ["locked", "ending", "ended", "aborted", "failed"]) {
  follows(CLOSE, `close() of a stream that is ${state} rejects`, async () => {
    using both = await busyEnds();
    const { conn, peer, writer, writing } = both;
    if (state === "locked") {
      await assertRejects(() => conn.writable.close(), TypeError);
      return;
    }
    writer.releaseLock();
    const { writable } = conn;
    const before = state === "aborted" ? writable.abort("stop") : writable.close();
    before.catch(() => {});
    if (state === "failed") {
      peer.close();
      await failureOf(writing);
    } else if (state === "ended") {
      await readAll(peer);
      await before;
    }
    const error = await failureOf(writable.close());
    assert(state === "aborted" ? error === "stop" : error instanceof TypeError, `${error}`);
    conn.close();
    await failureOf(before);
  });
}

follows(CLOSE, "the promises of a writer settle in order when it closes", async () => {
  using both = await busyEnds();
  const { peer, writer } = both;
  const order: string[] = [];
  const log = (name: string) => () => void order.push(name);
  const all = [
    writer.write(encode("x")).then(log("write")),
    writer.close().then(log("close")),
    writer.closed.then(log("closed")),
  ];
  await Promise.all([...all, readAll(peer)]);
  assertEquals(order, ["write", "close", "closed"]);
});

// Abort -------------------------------------------------------------------------------------------

const ABORT = "wpt: writable-streams/aborting";

for (
  const [what, reason] of [["an error", new Error("stop")], ["a string", "stop"], [
    "nothing",
    undefined,
  ]]
) {
  follows(ABORT, `abort() with ${what} rejects all later calls with it`, async () => {
    using both = await writerEnds();
    const { writer } = both;
    await writer.ready;
    assertEquals(await writer.abort(reason), undefined);
    await assertAllRejectWith(reason, [writer.ready, writer.closed, writer.write(encode("x"))]);
  });
}

follows(
  ABORT,
  "abort() rejects the writes that wait behind one, and not that one's bytes",
  async () => {
    using both = await busyEnds();
    const { conn, peer, writer, writing } = both;
    const queued = [writer.write(encode("a")), writer.close()].map(failureOf);
    await writer.abort("stop");
    assertEquals(await Promise.all(queued), ["stop", "stop"]);
    const error = await failureOf(writing);
    assert(error instanceof ConnectionClosed);
    assertEquals((await readAll(peer)).length, conn.bytesWritten);
    assertEquals(error.unsent?.length, LARGE - conn.bytesWritten);
  },
);

follows(ABORT, "abort() changes ready to a rejected promise in the same turn", async () => {
  using both = await busyEnds();
  const { writer } = both;
  const { ready } = writer;
  const aborting = writer.abort("stop");
  await assertAllRejectWith("stop", [ready, writer.ready]);
  await aborting;
});

follows(ABORT, "abort() of a released writer rejects, and the next writer writes", async () => {
  using both = await writerEnds();
  const { conn, peer, writer } = both;
  writer.releaseLock();
  await assertRejects(() => writer.abort(), TypeError);
  await conn.writable.getWriter().write(encode("x"));
  assertEquals(await readText(peer), "x");
});

follows(ABORT, "abort() of a locked stream rejects", async () => {
  using both = await writerEnds();
  await assertRejects(() => both.conn.writable.abort(), TypeError);
  await both.writer.write(encode("x"));
});

follows(
  ABORT,
  "abort() of a stream that has ended or failed resolves, and changes nothing",
  async () => {
    using ended = await writerEnds();
    await ended.writer.close();
    assertEquals(await ended.writer.abort("late"), undefined);
    assertEquals(await ended.writer.closed, undefined);
    using failed = await writerEnds();
    failed.peer.close();
    const error = await failureOf(failed.writer.write(encode("x")));
    assertEquals(await failed.writer.abort("late"), undefined);
    assertStrictEquals(await failureOf(failed.writer.closed), error);
  },
);

follows(ABORT, "abort() twice at once is one abort", async () => {
  using both = await writerEnds();
  const { writer } = both;
  assertEquals(await Promise.all([writer.abort("one"), writer.abort("two")]), [
    undefined,
    undefined,
  ]);
  assertEquals(await failureOf(writer.closed), "one");
});

follows(
  ABORT,
  "abort() while the end waits behind a write rejects close() with the reason",
  async () => {
    using both = await busyEnds();
    const closing = failureOf(both.writer.close());
    await both.writer.abort("stop");
    assertEquals(await closing, "stop");
  },
);

follows(ABORT, "a writer for a stream that is being aborted has a rejected ready", async () => {
  using both = await busyEnds();
  const { conn, writer } = both;
  const aborting = writer.abort("stop");
  writer.releaseLock();
  const next = conn.writable.getWriter();
  assertEquals(await failureOf(next.ready), "stop");
  await aborting;
  assertEquals(await failureOf(next.closed), "stop");
});

follows(ABORT, "releaseLock() during abort() rejects closed with a TypeError", async () => {
  using both = await busyEnds();
  const aborting = both.writer.abort("stop");
  const { closed } = both.writer;
  both.writer.releaseLock();
  await assertRejects(() => closed, TypeError);
  await aborting;
});

follows(ABORT, "abort() within the reaction to an abort() resolves", async () => {
  using both = await writerEnds();
  const { writer } = both;
  await writer.abort("one").then(() => writer.abort("two"));
  assertEquals(await failureOf(writer.closed), "one");
});

follows(ABORT, "abort() closes the connection, also while its end is on the way", async () => {
  using both = await busyEnds();
  const { conn, writer } = both;
  failureOf(writer.close());
  await turn();
  await writer.abort("stop");
  await conn.closed;
  await assertRejects(() => conn.read(new Uint8Array(1)), ConnectionClosed);
});
