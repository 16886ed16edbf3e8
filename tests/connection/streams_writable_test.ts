import { type Connection, ConnectionClosed, socketpair } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { decode, encode, readAll, test } from "../_helpers.ts";

/** The standard's promises about writable streams, on `conn.writable`. */

const LARGE = 4 * 1024 * 1024;

interface Pair extends Disposable {
  conn: Connection;
  peer: Connection;
}

async function ends(): Promise<Pair> {
  const [conn, peer] = await socketpair();
  return {
    conn,
    peer,
    [Symbol.dispose]() {
      conn.close();
      peer.close();
    },
  };
}

/** Returns what a promise rejects with. */
function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(() => "it has resolved", (error) => error);
}

test("conn.writable wants one chunk at a time, and is ready when the kernel has it", async () => {
  using pair = await ends();
  const writer = pair.conn.writable.getWriter();
  await writer.ready;
  assertEquals(writer.desiredSize, 1);
  const writing = writer.write(new Uint8Array(LARGE));
  assertEquals(writer.desiredSize, 0);
  const { ready } = writer;
  const reading = readAll(pair.peer);
  await writing;
  await ready;
  assertEquals(writer.desiredSize, 1);
  await writer.close();
  assertEquals((await reading).length, LARGE);
});

test("close() of a writer sends what was written before, and then the end of file", async () => {
  using pair = await ends();
  const writer = pair.conn.writable.getWriter();
  writer.write(encode("a")).catch(() => {});
  writer.write(encode("b")).catch(() => {});
  await writer.close();
  assertEquals(await writer.closed, undefined);
  assertEquals(decode(await readAll(pair.peer)), "ab");
  assertEquals(writer.desiredSize, 0);
});

test("a writer that has closed takes nothing more, and abort() of it does nothing", async () => {
  using pair = await ends();
  const writer = pair.conn.writable.getWriter();
  await writer.close();
  await assertRejects(() => writer.write(encode("x")), TypeError);
  await assertRejects(() => writer.close(), TypeError);
  assertEquals(await writer.abort("late"), undefined);
  // The other direction is still open.
  await pair.peer.write(encode("y"));
  assertEquals(await pair.conn.read(new Uint8Array(4)), 1);
});

test("abort() of an idle writer rejects all that comes after with the reason, and closes", async () => {
  using pair = await ends();
  const writer = pair.conn.writable.getWriter();
  await writer.ready;
  const reason = new Error("stop");
  assertEquals(await writer.abort(reason), undefined);
  for (const promise of [writer.closed, writer.ready, writer.write(encode("x"))]) {
    assertStrictEquals(await failureOf(promise), reason);
  }
  await assertRejects(() => writer.close(), TypeError);
  assertEquals(writer.desiredSize, null);
  assertEquals(await writer.abort("again"), undefined);
  await pair.conn.closed;
});

test("abort() without a reason rejects with undefined", async () => {
  using pair = await ends();
  const writer = pair.conn.writable.getWriter();
  await writer.abort();
  assertEquals(await failureOf(writer.closed), undefined);
});

test("abort() settles at once while a write waits for a peer that does not read", async () => {
  using pair = await ends();
  const writer = pair.conn.writable.getWriter();
  const inFlight = failureOf(writer.write(new Uint8Array(LARGE)));
  const queued = failureOf(writer.write(encode("queued")));
  const closing = failureOf(writer.close());
  const reason = new Error("stop");
  await new Promise((resolve) => setTimeout(resolve, 10));
  assertEquals(await writer.abort(reason), undefined);
  assert(await inFlight instanceof ConnectionClosed);
  assertStrictEquals(await queued, reason);
  assertStrictEquals(await closing, reason);
  assertStrictEquals(await failureOf(writer.closed), reason);
  await pair.conn.closed;
});

test("abort() settles while a close waits behind a write of the connection itself", async () => {
  using pair = await ends();
  const direct = failureOf(pair.conn.write(new Uint8Array(LARGE)));
  const writer = pair.conn.writable.getWriter();
  const closing = failureOf(writer.close());
  await new Promise((resolve) => setTimeout(resolve, 10));
  await failureOf(writer.abort(new Error("stop")));
  assert(await direct instanceof ConnectionClosed);
  assert(await closing instanceof ConnectionClosed);
  await pair.conn.closed;
});

test("two calls of abort() while a write waits settle both", async () => {
  using pair = await ends();
  const { writable } = pair.conn;
  const writer = writable.getWriter();
  const inFlight = failureOf(writer.write(new Uint8Array(LARGE)));
  await new Promise((resolve) => setTimeout(resolve, 10));
  const both = [writer.abort("one"), writer.abort("two")];
  assertEquals(await Promise.all(both), [undefined, undefined]);
  assertEquals(await failureOf(writer.closed), "one");
  assert(await inFlight instanceof ConnectionClosed);
});

test("a peer that has left rejects everything of a writer with one error", async () => {
  using pair = await ends();
  pair.peer.close();
  const writer = pair.conn.writable.getWriter();
  const error = await assertRejects(
    () => writer.write(encode("x")),
    Deno.errors.BrokenPipe,
  );
  for (const promise of [writer.closed, writer.write(encode("y"))]) {
    assertStrictEquals(await failureOf(promise), error);
  }
  await assertRejects(() => writer.close(), TypeError);
  assertEquals([writer.desiredSize, await writer.abort()], [null, undefined]);
});

test("a chunk that is not bytes errors the stream, and leaves the connection open", async () => {
  using pair = await ends();
  const writer = pair.conn.writable.getWriter();
  const error = await assertRejects(
    () => writer.write("text" as unknown as Uint8Array),
    TypeError,
    "expected a Uint8Array",
  );
  assertStrictEquals(await failureOf(writer.closed), error);
  assertEquals(await pair.conn.write(encode("x")), 1);
});

test("releaseLock() does not stop a pending write, and the next writer comes after it", async () => {
  using pair = await ends();
  const { writable } = pair.conn;
  const writer = writable.getWriter();
  const writing = writer.write(new Uint8Array(LARGE));
  writer.releaseLock();
  assert(!writable.locked);
  await assertRejects(() => writer.closed, TypeError);
  await assertRejects(() => writer.write(encode("x")), TypeError);
  await assertRejects(() => writer.abort(), TypeError);
  assertThrows(() => writer.desiredSize, TypeError);
  const next = writable.getWriter();
  const ending = next.write(encode("end")).then(() => next.close());
  const bytes = await readAll(pair.peer);
  await Promise.all([writing, ending]);
  assertEquals([bytes.length, decode(bytes.subarray(LARGE))], [LARGE + 3, "end"]);
});

test("a stream that is locked has no second writer, and is neither aborted nor closed", async () => {
  using pair = await ends();
  const { writable } = pair.conn;
  const writer = writable.getWriter();
  assertThrows(() => writable.getWriter(), TypeError);
  await assertRejects(() => writable.abort(), TypeError);
  await assertRejects(() => writable.close(), TypeError);
  await writer.write(encode("x"));
  writer.releaseLock();
  await writable.close();
  assertEquals(decode(await readAll(pair.peer)), "x");
});

test("close() of the connection rejects the writes of its stream", async () => {
  using pair = await ends();
  const writer = pair.conn.writable.getWriter();
  const inFlight = failureOf(writer.write(new Uint8Array(LARGE)));
  const queued = failureOf(writer.write(encode("x")));
  pair.conn.close();
  const error = await inFlight;
  assert(error instanceof ConnectionClosed);
  assertStrictEquals(await queued, error);
  assertStrictEquals(await failureOf(writer.closed), error);
});
