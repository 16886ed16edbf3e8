import { connect, listen, SocketNotFound } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encode, readText, TempDir, test } from "../_helpers.ts";
import { fetchText, fieldsOf } from "./_server.ts";

test("accept() resolves in the order of the calls", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  await using listener = await listen(path);
  const waiting = Array.from({ length: 5 }, () => listener.accept());
  for (const [i, accepting] of waiting.entries()) {
    const client = await connect(path);
    await client.write(encode(`client ${i}`));
    using conn = await accepting;
    assertEquals(await readText(conn), `client ${i}`);
    client.close();
  }
});

test("for await over a listener yields every connection, and ends when it closes", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const listener = await listen(path);
  const served = (async () => {
    let count = 0;
    for await (const conn of listener) {
      await conn.write(encode(`${++count}`));
      conn.close();
    }
    return count;
  })();
  for (let i = 1; i <= 3; i++) assertEquals(await fetchText(path), `${i}`);
  await listener.close();
  assertEquals(await served, 3);
  assertEquals(dir.list(), []);
});

test("Breaking out of for await does not close the listener", async () => {
  await using dir = new TempDir();
  const path = dir.file("b.sock");
  await using listener = await listen(path);
  const [first] = await Promise.all([
    (async () => {
      for await (const conn of listener) return conn;
    })(),
    connect(path).then((conn) => conn.close()),
  ]);
  first?.close();
  const [second, client] = await Promise.all([listener.accept(), connect(path)]);
  second.close();
  client.close();
});

test("accept() of a closed listener rejects with BadResource", async () => {
  await using dir = new TempDir();
  const path = dir.file("c.sock");
  const listener = await listen(path);
  await listener.close();
  const error = await assertRejects(() => listener.accept(), Deno.errors.BadResource);
  assertEquals(
    error.message,
    `Cannot accept on ${JSON.stringify(path)}: the listener was closed`,
  );
  assertEquals(fieldsOf(error), ["BadResource", "accept", path, undefined]);
  assert(error.cause instanceof Deno.errors.BadResource);
});

test("close() of a listener rejects every accept that waits, and is idempotent", async () => {
  await using dir = new TempDir();
  const path = dir.file("d.sock");
  const listener = await listen(path);
  const waiting = Array.from({ length: 3 }, () => listener.accept());
  const closing = listener.close();
  for (const accepting of waiting) {
    const error = await assertRejects(() => accepting, Deno.errors.BadResource, "was closed");
    assertEquals(fieldsOf(error), ["BadResource", "accept", path, undefined]);
  }
  await closing;
  await listener.close();
  await listener[Symbol.asyncDispose]();
  assertEquals(dir.list(), []);
});

test("close() of a listener leaves the connections that were accepted", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const listener = await listen(path);
  const [server, client] = await Promise.all([listener.accept(), connect(path)]);
  await listener.close();
  await assertRejects(() => connect(path), SocketNotFound);
  await client.write(encode("still"));
  assertEquals(await readText(server), "still");
  server.close();
  assertEquals(await readText(client), null);
  client.close();
});

test("close() of a listener frees the path for the next one at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("n.sock");
  for (let round = 0; round < 20; round++) {
    const listener = await listen(path);
    const accepting = listener.accept();
    await Promise.all([
      listener.close(),
      assertRejects(() => accepting, Deno.errors.BadResource),
    ]);
    assertEquals(dir.list(), []);
  }
});

test("listen() closes when its signal aborts", async () => {
  await using dir = new TempDir();
  const path = dir.file("g.sock");
  const abort = new AbortController();
  const listener = await listen({ path, signal: abort.signal });
  const accepting = listener.accept();
  abort.abort();
  await assertRejects(() => accepting, Deno.errors.BadResource);
  await listener.close();
  assertEquals(dir.list(), []);
});
