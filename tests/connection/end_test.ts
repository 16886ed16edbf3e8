import { type Connection, ConnectionClosed, listen } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  encode,
  fixture,
  MIB,
  openDescriptors,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
  within,
} from "../_helpers.ts";
import { assertSameBytes, concat, errorOf, flags, withPeer } from "./_connection.ts";

const endings: Record<string, (conn: Connection) => unknown> = {
  "close()": (conn) => conn.close(),
  "dispose": (conn) => conn[Symbol.dispose](),
  "async dispose": (conn) => conn[Symbol.asyncDispose](),
};

for (const [first, end] of Object.entries(endings)) {
  for (const [second, again] of Object.entries(endings)) {
    test(`${first} and then ${second} close the connection once`, async () => {
      await using dir = new TempDir();
      using pair = await withPeer(dir);
      const { conn, peer } = pair;
      const before = openDescriptors();
      await end(conn);
      await again(conn);
      await conn.closed;
      conn.ref();
      conn.unref();
      assertEquals(openDescriptors(), before - 1);
      assertEquals(await peer.read(new Uint8Array(1)), null);
    });
  }
}

for (const [name, end] of Object.entries(endings)) {
  test(`${name} does nothing where both directions have ended`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    peer.close();
    assertEquals(await readText(conn), null);
    await conn.closeWrite();
    await conn.closed;
    await end(conn);
    assertEquals(await readText(conn), null);
  });
}

test("await using sends what is queued before it closes", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { peer } = pair;
  const data = [pseudoRandom(2 * MIB, 8), encode("the end")];
  const reading = readAll(peer);
  {
    await using conn = pair.conn;
    for (const piece of data) conn.write(piece);
  }
  assertSameBytes(await reading, concat(data));
});

test("await using closes after 5 seconds if the peer does not read", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const start = performance.now();
  let write;
  {
    await using conn = pair.conn;
    write = conn.write(new Uint8Array(2 * MIB));
  }
  const took = performance.now() - start;
  assert(took > 4_900 && took < 7_000, `it took ${took} ms`);
  const error = await errorOf(write);
  assertInstanceOf(error, ConnectionClosed);
  assertEquals(error.unsent?.length, 2 * MIB - pair.conn.bytesWritten);
});

test("closed resolves after a reset and after a failed write", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await conn.write(encode("unread"));
  peer.close();
  await assertRejects(() => conn.write(encode("more")), Deno.errors.BrokenPipe);
  await assertRejects(() => conn.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  assertEquals(await conn.closed, undefined);
});

test("unref() allows the process to end although a read is pending", async () => {
  await using dir = new TempDir();
  const path = dir.file("u.sock");
  await using listener = await listen(path);
  await using program = fixture("client_unref.ts", flags(path), [path]);
  using _peer = await listener.accept();
  assertEquals(await program.output(), ["waiting"]);
  assertEquals((await program.status).code, 0);
});

test("ref() keeps the process alive again while a read is pending", async () => {
  await using dir = new TempDir();
  const path = dir.file("u.sock");
  await using listener = await listen(path);
  await using program = fixture("client_unref.ts", flags(path), [path, "ref"]);
  using peer = await listener.accept();
  assertEquals(await program.line(), "waiting");
  // Without ref() it would end during this delay.
  assert(await isPendingFor(200, program.status), "it ended");
  await peer.write(encode("go"));
  assertEquals(await program.output(), ["go"]);
  assertEquals((await program.status).code, 0);
});

/** Reports whether a promise is still pending after some milliseconds. */
async function isPendingFor(ms: number, promise: Promise<unknown>): Promise<boolean> {
  try {
    await within(ms, promise);
    return false;
  } catch {
    return true;
  }
}
