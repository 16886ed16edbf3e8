import { connect, probe, serve } from "@uds/uds";
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  encode,
  fixture,
  gate,
  readAll,
  readText,
  TempDir,
  test,
  testAlone,
  turn,
  within,
} from "../_helpers.ts";
import { Stopwatch } from "../_stopwatch.ts";
import { aborted, closeAll, connectMany } from "./_shutdown.ts";

testAlone(
  "shutdown() closes the remaining connections at the deadline, and returns their number",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("d.sock");
    const began = gate();
    const signals: boolean[][] = [];
    let handlers = 0;
    let failures = 0;
    const server = await serve({ path, onError: () => failures++ }, async (conn, info) => {
      if (++handlers === 5) began.open();
      await aborted(info.draining);
      signals.push([info.draining.aborted, info.signal.aborted]);
      await aborted(info.signal);
      signals.push([info.draining.aborted, info.signal.aborted]);
      await conn.closed;
      throw new Error("cut off");
    });
    const clients = await connectMany(path, 5);
    await began.opened;
    const stopwatch = new Stopwatch();
    const start = performance.now();
    const result = await server.shutdown({ timeout: 300 });
    const took = performance.now() - start;
    assertEquals(result, { completed: 0, aborted: 5 });
    assert(took >= 295 && stopwatch.ms < 800, `it took ${took} ms`);
    assertEquals(server.connections, 0);
    assertEquals(signals, [
      ...Array.from({ length: 5 }, () => [true, false]),
      ...Array.from({ length: 5 }, () => [true, true]),
    ]);
    assertEquals(await Promise.all(clients.map(readText)), [null, null, null, null, null]);
    // Counted connections are not reported to onError as well.
    assertEquals(failures, 0);
    await server.finished;
    closeAll(clients);
  },
);

test("shutdown() closes a connection that reads, and one that writes to a client that does not read", async () => {
  await using dir = new TempDir();
  const path = dir.file("w.sock");
  const began = gate();
  const failures: unknown[] = [];
  const ended: unknown[] = [];
  let handlers = 0;
  const server = await serve({ path, onError: (error) => failures.push(error) }, async (conn) => {
    const mine = ++handlers;
    if (mine === 2) began.open();
    const work = mine === 1 ? conn.read(new Uint8Array(1)) : conn.write(new Uint8Array(4_000_000));
    await work.catch((error) => ended.push([mine, error.name, error.operation]));
  });
  const reader = await connect(path);
  const stalled = await connect(path);
  await began.opened;
  assertEquals(await server.shutdown({ timeout: 100 }), { completed: 0, aborted: 2 });
  // The handlers end by themselves.
  assertEquals(await readText(reader), null);
  await readAll(stalled);
  assertEquals(ended.sort(), [[1, "ConnectionClosed", "read"], [2, "ConnectionClosed", "write"]]);
  assertEquals(failures, []);
  reader.close();
  stalled.close();
});

test("shutdown() counts connections as aborted that maxConnections kept waiting to the end", async () => {
  await using dir = new TempDir();
  const path = dir.file("k.sock");
  let handlers = 0;
  const server = await serve({ path, maxConnections: 1 }, async (conn) => {
    handlers++;
    await conn.closed;
  });
  const clients = await connectMany(path, 4);
  assertEquals(await server.shutdown({ timeout: 100 }), { completed: 0, aborted: 4 });
  assertEquals(handlers, 1);
  assertEquals(await Promise.all(clients.map(readText)), [null, null, null, null]);
  closeAll(clients);
});

test("shutdown() called twice is one shutdown", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  const finish = gate();
  const server = await serve(path, () => finish.opened);
  const client = await connect(path);
  const first = server.shutdown();
  const second = server.shutdown({ timeout: 0 });
  assertStrictEquals(second, first);
  finish.open();
  assertEquals(await first, { completed: 1, aborted: 0 });
  assertStrictEquals(server.shutdown(), first);
  client.close();
});

testAlone("shutdown() aborts draining, so that idle handlers finish at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("i.sock");
  const idle = gate();
  let waiting = 0;
  const server = await serve(path, async (conn, { draining }) => {
    const reading = conn.read(new Uint8Array(1)).catch(() => {});
    if (++waiting === 4) idle.open();
    await Promise.race([reading, aborted(draining)]);
    await conn.write(encode("bye"));
  });
  const clients = await connectMany(path, 4);
  await idle.opened;
  const start = performance.now();
  const [result, ...farewells] = await Promise.all([server.shutdown(), ...clients.map(readText)]);
  assertEquals(result, { completed: 4, aborted: 0 });
  assertEquals(farewells, ["bye", "bye", "bye", "bye"]);
  assert(performance.now() - start < 2500, "it waited for something else than the handlers");
  closeAll(clients);
});

for (const timeout of [0, 1, 20]) {
  test(`shutdown() with timeout ${timeout} passes its marker to no handler`, async () => {
    await using dir = new TempDir();
    for (let round = 0; round < 20; round++) {
      let calls = 0;
      const server = await serve(dir.file("n.sock"), () => Promise.resolve(calls++));
      const ending = server.shutdown({ timeout });
      // A busy processor: the deadline passes before the connection is examined.
      const until = performance.now() + 3;
      while (performance.now() < until);
      assertEquals([await ending, calls], [{ completed: 0, aborted: 0 }, 0]);
    }
  });
}

test("shutdown() finds its marker although the process stands still after the deadline", async () => {
  await using dir = new TempDir();
  for (let round = 0; round < 12; round++) {
    const server = await serve(dir.file("n.sock"), () => Promise.resolve());
    const ending = server.shutdown({ timeout: 0 });
    await turn();
    for (let i = 0; i < 4 + round % 4; i++) await new Promise<void>((next) => setImmediate(next));
    // Longer than the search for the marker goes on.
    const until = performance.now() + 110;
    while (performance.now() < until);
    assertEquals(await ending, { completed: 0, aborted: 0 });
  }
});

for (
  const [what, mode] of [["", "600"], [", and does not serve its own connection", "666"]] as const
) {
  test(`shutdown() closes the listener even if the files cannot be removed${what}`, async () => {
    await using dir = new TempDir(0o777);
    const path = dir.file("d.sock");
    // No other user may connect to a file of mode 600, and neither may the server itself.
    await using server = fixture("server_fallen.ts", ["--allow-all"], [path, mode]);
    assertEquals(await server.line(), "listening");
    // It ends by itself, and names in one line what it could not remove.
    const lines = await within(4000, server.output());
    assertEquals(JSON.parse(lines[0]!), ["PermissionDenied", "serve", path, "EACCES", 0]);
    assertEquals((await server.status).code, 0);
    assertEquals((await probe(path)).state, "stale");
  }, { root: true });
}

testAlone("shutdown() with timeout 0 closes every connection at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("z.sock");
  const began = gate();
  const server = await serve(path, async (conn) => {
    began.open();
    await conn.closed;
  });
  const client = await connect(path);
  await began.opened;
  const stopwatch = new Stopwatch();
  assertEquals(await server.shutdown({ timeout: 0 }), { completed: 0, aborted: 1 });
  assert(stopwatch.ms < 250);
  assertEquals(await readText(client), null);
  assertEquals(dir.list(), []);
  client.close();
});

test("shutdown() with timeout Infinity waits for every handler", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  const finish = gate();
  const draining = gate();
  const server = await serve(path, async (_conn, info) => {
    info.draining.addEventListener("abort", () => draining.open(), { once: true });
    await finish.opened;
  });
  const client = await connect(path);
  const ending = server.shutdown({ timeout: Infinity });
  await draining.opened;
  // A timer of Infinity would have fired by now.
  const early = await Promise.race([
    ending.then(() => "shutdown() resolved"),
    server.finished.then(() => "finished resolved"),
    new Promise((resolve) => setTimeout(resolve, 50, "neither")),
  ]);
  assertEquals(early, "neither");
  finish.open();
  assertEquals(await ending, { completed: 1, aborted: 0 });
  client.close();
});

test("shutdown() counts handlers that end meanwhile, failures included, and none before", async () => {
  await using dir = new TempDir();
  const path = dir.file("c.sock");
  const failures: unknown[] = [];
  const server = await serve({ path, onError: (error) => failures.push(error) }, async (conn) => {
    const text = await readText(conn);
    if (text === "fail") throw new Error("it failed");
    await conn.write(encode("done"));
  });
  const before = await connect(path);
  await before.write(encode("x"));
  assertEquals(await readText(before), "done");
  assertEquals(await readText(before), null);
  assertEquals(server.connections, 0);

  const clients = await connectMany(path, 3);
  const ending = server.shutdown();
  for (const [i, text] of ["x", "fail", "x"].entries()) await clients[i]?.write(encode(text));
  assertEquals(await ending, { completed: 3, aborted: 0 });
  assertEquals(await Promise.all(clients.map(readText)), ["done", null, "done"]);
  assertEquals(failures.map(String), ["Error: it failed"]);
  closeAll([before, ...clients]);
});
