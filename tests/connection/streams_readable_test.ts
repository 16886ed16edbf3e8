import { connect, type Connection, ConnectionClosed, serve, socketpair } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { decode, encode, TempDir, test, turn } from "../_helpers.ts";

/** The standard's promises about readable byte streams, on `conn.readable`. */

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

/** Returns a connection that its peer has reset, by closing with bytes unread. */
async function reset(): Promise<Pair> {
  const pair = await ends();
  await pair.conn.write(encode("unread"));
  pair.peer.close();
  return pair;
}

/** Waits until every read that can settle has done so. */
function pause(ms = 5): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

test("conn.readable reads nothing before it is asked to", async () => {
  using pair = await ends();
  await pair.peer.write(encode("abc"));
  const { readable } = pair.conn;
  await pause();
  assertEquals([pair.conn.bytesRead, readable.locked], [0, false]);
});

test("conn.readable settles reads in the order of the calls", async () => {
  using pair = await ends();
  const reader = pair.conn.readable.getReader();
  const reads = [reader.read(), reader.read(), reader.read()];
  for (const text of ["a", "b"]) {
    await pair.peer.write(encode(text));
    await pause();
  }
  await pair.peer.closeWrite();
  const texts = (await Promise.all(reads)).map(({ value }) => value && decode(value));
  assertEquals(texts, ["a", "b", undefined]);
});

test("conn.readable ends all pending reads at the end of file, and each read after it", async () => {
  using pair = await ends();
  const reader = pair.conn.readable.getReader();
  const reads = [reader.read(), reader.read()];
  await pair.peer.closeWrite();
  for (const read of [...reads, reader.read()]) {
    assertEquals((await read).done, true);
  }
  assertEquals(await reader.closed, undefined);
});

test("a BYOB read at the end of file returns its memory with no bytes", async () => {
  using pair = await ends();
  await pair.peer.closeWrite();
  const reader = pair.conn.readable.getReader({ mode: "byob" });
  const { value, done } = await reader.read(new Uint8Array(16));
  assertEquals([done, value?.length, value?.buffer.byteLength], [true, 0, 16]);
});

test("a BYOB read takes the memory, and fills only the view", async () => {
  using pair = await ends();
  await pair.peer.write(encode("abcdef"));
  const reader = pair.conn.readable.getReader({ mode: "byob" });
  const buffer = new ArrayBuffer(10);
  const { value } = await reader.read(new Uint8Array(buffer, 3, 4));
  assertEquals(buffer.byteLength, 0);
  assertEquals([value?.byteOffset, value && decode(value)], [3, "abcd"]);
  assertEquals(new Uint8Array(value!.buffer).filter((byte) => byte !== 0).length, 4);
  const next = await reader.read(new Uint8Array(10));
  assertEquals(decode(next.value!), "ef");
});

test("a BYOB read refuses an empty view and memory that is taken", async () => {
  using pair = await ends();
  const reader = pair.conn.readable.getReader({ mode: "byob" });
  await assertRejects(() => reader.read(new Uint8Array(0)), TypeError);
  const taken = new Uint8Array(4);
  structuredClone(taken, { transfer: [taken.buffer] });
  await assertRejects(() => reader.read(taken), TypeError);
  await pair.peer.write(encode("x"));
  assertEquals(decode((await reader.read(new Uint8Array(4))).value!), "x");
});

test("a BYOB read with min waits for that many bytes", async () => {
  using pair = await ends();
  const reader = pair.conn.readable.getReader({ mode: "byob" });
  const options = { min: 4 } as unknown as undefined;
  const reading = (reader.read as (view: Uint8Array, options?: unknown) => ReturnType<
    typeof reader.read<Uint8Array>
  >).call(reader, new Uint8Array(8), options);
  for (const text of ["ab", "c", "de"]) {
    await pair.peer.write(encode(text));
    await pause();
  }
  assertEquals(decode((await reading).value!), "abcde");
});

test("a BYOB read of elements of two bytes keeps half an element for the next read", async () => {
  using pair = await ends();
  const reader = pair.conn.readable.getReader({ mode: "byob" });
  await pair.peer.write(new Uint8Array([1, 0, 2]));
  const first = await reader.read(new Uint16Array(4));
  assertEquals([...first.value!], [1]);
  await pair.peer.write(new Uint8Array([0, 3, 0]));
  const second = await reader.read(new Uint16Array(4));
  assertEquals([...second.value!], [2, 3]);
});

test("a DataView is filled as well", async () => {
  using pair = await ends();
  const reader = pair.conn.readable.getReader({ mode: "byob" });
  await pair.peer.write(new Uint8Array([1, 2]));
  const { value } = await reader.read(new DataView(new ArrayBuffer(8)));
  assertEquals([value?.byteLength, value?.getUint16(0)], [2, 0x0102]);
});

for (const mode of [undefined, "byob"] as const) {
  const kind = mode ?? "default";

  test(`releaseLock() of a ${kind} reader rejects its pending read, and loses no byte`, async () => {
    using pair = await ends();
    const { readable } = pair.conn;
    const reader = readable.getReader({ mode } as { mode: "byob" });
    const reading = reader.read(new Uint8Array(8));
    await pause();
    reader.releaseLock();
    await assertRejects(() => reading, TypeError);
    await assertRejects(() => reader.read(new Uint8Array(8)), TypeError);
    await assertRejects(() => reader.closed, TypeError);
    await pair.peer.write(encode("kept"));
    const next = readable.getReader();
    assertEquals(decode((await next.read()).value!), "kept");
  });

  test(`cancel() of a ${kind} reader ends its pending read, and the direction`, async () => {
    using pair = await ends();
    const reader = pair.conn.readable.getReader({ mode } as { mode: "byob" });
    const reading = reader.read(new Uint8Array(8));
    assertEquals(await reader.cancel("enough"), undefined);
    assertEquals([(await reading).done, (await reading).value], [true, undefined]);
    assertEquals(await reader.closed, undefined);
    assertEquals(await reader.cancel(), undefined);
    // Writing still works.
    await pair.conn.write(encode("still"));
    const buffer = new Uint8Array(8);
    assertEquals(await pair.peer.read(buffer), 5);
  });

  test(`a reset rejects everything of a ${kind} reader with one error`, async () => {
    using pair = await reset();
    const reader = pair.conn.readable.getReader({ mode } as { mode: "byob" });
    const error = await assertRejects(
      () => reader.read(new Uint8Array(8)),
      Deno.errors.ConnectionReset,
    );
    const others = [reader.read(new Uint8Array(8)), reader.closed, reader.cancel()];
    for (const other of others) {
      assertStrictEquals(await other.then(() => undefined, (reason) => reason), error);
    }
  });
}

test("a stream that is locked has no second reader, and is not canceled", async () => {
  using pair = await ends();
  const { readable } = pair.conn;
  const reader = readable.getReader();
  assert(readable.locked);
  assertThrows(() => readable.getReader(), TypeError);
  assertThrows(() => readable.getReader({ mode: "byob" }), TypeError);
  assertThrows(() => readable.tee(), TypeError);
  await assertRejects(() => readable.cancel(), TypeError);
  reader.releaseLock();
  assert(!readable.locked);
});

test("close() rejects the stream's pending read and closed", async () => {
  using pair = await ends();
  const reader = pair.conn.readable.getReader();
  const reading = reader.read();
  pair.conn.close();
  await assertRejects(() => reading, ConnectionClosed);
  await assertRejects(() => reader.closed, ConnectionClosed);
});

test("tee() passes everything to both branches, and canceling one does not affect the other", async () => {
  using pair = await ends();
  const [one, two] = pair.conn.readable.tee();
  await pair.peer.write(encode("abc"));
  const reader = one.getReader();
  assertEquals(decode((await reader.read()).value!), "abc");
  const canceled = reader.cancel();
  await pair.peer.write(encode("def"));
  await pair.peer.closeWrite();
  assertEquals(await new Response(two).text(), "abcdef");
  await canceled;
});

test("tee() cancels the stream once both branches are canceled", async () => {
  using pair = await ends();
  await pair.conn.closeWrite();
  const [one, two] = pair.conn.readable.tee();
  const canceled = one.cancel();
  await Promise.all([canceled, two.cancel()]);
  await pair.conn.closed;
});

test("breaking out of a loop cancels the stream, and with preventCancel does not", async () => {
  using pair = await ends();
  const { readable } = pair.conn;
  await pair.peer.write(encode("a"));
  for await (const chunk of readable.values({ preventCancel: true })) {
    assertEquals(decode(chunk), "a");
    break;
  }
  assert(!readable.locked);
  await pair.peer.write(encode("b"));
  for await (const chunk of readable) {
    assertEquals(decode(chunk), "b");
    break;
  }
  assert((await readable.getReader().read()).done);
});

test("an error that is thrown in a loop cancels the stream, and is thrown on", async () => {
  using pair = await ends();
  await pair.peer.write(encode("a"));
  const loop = async () => {
    for await (const _ of pair.conn.readable) throw new RangeError("mine");
  };
  await assertRejects(loop, RangeError, "mine");
  assert(!pair.conn.readable.locked);
});

test("a stream of a server's connection rejects all pending calls with TimedOut", async () => {
  await using dir = new TempDir();
  const { promise: told, resolve: tell } = Promise.withResolvers<unknown[]>();
  await using _server = await serve({ path: dir.file("s"), idleTimeout: 50 }, async (conn) => {
    const reader = conn.readable.getReader();
    const waiting = [reader.read(), reader.read(), reader.closed];
    tell(await Promise.all(waiting.map((one) => one.then(() => undefined, (error) => error))));
  });
  await using _client = await connect(dir.file("s"));
  const [error, ...others] = await told;
  assert(error instanceof Deno.errors.TimedOut);
  for (const other of others) assertStrictEquals(other, error);
});

test("a reader with its own memory reads after two that were released during one read", async () => {
  const [peer, conn] = await socketpair();
  using _peer = peer;
  using _conn = conn;
  await turn();
  const first = conn.readable.getReader();
  await turn();
  const reads: Promise<unknown>[] = [first.read()];
  await turn();
  first.releaseLock();
  const second = conn.readable.getReader({ mode: "byob" });
  reads.push(second.read(new Uint8Array(8)));
  second.releaseLock();
  await Promise.allSettled(reads);
  await peer.write(encode("abcd"));
  assertEquals(await conn.read(new Uint8Array(2)), 2);
  assertEquals(await conn.read(new Uint8Array(2)), 2);
  const third = conn.readable.getReader({ mode: "byob" });
  const reading = third.read(new Uint8Array(8));
  await peer.write(encode("efgh"));
  assertEquals(decode((await reading).value!), "efgh");
});
