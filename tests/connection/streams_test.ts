import { type Connection, ConnectionClosed } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  decode,
  encode,
  isPending,
  KIB,
  openDescriptors,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
  turn,
  untilRead,
  within,
} from "../_helpers.ts";
import { assertSameBytes, bothEnds, concat, errorOf, withPeer } from "./_connection.ts";

test("readable serves a reader that brings its own buffer, until the end", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reader = conn.readable.getReader({ mode: "byob" });
  await peer.write(encode("hello"));
  const first = await reader.read(new Uint8Array(3));
  assertEquals(decode(first.value!), "hel");
  const second = await reader.read(new Uint8Array(new ArrayBuffer(100), 10, 50));
  assertEquals([decode(second.value!), second.value!.byteOffset], ["lo", 10]);

  const waiting = reader.read(new Uint8Array(10), { min: 10 });
  await peer.write(encode("01234"));
  await untilRead(conn, 10);
  await peer.write(encode("56789"));
  assertEquals(decode((await waiting).value!), "0123456789");

  const last = reader.read(new Uint8Array(8));
  await peer.closeWrite();
  assertEquals((await last).done, true);
  assertEquals((await last).value?.byteLength, 0);
  // The writing side is still open.
  await conn.write(encode("bye"));
  assertEquals(await readText(peer), "bye");
});

test("readable's chunks hold just the memory of their bytes", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const reader = right.readable.getReader();
  // Up and down, because the buffers grow and shrink with the sizes of the reads.
  const sizes = [1, 100, 9_000, 60_000, 190_000, 190_000, 190_000, 190_000, 7, 30_000, 1, 1, 5_000];
  let pinned = 0;
  for (const [i, size] of sizes.entries()) {
    const data = pseudoRandom(size, i + 1);
    const writing = left.write(data);
    const chunks: Uint8Array[] = [];
    for (let read = 0; read < size;) {
      const { value } = await reader.read();
      const { byteLength, buffer } = value!;
      assertEquals(buffer.byteLength, byteLength);
      pinned = Math.max(pinned, byteLength);
      chunks.push(value!);
      read += byteLength;
    }
    await writing;
    assertSameBytes(concat(chunks), data);
  }
  assert(pinned > 32 * KIB, `the largest chunk had only ${pinned} bytes`);
});

for (const mode of ["default", "byob"] as const) {
  test(`readable canceled while it reads (${mode}) leaves the bytes to the next reads, in order`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    const reader = mode === "byob" ? conn.readable.getReader({ mode }) : conn.readable.getReader();
    const pending = reader.read(new Uint8Array(64) as never);
    await turn();
    await reader.cancel();
    assertEquals((await pending).done, true);

    const buffers = [2, 3, 1, 4].map((length) => new Uint8Array(length));
    const reads = buffers.map((buffer) => conn.read(buffer));
    await peer.write(encode("aabbbc"));
    assertEquals(await Promise.all(reads.slice(0, 3)), [2, 3, 1]);
    await peer.write(encode("dddd"));
    assertEquals(await reads[3], 4);
    assertEquals(buffers.map(decode), ["aa", "bbb", "c", "dddd"]);
    await peer.write(encode("more"));
    assertEquals(await readText(conn), "more");
    assertEquals(conn.bytesRead, 14);
    await peer.closeWrite();
    assertEquals(await readText(conn), null);
  });
}

test("readable canceled while it reads leaves what a short read does not take", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reader = conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  await pending;
  await peer.write(encode("abc"));
  for (const letter of ["a", "b", "c"]) {
    const buffer = new Uint8Array(1);
    assertEquals(await conn.read(buffer), 1);
    assertEquals(decode(buffer), letter);
  }
  await peer.closeWrite();
  assertEquals(await readText(conn), null);
});

test("read() with an empty buffer resolves to 0 at once, though a canceled stream still reads", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reader = conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  await pending;
  assertEquals(await within(1000, conn.read(new Uint8Array(0))), 0);
  await peer.write(encode("later"));
  assertEquals(await readText(conn), "later");
});

test("readable canceled before the end of file resolves the next reads to null", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reader = conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  await pending;
  const reads = [conn.read(new Uint8Array(4)), conn.read(new Uint8Array(4))];
  await peer.closeWrite();
  assertEquals(await Promise.all(reads), [null, null]);
});

test("breaking out of a loop over readable loses nothing", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await peer.write(encode("first"));
  for await (const chunk of conn.readable) {
    assertEquals(decode(chunk), "first");
    break;
  }
  await peer.write(encode("second"));
  assertEquals(await readText(conn), "second");
});

for (const mode of ["default", "byob"] as const) {
  /** Leaves a stream reading for a reader that is released. */
  const release = async (conn: Connection) => {
    const reader = mode === "byob" ? conn.readable.getReader({ mode }) : conn.readable.getReader();
    const pending = assertRejects(() => reader.read(new Uint8Array(64) as never), TypeError);
    await turn();
    reader.releaseLock();
    await pending;
  };

  test(`readable canceled with bytes that no reader took (${mode}) leaves them to read()`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    await release(conn);
    await peer.write(encode("kept"));
    await untilRead(conn, 4);
    await conn.readable.cancel();
    await peer.write(encode("next"));
    assertEquals(await readText(conn), "kept");
    assertEquals(await readText(conn), "next");
  });

  test(`readable released while it reads (${mode}) leaves what comes to read(), in order`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    await release(conn);
    const reading = readText(conn);
    await peer.write(encode("one"));
    await untilRead(conn, 3);
    await peer.write(encode("two"));
    assertEquals(await reading, "one");
    assertEquals(await readText(conn), "two");
  });

  test(`readable released while it reads (${mode}) leaves what comes to its next reader`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    await release(conn);
    await peer.write(encode("one"));
    await untilRead(conn, 3);
    const reader = conn.readable.getReader();
    assertEquals(decode((await reader.read()).value!), "one");
    const waiting = reader.read();
    await peer.write(encode("two"));
    assertEquals(decode((await waiting).value!), "two");
    const last = reader.read();
    await peer.closeWrite();
    assertEquals((await last).done, true);
  });

  test(`readable released while it reads (${mode}) ends for its next reader`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    await release(conn);
    const reader = conn.readable.getReader();
    const last = reader.read();
    await peer.closeWrite();
    assertEquals((await last).done, true);
  });
}

test("await using sends what writable was given in the same turn, and its end", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  {
    await using ending = conn;
    const writer = ending.writable.getWriter();
    writer.write(encode("one"));
    writer.write(encode("two"));
    writer.close();
  }
  assertEquals(decode(await readAll(peer)), "onetwo");
});

/** Reads the next bytes: by `read()`, or by a stream's reader with up to 5 bytes. */
const NEXT: Record<string, (conn: Connection) => Promise<string>> = {
  "read()": async (conn) => await readText(conn) ?? "",
  "a reader": async (conn) => {
    const reader = conn.readable.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    return decode(value ?? new Uint8Array(0));
  },
  "a reader with its own memory": async (conn) => {
    const reader = conn.readable.getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint8Array(5));
    reader.releaseLock();
    return decode(value ?? new Uint8Array(0));
  },
};

for (const mode of ["default", "byob"] as const) {
  for (const [how, next] of Object.entries(NEXT)) {
    for (const early of [true, false]) {
      const when = early ? "before" : "after";
      test(
        `readable released at once or while it reads (${mode}), ${how} coming ${when} the bytes, loses none`,
        async () => {
          await using dir = new TempDir();
          for (let turns = 0; turns < 2; turns++) {
            using pair = await withPeer(dir);
            const { conn, peer } = pair;
            // The stream has read before, and will again.
            await peer.write(encode("first"));
            const reader = mode === "byob"
              ? conn.readable.getReader({ mode })
              : conn.readable.getReader();
            await reader.read(new Uint8Array(5) as never);
            const pending = assertRejects(() => reader.read(new Uint8Array(3) as never), TypeError);
            for (let i = 0; i < turns; i++) await turn();
            reader.releaseLock();
            await pending;

            let text = "";
            if (early) {
              const waiting = next(conn);
              await turn();
              await peer.write(encode("a few bytes"));
              text += await waiting;
            } else {
              await peer.write(encode("a few bytes"));
              await turn();
            }
            while (text.length < 5) text += await next(conn);
            await peer.closeWrite();
            text += decode(await readAll(conn));
            assertEquals(text, "a few bytes");
          }
        },
        { deadline: 1000 },
      );
    }
  }
}

test("readable released by one reader goes on with the next one", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const first = conn.readable.getReader();
  await peer.write(encode("one"));
  assertEquals(decode((await first.read()).value!), "one");
  first.releaseLock();
  await peer.write(encode("two"));
  assertEquals(await readText(conn), "two");
  await peer.write(encode("three"));
  const second = conn.readable.getReader();
  assertEquals(decode((await second.read()).value!), "three");
});

test("readable.cancel() and then closeWrite() close the descriptor", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const before = openDescriptors();
  await conn.readable.cancel();
  assert(await isPending(conn.closed), "it closed with writing still open");
  await conn.write(encode("last"));
  await conn.closeWrite();
  await conn.closed;
  assertEquals(openDescriptors(), before - 1);
  assertEquals(decode(await readAll(peer)), "last");
});

test("readable.cancel() after closeWrite() closes the descriptor, also while it reads", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn } = pair;
  await conn.closeWrite();
  const reader = conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  assertEquals((await pending).done, true);
  await conn.closed;
  const error = await errorOf(conn.read(new Uint8Array(1)));
  assertInstanceOf(error, ConnectionClosed);
  assertEquals(error.operation, "read");
});

test("writable.abort() closes the connection", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reading = conn.read(new Uint8Array(1));
  await Promise.all([
    conn.writable.abort(new Error("enough")),
    assertRejects(() => reading, ConnectionClosed),
    conn.closed,
  ]);
  assertEquals(await peer.read(new Uint8Array(1)), null);
});

test("readable fails with ConnectionReset when the peer leaves with bytes unread", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer, path } = pair;
  await conn.write(encode("unread"));
  await peer.write(encode("bye"));
  peer.close();
  const reader = conn.readable.getReader();
  assertEquals(decode((await reader.read()).value!), "bye");
  const error = await errorOf(reader.read());
  assertInstanceOf(error, Deno.errors.ConnectionReset);
  assertEquals([error.operation, error.path], ["read", path]);
  await assertRejects(() => reader.closed, Deno.errors.ConnectionReset);
  await conn.closed;
});
