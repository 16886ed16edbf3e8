/** Reads with a signal: an abort loses no byte, whatever the connection is of. */

import {
  connect,
  type Connection,
  ConnectionClosed,
  listen,
  pair,
  serve,
  socketpair,
} from "@uds/uds";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  decode,
  encode,
  isPending,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
  turn,
} from "../_helpers.ts";
import { assertSameBytes, bothEnds, errorOf, withPeer } from "./_connection.ts";

/** Begins a read, aborts it, and asserts that it rejects with the reason. */
async function abortRead(conn: Connection, bytes = 8): Promise<void> {
  const aborter = new AbortController();
  const reading = conn.read(new Uint8Array(bytes), { signal: aborter.signal });
  const reason = new Error("enough");
  aborter.abort(reason);
  assertStrictEquals(await assertRejects(() => reading, Error), reason);
}

/** Opens a connection of a kind, and one that is its peer. */
type Open = (dir: TempDir, stack: AsyncDisposableStack) => Promise<[Connection, Connection]>;

const KINDS: Record<string, Open> = {
  "connect()": async (dir, stack) => {
    const listener = stack.use(await listen(dir.file("a.sock")));
    const conn = stack.use(await connect(dir.file("a.sock")));
    return [conn, stack.use(await listener.accept())];
  },
  "serve()": async (dir, stack) => {
    const { promise, resolve } = Promise.withResolvers<Connection>();
    const over = Promise.withResolvers<void>();
    stack.use(
      await serve({ path: dir.file("a.sock"), idleTimeout: 5000 }, (conn) => {
        resolve(conn);
        return over.promise;
      }),
    );
    const peer = stack.use(await connect(dir.file("a.sock")));
    stack.defer(over.resolve);
    return [await promise, peer];
  },
  "socketpair()": async (_, stack) => {
    const [a, b] = await socketpair();
    return [stack.use(a), stack.use(b)];
  },
};

for (const [kind, open] of Object.entries(KINDS)) {
  test(`read() of ${kind} with a signal: an abort rejects at once, and the next read gets the bytes`, async () => {
    await using dir = new TempDir();
    await using stack = new AsyncDisposableStack();
    const [conn, peer] = await open(dir, stack);
    await abortRead(conn);
    await peer.write(encode("first"));
    assertEquals(await readText(conn), "first");
    await abortRead(conn);
    await peer.write(encode("second"));
    const buffer = new Uint8Array(3);
    const { signal } = new AbortController();
    assertEquals([await conn.read(buffer, { signal }), decode(buffer)], [3, "sec"]);
    assertEquals(await readText(conn), "ond");
    await abortRead(conn);
    await peer.closeWrite();
    assertEquals(await conn.read(buffer, { signal }), null);
    assertEquals(conn.bytesRead, 11);
  });
}

for (const socket of ["descriptor", "stdio"] as const) {
  test(`read() of pair() at ${socket} with a signal: the bytes after an abort are not lost`, async () => {
    const args = ["-c", socket === "stdio" ? "exec cat" : "exec cat <&3 >&3"];
    await using child = await pair("sh", { args, socket });
    const { conn } = child;
    for (const word of ["one", "two", "three"]) {
      await abortRead(conn);
      await conn.write(encode(word));
      const { signal } = new AbortController();
      const buffer = new Uint8Array(5);
      const count = await conn.read(buffer, { signal });
      assertEquals(decode(buffer.subarray(0, count!)), word);
    }
    await abortRead(conn);
    await conn.closeWrite();
    assertEquals(await conn.read(new Uint8Array(8)), null);
  });
}

test("read() with a signal that has aborted rejects with its reason, and reads nothing", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  await left.write(encode("there"));
  const reason = new Error("before");
  const error = await assertRejects(
    () => right.read(new Uint8Array(9), { signal: AbortSignal.abort(reason) }),
    Error,
  );
  assertStrictEquals(error, reason);
  assertEquals(right.bytesRead, 0);
  assertEquals(await readText(right), "there");
});

test("read() with a signal that aborts later leaves no listener, and the buffer alone", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const aborter = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = aborter.signal;
  aborter.signal.addEventListener = function (this: AbortSignal, ...args: unknown[]) {
    listeners++;
    return Reflect.apply(addEventListener, this, args);
  };
  aborter.signal.removeEventListener = function (this: AbortSignal, ...args: unknown[]) {
    listeners--;
    return Reflect.apply(removeEventListener, this, args);
  };
  for (let i = 0; i < 10; i++) {
    await left.write(encode("x"));
    await right.read(new Uint8Array(1), aborter);
  }
  assertEquals(listeners, 0);
  const buffer = new Uint8Array(4);
  const reading = right.read(buffer, { signal: aborter.signal });
  aborter.abort();
  await assertRejects(() => reading, DOMException, "abort");
  await left.write(encode("late"));
  await turn();
  assertEquals(buffer, new Uint8Array(4));
  assertEquals(await readText(right), "late");
});

test("read(): reads with and without a signal are served in the order of the calls", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const aborters: AbortController[] = [];
  const buffers: Uint8Array[] = [];
  const reads = Array.from({ length: 12 }, (_, i) => {
    const aborter = new AbortController();
    const buffer = new Uint8Array(1);
    aborters.push(aborter);
    buffers.push(buffer);
    return right.read(buffer, i % 3 === 0 ? {} : { signal: aborter.signal });
  });
  const results = Promise.allSettled(reads);
  for (const i of [1, 4, 5, 11]) aborters[i]!.abort();
  await left.write(encode("abcdefghijk"));
  const order = (await results).map(({ status }, i) =>
    status === "rejected" ? "-" : decode(buffers[i]!)
  );
  assertEquals(order.join(""), "a-bc--defgh-");
  assertEquals(await readText(right), "ijk");
});

test("read(): random aborts among reads and streams lose no byte, and keep the order", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const data = pseudoRandom(MIB, 11);
  const sending = (async () => {
    for (let at = 0; at < data.length;) {
      const size = 1 + (data[at]! * 37) % 5000;
      await left.write(data.subarray(at, at + size));
      at += size;
      if (size % 3 === 0) await turn();
    }
    await left.closeWrite();
  })();
  const got: Uint8Array[] = [];
  let aborted = 0;
  for (let round = 0;; round++) {
    if (round % 7 === 6) {
      const reader = right.readable.getReader();
      const { value, done } = await reader.read();
      reader.releaseLock();
      if (done) break;
      got.push(value);
      continue;
    }
    const aborter = new AbortController();
    const buffer = new Uint8Array(1 + (data[round]! * 91) % 9000);
    const reading = right.read(buffer, { signal: aborter.signal });
    if (round % 2 === 0) queueMicrotask(() => aborter.abort());
    else if (round % 5 === 0) turn().then(() => aborter.abort());
    try {
      const count = await reading;
      if (count === null) break;
      got.push(buffer.subarray(0, count));
    } catch {
      aborted++;
    }
  }
  await sending;
  assertSameBytes(new Uint8Array(await new Blob(got as BlobPart[]).arrayBuffer()), data);
  assert(aborted > 20, `only ${aborted} reads were aborted`);
}, { deadline: 20_000 });

test("read() aborted, and then a stream: it gets the bytes, and so does a read after its cancel", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  await abortRead(right);
  const reader = right.readable.getReader();
  const first = reader.read();
  await left.write(encode("first"));
  assertEquals(decode((await first).value!), "first");
  await abortRead(right);
  const pending = reader.read();
  await turn();
  await reader.cancel();
  assertEquals((await pending).done, true);
  await abortRead(right);
  await left.write(encode("second"));
  assertEquals(await readText(right), "second");
});

test("read() takes over from a released reader, is aborted, and the next reader gets the bytes", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const reader = right.readable.getReader();
  const gone = reader.read();
  reader.releaseLock();
  await assertRejects(() => gone, TypeError);
  for (let i = 0; i < 3; i++) await abortRead(right);
  await left.write(encode("bytes"));
  assertEquals(await readText(right), "bytes");
  await left.write(encode("more"));
  const next = right.readable.getReader();
  assertEquals(decode((await next.read()).value!), "more");
});

for (const mode of ["default", "byob"] as const) {
  /** Releases a reader of the stream during its read. */
  const release = async (conn: Connection) => {
    const reader = mode === "byob" ? conn.readable.getReader({ mode }) : conn.readable.getReader();
    const gone = assertRejects(() => reader.read(new Uint8Array(64) as never), TypeError);
    await turn();
    reader.releaseLock();
    await gone;
  };

  test(`read() takes over from a released reader (${mode}), is aborted, and leaves the stream free`, async () => {
    await using dir = new TempDir();
    using ends = await bothEnds(dir);
    const { left, right } = ends;
    await release(right);
    await abortRead(right);
    const reader = right.readable.getReader();
    const next = reader.read();
    await left.write(encode("bytes"));
    assertEquals(decode((await next).value!), "bytes");
    reader.releaseLock();
    await left.write(encode("more"));
    assertEquals(await readText(right), "more");
  });

  test(`read() takes over from a released reader (${mode}), and so do a reader and a cancel()`, async () => {
    await using dir = new TempDir();
    using ends = await bothEnds(dir);
    const { left, right } = ends;
    await release(right);
    const reading = readText(right);
    const reader = right.readable.getReader();
    const next = reader.read();
    const texts: string[] = [];
    const both = Promise.all([
      reading.then((text) => texts.push(text!)),
      next.then(({ value }) => texts.push(decode(value!))),
    ]);
    await left.write(encode("one"));
    await Promise.race([reading, next]);
    await left.write(encode("two"));
    await both;
    assertEquals(texts, ["one", "two"]);
    reader.releaseLock();

    await release(right);
    const last = readText(right);
    await right.readable.cancel();
    await left.write(encode("three"));
    assertEquals(await last, "three");
    await left.write(encode("four"));
    assertEquals(await readText(right), "four");
  });
}

test("read(): 100,000 aborted reads in a row do not grow the memory", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const buffer = new Uint8Array(64 * 1024);
  const abortMany = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const aborter = new AbortController();
      const reading = right.read(buffer, { signal: aborter.signal });
      aborter.abort();
      await reading.catch(() => {});
    }
    await turn();
    return Deno.memoryUsage();
  };
  const before = await abortMany(20_000);
  const after = await abortMany(100_000);
  const grown = (after.heapTotal - before.heapTotal + after.external - before.external) / MIB;
  assert(grown < 8, `the memory has grown by ${grown} MiB`);
  await left.write(encode("still there"));
  assertEquals(await readText(right), "still there");
}, { deadline: 30_000 });

test("read() aborted, and then close(): later reads reject with ConnectionClosed", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { right } = ends;
  await abortRead(right);
  const { signal } = new AbortController();
  const waiting = [right.read(new Uint8Array(1), { signal }), right.read(new Uint8Array(1))];
  right.close();
  for (const error of await Promise.all(waiting.map(errorOf))) {
    assertInstanceOf(error, ConnectionClosed);
  }
  assertInstanceOf(await errorOf(right.read(new Uint8Array(1), { signal })), ConnectionClosed);
});

test("read() aborted, and then a reset: the next read rejects with it, and so do all further ones", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await conn.write(encode("unread"));
  await abortRead(conn);
  peer.close();
  const { signal } = new AbortController();
  const first = await errorOf(conn.read(new Uint8Array(1), { signal }));
  assertInstanceOf(first, Deno.errors.ConnectionReset);
  assertStrictEquals(await errorOf(conn.read(new Uint8Array(1))), first);
});

test("read() with a signal counts for idleTimeout, and an aborted one does not", async () => {
  await using dir = new TempDir();
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await using _server = await serve(
    { path: dir.file("a.sock"), idleTimeout: 60 },
    async (conn) => {
      await abortRead(conn);
      // Longer than the limit, with nothing that waits.
      await new Promise((resolve) => setTimeout(resolve, 200));
      await conn.write(encode("there"));
      const { signal } = new AbortController();
      resolve(await conn.read(new Uint8Array(1), { signal }).catch((error) => error));
    },
  );
  await using client = await connect(dir.file("a.sock"));
  assertEquals(await readText(client), "there");
  const error = await promise;
  assertInstanceOf(error, Deno.errors.TimedOut);
  assertEquals((error as { operation?: string }).operation, "read");
});

test("read() with a signal reads 16 MiB through buffers of all sizes", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const data = pseudoRandom(16 * MIB, 13);
  const sending = left.write(data).then(() => left.closeWrite());
  const got = new Uint8Array(data.length);
  const { signal } = new AbortController();
  let at = 0;
  for (let size = 1;; size = size * 3 % 300_007) {
    const count = await right.read(got.subarray(at, at + size), { signal });
    if (count === null || at + count === got.length) break;
    at += count;
  }
  await sending;
  assertSameBytes(got, data);
}, { deadline: 20_000 });

for (
  const [name, options, message] of [
    ["a controller", { signal: new AbortController() }, "Invalid signal"],
    ["null", null, "Invalid options of read()"],
    ["an unknown option", { timeout: 1 }, '"timeout"'],
  ] as [string, unknown, string][]
) {
  test(`read() refuses ${name} for its options`, async () => {
    await using dir = new TempDir();
    using ends = await bothEnds(dir);
    await assertRejects(
      () => ends.right.read(new Uint8Array(1), options as { signal: AbortSignal }),
      TypeError,
      message,
    );
  });
}

test("read() with a signal that is undefined waits as without", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const reading = ends.right.read(new Uint8Array(5), { signal: undefined });
  assert(await isPending(reading));
  await ends.left.write(encode("bytes"));
  assertEquals(await reading, 5);
  await ends.left.closeWrite();
  assertEquals((await readAll(ends.right)).length, 0);
});

test("read() refuses a buffer that is detached, also while an aborted read would keep the bytes", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const message = "Invalid buffer: its buffer is detached. Transfer a copy of it instead";
  const { signal } = new AbortController();
  const detached = new Uint8Array(4);
  detached.buffer.transfer();
  await assertRejects(() => conn.read(detached), TypeError, message);
  await assertRejects(() => conn.read(detached, { signal }), TypeError, message);

  const buffers = [new Uint8Array(4), new Uint8Array(4)];
  const reads = buffers.map((buffer) => conn.read(buffer, { signal }));
  for (const buffer of buffers) buffer.buffer.transfer();
  await peer.write(encode("kept"));
  for (const reading of reads) await assertRejects(() => reading, TypeError, message);
  const buffer = new Uint8Array(8);
  assertEquals(await conn.read(buffer), 4);
  assertEquals(decode(buffer.subarray(0, 4)), "kept");
});
