import { connect, type Connection, listen, relay, type RelayResult } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { encode, pseudoRandom, TempDir, test } from "../_helpers.ts";

const ANSWER = pseudoRandom(1_000_000, 3);

/** Makes two connections to relay between, and the other end of each. */
async function ends(dir: TempDir, name = "e.sock") {
  await using listener = await listen(dir.file(name));
  const [a, client] = await Promise.all([listener.accept(), connect(dir.file(name))]);
  const [b, target] = await Promise.all([listener.accept(), connect(dir.file(name))]);
  return { a, b, client, target };
}

/** Reads to the end or a failure, with a pause after each read. */
async function readSlowly(conn: Connection, pause = 0): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const count = await conn.read(buffer).catch(() => null);
    if (count === null) break;
    chunks.push(buffer.slice(0, count));
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return await new Blob(chunks as BlobPart[]).bytes();
}

/** Writes until a write fails. Returns the number of bytes sent. */
async function upload(conn: Connection): Promise<number> {
  const chunk = new Uint8Array(64 * 1024);
  for (let sent = 0;; sent += chunk.length) {
    try {
      await conn.write(chunk);
    } catch {
      return sent;
    }
  }
}

/** Resolves to the result or the error of a relay. */
function outcome(relaying: Promise<RelayResult>): Promise<unknown> {
  return relaying.catch((error) => error);
}

test("relay() passes an early answer on whole, to a slow client that goes on sending", async () => {
  await using dir = new TempDir();
  const answered = async (i: number) => {
    const { a, b, client, target } = await ends(dir, `${i}.sock`);
    const over = outcome(relay(a, b));
    const sending = upload(client);
    const answer = readSlowly(client, 5);
    await target.read(new Uint8Array(100));
    await target.write(ANSWER);
    // The kernel resets the connection, because most of its bytes were not read.
    target.close();
    assertEquals(await answer, ANSWER);
    await sending;
    client.close();
    const failure = await over as Error & { aToB: number; bToA: number; unsent: Uint8Array };
    assertInstanceOf(failure, Error);
    assertEquals(failure.bToA, ANSWER.length);
    assert(failure.aToB > 0);
    assert(failure instanceof Deno.errors.ConnectionReset || failure.unsent.length > 0);
    await Promise.all([a.closed, b.closed]);
  };
  await Promise.all(Array.from({ length: 20 }, (_, i) => answered(i)));
});

test("relay() goes on with the direction of a peer that has stopped reading", async () => {
  await using dir = new TempDir();
  const { a, b, client, target } = await ends(dir);
  // It fails like a peer that has shut down its reading side.
  const closed = Object.assign(new Deno.errors.BrokenPipe("takes no more"), { code: "EPIPE" });
  const refusing = {
    read: b.read.bind(b),
    write: (data: Uint8Array) =>
      Promise.reject(Object.assign(closed, { unsent: data.slice(), operation: "write" })),
    closeWrite: b.closeWrite.bind(b),
    close: b.close.bind(b),
  };
  const over = outcome(relay(a, refusing as unknown as Connection));
  await client.write(encode("question"));
  // The target gets the end of file, because its direction has ended.
  assertEquals(await target.read(new Uint8Array(1)), null);
  for (const part of ["one", "two"]) {
    await target.write(encode(part));
    const buffer = new Uint8Array(10);
    const count = await client.read(buffer);
    assertEquals(buffer.subarray(0, count ?? 0), encode(part));
  }
  target.close();
  assertEquals(await readSlowly(client), new Uint8Array(0));
  const failure = await over as Error & { aToB: number; bToA: number; unsent: Uint8Array };
  assertInstanceOf(failure, Deno.errors.BrokenPipe);
  assertEquals([failure.aToB, failure.bToA], [0, 6]);
  assertEquals(failure.unsent, encode("question"));
  await Promise.all([a.closed, b.closed]);
  client.close();
});

test("relay() closes both once a peer that was reset has nothing more to send", async () => {
  await using dir = new TempDir();
  const { a, b, client, target } = await ends(dir);
  const over = outcome(relay(a, b));
  await client.write(encode("unread"));
  await target.read(new Uint8Array(1));
  await target.write(encode("last words"));
  target.close();
  // Both are closed although the client stays silent and open.
  const failure = await over as Error & { bToA: number };
  assertInstanceOf(failure, Deno.errors.ConnectionReset);
  assertEquals(failure.bToA, 10);
  assertEquals(await readSlowly(client), encode("last words"));
  await Promise.all([a.closed, b.closed]);
  client.close();
});

test("relay() closes both when a client has left, although its target goes on sending", async () => {
  await using dir = new TempDir();
  const { a, b, client, target } = await ends(dir);
  const over = outcome(relay(a, b));
  await client.write(encode("stream, please"));
  await client.closeWrite();
  const sending = upload(target);
  await client.read(new Uint8Array(1));
  client.close();
  assert(await sending > 0);
  const failure = await over as Error & { aToB: number };
  assertInstanceOf(failure, Error);
  assertEquals(failure.aToB, 14);
  await Promise.all([a.closed, b.closed]);
  target.close();
});

test("relay() closes both at an abort, also after one direction has failed", async () => {
  await using dir = new TempDir();
  const { a, b, client, target } = await ends(dir);
  const abort = new AbortController();
  const refusing = {
    read: b.read.bind(b),
    write: () => Promise.reject(new Deno.errors.BrokenPipe("takes no more")),
    closeWrite: b.closeWrite.bind(b),
    close: b.close.bind(b),
  };
  const over = outcome(relay(a, refusing as unknown as Connection, { signal: abort.signal }));
  await client.write(encode("x"));
  assertEquals(await target.read(new Uint8Array(1)), null);
  abort.abort("enough");
  assertEquals(await over, "enough");
  await Promise.all([a.closed, b.closed]);
  client.close();
  target.close();
});
