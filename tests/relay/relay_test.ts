import { connect, listen, relay } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { encode, pseudoRandom, readAll, TempDir, test } from "../_helpers.ts";

/** Makes two connections, with both ends of each. */
async function twoPairs(dir: TempDir) {
  const listener = await listen(dir.file("r.sock"));
  const [a, left] = await Promise.all([listener.accept(), connect(dir.file("r.sock"))]);
  const [b, right] = await Promise.all([listener.accept(), connect(dir.file("r.sock"))]);
  return { listener, a, b, left, right };
}

test("relay() passes both directions and each half-close on, and counts the bytes", async () => {
  await using dir = new TempDir();
  const { listener, a, b, left, right } = await twoPairs(dir);
  await using _listener = listener;
  const relaying = relay(a, b);

  const question = pseudoRandom(3_000_000, 1);
  const asked = readAll(right);
  await left.write(question);
  await left.closeWrite();
  assertEquals(await asked, question);
  // The end of file has passed through. The other direction is still open.
  await right.write(encode("answer"));
  await right.closeWrite();
  assertEquals(await readAll(left), encode("answer"));

  assertEquals(await relaying, { aToB: 3_000_000, bToA: 6 });
  await Promise.all([a.closed, b.closed, left.closed, right.closed]);
});

test("relay() of a connection with itself is an echo", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("e.sock"));
  const [server, client] = await Promise.all([listener.accept(), connect(dir.file("e.sock"))]);
  const relaying = relay(server, server);
  await client.write(encode("ping"));
  await client.closeWrite();
  assertEquals(await readAll(client), encode("ping"));
  assertEquals(await relaying, { aToB: 4, bToA: 4 });
});

test("relay() rejects with both counts when a connection is reset, and closes both", async () => {
  await using dir = new TempDir();
  const { listener, a, b, left, right } = await twoPairs(dir);
  await using _listener = listener;
  const relaying = relay(a, b);
  await left.write(encode("12345"));
  assertEquals(await right.read(new Uint8Array(5)), 5);
  await right.write(encode("unread"));
  const peek = new Uint8Array(1);
  await left.read(peek);
  // The kernel resets a connection that is closed with bytes unread.
  left.close();
  const error = await assertRejects(() => relaying, Deno.errors.ConnectionReset);
  const { aToB, bToA, operation, path } = error as unknown as Record<string, unknown>;
  assertEquals([aToB, bToA, operation, path], [5, 6, "read", dir.file("r.sock")]);
  await Promise.all([a.closed, b.closed]);
  assertEquals(await right.read(peek), null);
  right.close();
});

test("relay() ends with the signal's reason, and closes both", async () => {
  await using dir = new TempDir();
  const { listener, a, b, left, right } = await twoPairs(dir);
  await using _listener = listener;
  const abort = new AbortController();
  const relaying = relay(a, b, { signal: abort.signal });
  const reason = new Error("enough");
  abort.abort(reason);
  assertEquals(await assertRejects(() => relaying, Error), reason);
  await Promise.all([a.closed, b.closed]);
  left.close();
  right.close();
});

test("relay() closes both where the signal was aborted before", async () => {
  await using dir = new TempDir();
  const { listener, a, b, left, right } = await twoPairs(dir);
  await using _listener = listener;
  await assertRejects(
    () => relay(a, b, { signal: AbortSignal.abort(new Error("no")) }),
    Error,
    "no",
  );
  await Promise.all([a.closed, b.closed]);
  left.close();
  right.close();
});

test("relay() refuses a value that is not a connection, and unknown options", async () => {
  await using dir = new TempDir();
  const { listener, a, b, left, right } = await twoPairs(dir);
  await using _listener = listener;
  await assertRejects(() => relay(a, {} as never), TypeError, "expected a Connection");
  await assertRejects(() => relay(a, b, { sgnal: 1 } as never), TypeError, '"sgnal"');
  for (const conn of [a, b, left, right]) conn.close();
});
