import { connect, serve } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import {
  decode,
  encode,
  gate,
  readAll,
  readText,
  TempDir,
  test,
  testAlone,
  within,
} from "../_helpers.ts";
import { delay, fieldsOf } from "./_server.ts";

test("serve() with maxConnections keeps the rest waiting, and then serves them all", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  let running = 0;
  let most = 0;
  const gates: (() => void)[] = [];
  const full = gate();
  await using server = await serve({ path, maxConnections: 3 }, async (conn) => {
    most = Math.max(most, ++running, server.connections);
    const { opened, open } = gate();
    gates.push(open);
    if (running === 3) full.open();
    await opened;
    running--;
    await conn.write(encode("served"));
  });
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(path)));
  await full.opened;
  // Enough turns of the event loop to accept a fourth client, if that could happen.
  for (let i = 0; i < 20; i++) await delay(0);
  assertEquals([running, server.connections, gates.length], [3, 3, 3]);

  // Whenever a client has been served, exactly one more is accepted.
  const answers = clients.map(readText);
  for (let next = 0; next < 20; next++) {
    while (gates[next] === undefined) await delay(0);
    assert(running <= 3 && server.connections <= 3);
    gates[next]?.();
  }
  assertEquals(await Promise.all(answers), clients.map(() => "served"));
  assertEquals([most, gates.length], [3, 20]);
  for (const conn of clients) conn.close();
});

testAlone(
  "serve() with idleTimeout ends a read that waits too long, and the client reads end of file",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("i.sock");
    const told: unknown[] = [];
    await using server = await serve(
      { path, idleTimeout: 60, onError: (error) => void told.push(error) },
      async (conn) => void await conn.read(new Uint8Array(8)),
    );
    const start = performance.now();
    const client = await connect(path);
    assertEquals(await readText(client), null);
    const took = performance.now() - start;
    assert(took >= 55 && took < 1000, `it took ${took} ms`);
    client.close();
    await server.shutdown();
    assertEquals(told.map(fieldsOf), [["TimedOut", "read", path, "ETIMEDOUT"]]);
    const error = told[0] as Error;
    assert(error instanceof Deno.errors.TimedOut && error.cause instanceof Deno.errors.TimedOut);
    assert(error.message.endsWith("nothing came for 60 ms"), error.message);
  },
);

test("serve() with idleTimeout ends a stream that waits too long", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const told: unknown[] = [];
  await using server = await serve(
    { path, idleTimeout: 60, onError: (error) => void told.push(error) },
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  const client = await connect(path);
  await client.write(encode("echo"));
  assertEquals(decode(await readAll(client)), "echo");
  client.close();
  await server.shutdown();
  assertEquals(told.map(fieldsOf), [["TimedOut", "read", path, "ETIMEDOUT"]]);
});

test("serve() with idleTimeout waits for nothing when a connection has ended before it is read", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const told: unknown[] = [];
  await using server = await serve(
    { path, idleTimeout: 60_000, onError: (error) => void told.push(error) },
    async (conn) => {
      await conn.readable.cancel();
      await conn.closeWrite();
      // A timer that is left behind fails the test.
      await conn.read(new Uint8Array(8));
    },
  );
  const client = await connect(path);
  assertEquals(await readText(client), null);
  client.close();
  await server.shutdown();
  assertEquals(told.map(fieldsOf), [["ConnectionClosed", "read", path, undefined]]);
});

test("serve() with idleTimeout does not cut a handler that is busy and does not read", async () => {
  await using dir = new TempDir();
  const path = dir.file("b.sock");
  const told: unknown[] = [];
  await using _server = await serve(
    { path, idleTimeout: 50, onError: (error) => void told.push(error) },
    async (conn) => {
      await conn.read(new Uint8Array(8));
      await delay(200);
      await conn.write(encode("at last"));
      // The pause of the handler does not count against this read.
      await conn.write(encode(`, ${await readText(conn)}`));
    },
  );
  const client = await connect(path);
  await client.write(encode("question"));
  assertEquals(await readText(client), "at last");
  await client.write(encode("thanks"));
  assertEquals(await readText(client), ", thanks");
  assertEquals(await readText(client), null);
  assertEquals(told, []);
  client.close();
});

test("serve() with idleTimeout counts from the read, not from earlier activity", async () => {
  await using dir = new TempDir();
  const path = dir.file("y.sock");
  await using _server = await serve({ path, idleTimeout: 300 }, async (conn) => {
    await conn.read(new Uint8Array(8));
    await delay(200);
    await conn.write(encode("ready"));
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  const client = await connect(path);
  await client.write(encode("question"));
  assertEquals(await readText(client), "ready");
  // 400 ms after the last byte, and 200 ms after the read began.
  await delay(200);
  await client.write(encode("hello"));
  assertEquals(await readText(client), "you said hello");
  client.close();
});

for (const how of ["cancel", "releaseLock"] as const) {
  test(`serve() with idleTimeout does not count a read that was canceled by ${how}()`, async () => {
    await using dir = new TempDir();
    const path = dir.file("g.sock");
    const told: unknown[] = [];
    await using _server = await serve(
      { path, idleTimeout: 100, onError: (error) => void told.push(error) },
      async (conn) => {
        const reader = conn.readable.getReader();
        reader.read().catch(() => {});
        await delay(10);
        await reader[how]();
        await delay(300);
        await conn.write(encode("at last"));
        // Only the next read waits.
        await conn.write(encode(`, ${await readText(conn)}`));
      },
    );
    const client = await connect(path);
    assertEquals(await readText(client), "at last");
    await client.write(encode("thanks"));
    assertEquals(await readText(client), ", thanks");
    assertEquals(told, []);
    client.close();
  });
}

test("serve() with idleTimeout counts from the first of several reads that wait", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const told: unknown[] = [];
  await using _server = await serve(
    { path, idleTimeout: 300, onError: (error) => void told.push(error) },
    async (conn) => {
      const first = conn.read(new Uint8Array(8));
      const timer = setInterval(() => conn.read(new Uint8Array(8)).catch(() => {}), 100);
      await first.finally(() => clearInterval(timer));
    },
  );
  const client = await connect(path);
  assertEquals(await within(2000, readText(client)), null);
  assert(told[0] instanceof Deno.errors.TimedOut);
  client.close();
});

test("serve() with idleTimeout does not close a client that sends a byte in time", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  const told: unknown[] = [];
  await using _server = await serve(
    { path, idleTimeout: 400, onError: (error) => void told.push(error) },
    async (conn) => {
      let count = 0;
      while (await conn.read(new Uint8Array(1)) !== null) count++;
      await conn.write(encode(`${count} bytes`));
    },
  );
  const client = await connect(path);
  // Longer than the timeout altogether, but shorter each time.
  for (let i = 0; i < 6; i++) {
    await delay(100);
    await client.write(new Uint8Array(1));
  }
  await client.closeWrite();
  assertEquals(await readText(client), "6 bytes");
  assertEquals(told, []);
  client.close();
});

test("serve() with firstByteTimeout closes a silent connection and frees its slot", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  const told: unknown[] = [];
  await using server = await serve(
    { path, maxConnections: 2, firstByteTimeout: 60, onError: (error) => void told.push(error) },
    async (conn) => {
      await conn.write(encode(`you said ${await readText(conn)}`));
    },
  );
  const silent = await Promise.all([connect(path), connect(path)]);
  const client = await connect(path);
  await client.write(encode("hello"));
  assertEquals(await readText(client), "you said hello");
  assertEquals(await Promise.all(silent.map(readText)), [null, null]);
  for (const conn of [...silent, client]) conn.close();
  await server.shutdown();
  assertEquals(told.map(fieldsOf), told.map(() => ["TimedOut", "read", path, "ETIMEDOUT"]));
  assertEquals(told.length, 2);
  assert((told[0] as Error).message.endsWith("nothing came for 60 ms"));
});

for (
  const [idle, idleTimeout] of [["no idleTimeout", Infinity], ["a longer one", 60_000]] as const
) {
  test(`serve() with firstByteTimeout and ${idle} does not close a client that has sent something`, async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    await using _server = await serve(
      { path, firstByteTimeout: 50, idleTimeout },
      (conn) => conn.readable.pipeTo(conn.writable),
    );
    await using client = await connect(path);
    await client.write(encode("hello"));
    assertEquals(await readText(client), "hello");
    await delay(150);
    await client.write(encode("again"));
    assertEquals(await readText(client), "again");
  });
}

testAlone("serve() with firstByteTimeout counts idleTimeout from the first byte on", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  await using _server = await serve(
    { path, firstByteTimeout: 60_000, idleTimeout: 50, onError() {} },
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  await using client = await connect(path);
  await delay(150);
  await client.write(encode("late"));
  const start = performance.now();
  assertEquals(decode(await readAll(client)), "late");
  assert(performance.now() - start < 5000);
});

test("serve() with firstByteTimeout does not count what comes before the handler reads", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  await using _server = await serve({ path, firstByteTimeout: 50 }, async (conn) => {
    await delay(150);
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  await using client = await connect(path);
  await client.write(encode("hello"));
  assertEquals(await readText(client), "you said hello");
});
