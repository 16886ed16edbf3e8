import { connect, type Connection, ConnectionClosed, lines, messages, serve } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { decode, encode, pseudoRandom, readAll, TempDir, test, turn } from "../_helpers.ts";
import { fetchText } from "./_server.ts";

test("serve() flushes writes that a handler did not await, and then closes", async () => {
  await using dir = new TempDir();
  const path = dir.file("h.sock");
  const data = pseudoRandom(1 << 20, 7);
  let kept: Connection | undefined;
  await using _server = await serve(path, (conn) => {
    kept = conn;
    for (let i = 0; i < 4; i++) conn.write(data.subarray(i << 18, (i + 1) << 18));
    return Promise.resolve();
  });
  const client = await connect(path);
  assertEquals(await readAll(client), data);
  await kept?.closed;
  assertEquals([kept?.bytesWritten, client.bytesRead], [1 << 20, 1 << 20]);
  client.close();
});

for (const isClosed of [true, false]) {
  const end = isClosed ? ", its end" : "";
  test(`serve() flushes what a handler wrote to its writable without waiting${end}, and then closes`, async () => {
    await using dir = new TempDir();
    const path = dir.file("w.sock");
    await using _server = await serve(path, (conn) => {
      const writer = conn.writable.getWriter();
      // More than the kernel holds, and chunks that the stream passes on only after that.
      writer.write(new Uint8Array(1024 * 1024));
      for (const text of ["one", "two", "three"]) writer.write(encode(text));
      if (isClosed) writer.close();
      return Promise.resolve();
    });
    using client = await connect(path);
    const bytes = await readAll(client);
    assertEquals(decode(bytes.subarray(1024 * 1024)), "onetwothree");
  });
}

test("serve() flushes what a handler wrote before it failed", async () => {
  await using dir = new TempDir();
  const path = dir.file("j.sock");
  await using _server = await serve({ path, onError: () => {} }, (conn) => {
    conn.write(new Uint8Array(1 << 20));
    return Promise.reject(new Error("it failed"));
  });
  assertEquals((await fetchText(path)).length, 1 << 20);
});

test("serve() accepts a handler that returns no promise, and reports it once", async () => {
  await using dir = new TempDir();
  const path = dir.file("v.sock");
  const errors: unknown[] = [];
  const handler = (conn: Connection) => void conn.write(encode("at once"));
  const onError = (error: unknown) => void errors.push(error);
  await using server = await serve({ path, onError }, handler as never);
  assertEquals(await fetchText(path), "at once");
  assertEquals(await fetchText(path), "at once");
  assertEquals(server.connections, 0);
  assertEquals(errors.map(String), [
    `TypeError: Invalid handler of ${JSON.stringify(path)}: ` +
    "expected a promise from it, got undefined. " +
    "Make it async and await all of its work: its connection closes when it returns",
  ]);
});

for (
  const [kind, handler] of [
    ["a generator function", function* () {}],
    ["an async generator function", async function* () {}],
  ] as const
) {
  test(`serve() says that the body of ${kind} never runs`, async () => {
    await using dir = new TempDir();
    const path = dir.file("g.sock");
    const errors: unknown[] = [];
    const onError = (error: unknown) => void errors.push(error);
    await using _server = await serve({ path, onError }, handler as never);
    assertEquals(await fetchText(path), "");
    assertEquals(errors.map(String), [
      `TypeError: Invalid handler of ${JSON.stringify(path)}: ` +
      "expected a promise from it, got a generator. " +
      "Its body never runs. Use async function, without *",
    ]);
  });
}

test("a handler that returns before its work is done is told so by the work", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const served = Promise.withResolvers<void>();
  let works: Promise<Error>[] = [];
  await using _server = await serve({ path, onError: () => {} }, (conn) => {
    const channel = messages(conn, lines());
    const later = [
      () => channel.send("late").then(() => channel.flush()),
      () => conn.writeText("late"),
    ]
      .map((work) =>
        assertRejects(() => served.promise.then(() => work() as Promise<unknown>), ConnectionClosed)
      );
    works = [assertRejects(() => channel.receive(), ConnectionClosed), ...later];
    return Promise.resolve();
  });
  assertEquals(await fetchText(path), "");
  served.resolve();
  const shown = JSON.stringify(path);
  const state = "its handler has returned without awaiting this";
  assertEquals((await Promise.all(works)).map((error) => error.message), [
    `Cannot read from a client of ${shown}: ${state}`,
    `Cannot send to a client of ${shown}: ${state}, and 5 bytes of messages were not sent`,
    `Cannot write to a client of ${shown}: ${state}, and 4 bytes were not sent`,
  ]);
});

const LATE_WRITES: Record<string, (conn: Connection) => unknown> = {
  "write()": (conn) => conn.write(encode("late!")),
  "writeText()": (conn) => conn.writeText("late!"),
  "send() of messages": (conn) => messages(conn, lines()).send("late"),
};

for (const [name, write] of Object.entries(LATE_WRITES)) {
  test(`serve() reports once that ${name} came after the return of its handler`, async () => {
    await using dir = new TempDir();
    const path = dir.file("l.sock");
    const errors: unknown[] = [];
    let late: () => unknown = () => {};
    const onError = (error: unknown) => void errors.push(error);
    await using server = await serve({ path, onError }, (conn) => {
      late = () => write(conn);
      return Promise.resolve();
    });
    for (let i = 0; i < 2; i++) {
      assertEquals(await fetchText(path), "");
      while (server.connections > 0) await turn();
      late();
      await turn();
    }
    assertEquals(errors.map(String), [
      `ConnectionClosed: Cannot write to a client of ${JSON.stringify(path)}: its handler has ` +
      "returned without awaiting this, and 5 bytes were not sent",
    ]);
  });
}

test("serve() does not report a write after the client has left", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  const errors: unknown[] = [];
  let kept: Connection | undefined;
  const onError = (error: unknown) => void errors.push(error);
  await using server = await serve({ path, onError }, async (conn) => {
    kept = conn;
    await readAll(conn);
    await conn.write(encode("x")).catch(() => {});
    await conn.write(encode("x")).catch(() => {});
  });
  (await connect(path)).close();
  while (kept === undefined || server.connections > 0) await turn();
  await assertRejects(() => kept!.writeText("x"), Error);
  assertEquals(errors, []);
});

test("close() in a handler is what a later call names, not its return", async () => {
  await using dir = new TempDir();
  const path = dir.file("c.sock");
  let kept: Connection | undefined;
  await using _server = await serve(path, (conn) => {
    kept = conn;
    conn.close();
    return Promise.resolve();
  });
  assertEquals(await fetchText(path), "");
  await assertRejects(() => kept!.writeText("x"), ConnectionClosed, "close() was called");
});

test("serve() accepts a handler that closes its connection", async () => {
  await using dir = new TempDir();
  const path = dir.file("d.sock");
  const told: unknown[] = [];
  await using server = await serve(
    { path, onError: (error) => void told.push(error) },
    (conn) => Promise.resolve(conn.close()),
  );
  assertEquals(await fetchText(path), "");
  await server.shutdown();
  assertEquals(told, []);
});
