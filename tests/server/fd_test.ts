import { connect, listen, permissionFlags, permissions, serve } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  decode,
  encode,
  fixture,
  gate,
  isPending,
  LEAVING,
  openDescriptors,
  readAll,
  readText,
  TempDir,
  test,
} from "../_helpers.ts";
import { GivenSocket } from "./_given.ts";
import { delay, fetchText, fieldsOf } from "./_server.ts";

test("listen({ fd }) accepts clients in order, and neither end has a path", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("l.sock"));
  await using listener = await listen({ fd: given.descriptor() });
  assertEquals(listener.addr, { transport: "unix", path: null });
  const clients = [];
  for (const name of ["first", "second", "third"]) {
    const client = await connect(given.path);
    await client.write(encode(name));
    clients.push(client);
  }
  for (const [i, name] of ["first", "second", "third"].entries()) {
    await using conn = await listener.accept();
    assertEquals([conn.localAddr.path, conn.remoteAddr.path], [null, null]);
    assertEquals(await readText(conn), name);
    await conn.write(encode(`to ${name}`));
    await conn.closeWrite();
    assertEquals(decode(await readAll(clients[i]!)), `to ${name}`);
    clients[i]!.close();
  }
});

for (const [how, prepare] of Object.entries(LEAVING)) {
  test(`listen({ fd }): closed resolves when a client leaves ${how}, not before`, async () => {
    await using dir = new TempDir();
    using given = new GivenSocket(dir.file("l.sock"));
    await using listener = await listen({ fd: given.descriptor() });
    const [client, conn] = await Promise.all([connect(given.path), listener.accept()]);
    const { closed } = conn;
    await prepare(client);
    // Longer than the longest pause between two looks.
    await delay(300);
    assert(await isPending(closed));
    assertEquals(await conn.write(new Uint8Array(0)), 0);
    client.close();
    await closed;
    conn.close();
  });
}

test("listen({ fd }): close() ends a waiting accept, leaves the path, and another accepts", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("c.sock"));
  const before = openDescriptors();
  const first = await listen({ fd: given.descriptor() });
  const accepting = first.accept();
  assert(await isPending(accepting));
  const refused = accepting.catch((error) => error);
  await first.close();
  await first.close();
  const error = await refused;
  assert(error instanceof Deno.errors.BadResource);
  assertEquals(fieldsOf(error), ["BadResource", "accept", null, undefined]);
  assert(/^Cannot accept on descriptor \d+: the listener was closed$/.test(error.message));
  assertEquals(openDescriptors(), before);
  assertEquals(dir.list(), ["c.sock"]);

  const client = await connect(given.path);
  await using second = await listen({ fd: given.descriptor() });
  await using conn = await second.accept();
  await conn.write(encode("second"));
  assertEquals(await readText(client), "second");
  client.close();
});

test("listen({ fd }) accepts at most some dozens of clients before they are asked for", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("a.sock"));
  await using listener = await listen({ fd: given.descriptor() });
  const clients = await Promise.all(Array.from({ length: 400 }, () => connect(given.path)));
  const before = openDescriptors();
  await delay(50);
  for (let i = 0; i < 3; i++) (await listener.accept()).close();
  await delay(50);
  const ahead = openDescriptors() - before;
  assert(ahead <= 128, `${ahead} clients were accepted ahead`);
  for (let i = 3; i < 400; i++) (await listener.accept()).close();
  for (const client of clients) client.close();
});

test("listen({ fd }) rejects with the reason of a signal, and a signal closes it", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("s.sock"));
  const fd = given.descriptor();
  const reason = new Error("reason");
  const early = listen({ fd, signal: AbortSignal.abort(reason) });
  assertEquals(await early.catch((error) => error), reason);
  const controller = new AbortController();
  await using listener = await listen({ fd, signal: controller.signal });
  const accepting = listener.accept();
  controller.abort();
  await assertRejects(() => accepting, Deno.errors.BadResource);
});

test("listen({ fd }) refuses a descriptor that this process uses already", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("b.sock"));
  const fd = given.descriptor();
  await using _listener = await listen({ fd });
  const error = await listen({ fd }).catch((error) => error);
  assertEquals(fieldsOf(error), ["Busy", "listen", null, "EEXIST"]);
  assertEquals(
    error.message,
    `Cannot listen on descriptor ${fd}: this process uses it already. Pass each descriptor once`,
  );
});

test("serve({ fd }) serves clients within maxConnections, and shutdown() serves the backlog", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("m.sock"));
  let running = 0;
  let most = 0;
  const shuttingDown = gate();
  const addresses: unknown[] = [];
  const server = await serve({
    fd: given.descriptor(),
    maxConnections: 3,
    onListen: (addr) => void addresses.push(addr),
  }, async (conn) => {
    most = Math.max(most, ++running);
    await shuttingDown.opened;
    await conn.write(encode("served"));
    running--;
  });
  assertEquals(addresses, [{ transport: "unix", path: null }]);
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(given.path)));
  while (server.connections < 3) await delay(1);
  const ended = server.shutdown();
  shuttingDown.open();
  assertEquals(await ended, { completed: 20, aborted: 0 });
  assertEquals(await Promise.all(clients.map(readText)), clients.map(() => "served"));
  assertEquals(most, 3);
  assertEquals(dir.list(), ["m.sock"]);
  for (const client of clients) client.close();
});

test("serve({ fd }): the clients after a shutdown are the next server's", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("n.sock"));
  const start = async (name: string) =>
    await serve({ fd: given.descriptor() }, async (conn) => void await conn.write(encode(name)));
  const old = await start("old");
  assertEquals(await fetchText(given.path), "old");
  await old.shutdown();
  const waiting = fetchText(given.path);
  assert(await isPending(waiting));
  await using _next = await start("next");
  assertEquals(await waiting, "next");
});

test("serve({ fd }): shutdown() ends although clients keep coming, and loses none", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("k.sock"));
  const start = async () =>
    await serve({ fd: given.descriptor() }, async (conn) => void await conn.write(encode("x")));
  let server = await start();
  let ended = false;
  let count = 0;
  const loads = Array.from({ length: 4 }, async () => {
    while (!ended) {
      assertEquals(await fetchText(given.path), "x");
      count++;
    }
  });
  for (let i = 0; i < 3; i++) {
    const next = await start();
    const begin = performance.now();
    assertEquals((await server.shutdown()).aborted, 0);
    assert(performance.now() - begin < 3000);
    server = next;
  }
  ended = true;
  await Promise.all(loads);
  assert(count > 20, `${count} clients`);
  await server.shutdown();
});

test("serve({ fd }): shutdown() keeps the clients that Deno has accepted ahead", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("a.sock"));
  const start = (name: string) =>
    serve({ fd: given.descriptor() }, async (conn) => {
      await conn.write(encode(`${name} ${await readText(conn)}`));
    });
  let server = await start("first");
  const args = [given.path, "40", "1000"];
  await using clients = fixture("takeover_clients.ts", ["-A"], args, { stdin: "piped" });
  assertEquals(await clients.line(), "asking");
  for (const name of ["second", "third", "fourth"]) {
    assertEquals((await server.shutdown()).aborted, 0);
    server = await start(name);
  }
  await clients.stdin.close();
  const { lost, refused } = JSON.parse(await clients.line());
  assertEquals({ lost, refused }, { lost: [], refused: [] });
  await server.shutdown();
});

test("serve({ fd }) authorizes and refuses clients, and names the descriptor in its errors", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("z.sock"));
  const fd = given.descriptor();
  const told: unknown[] = [];
  const opened = gate();
  const server = await serve({
    fd,
    maxConnections: 1,
    overflow: "refuse",
    onRefuse: (conn) => conn.write(encode("full")),
    authorize: async (conn) => await readText(conn) === "secret",
    authorizeTimeout: 60,
    onError: (error) => void told.push(error),
  }, async (conn, { signal }) => {
    await conn.write(encode("welcome"));
    opened.open();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  });
  const silent = await connect(given.path);
  assertEquals(await readText(silent), null);
  const wrong = await connect(given.path);
  await wrong.write(encode("wrong"));
  assertEquals(await readText(wrong), null);
  const right = await connect(given.path);
  await right.write(encode("secret"));
  assertEquals(await readText(right), "welcome");
  await opened.opened;
  assertEquals(await fetchText(given.path), "full");
  assertEquals(await server.shutdown({ timeout: 0 }), { completed: 0, aborted: 1 });
  for (const client of [silent, wrong, right]) client.close();
  assertEquals(told.map(fieldsOf), [["TimedOut", "authorize", null, "ETIMEDOUT"]]);
  assertEquals(
    (told[0] as Error).message,
    `Cannot authorize a client of descriptor ${fd}: it took longer than 60 ms`,
  );
});

test("serve({ fd }): 1,000 connections of 10 clients are answered", async () => {
  await using dir = new TempDir();
  using given = new GivenSocket(dir.file("t.sock"));
  await using _server = await serve(
    { fd: given.descriptor() },
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  await Promise.all(Array.from({ length: 10 }, async () => {
    for (let i = 0; i < 100; i++) {
      await using conn = await connect(given.path);
      await conn.write(encode(`${i}`));
      assertEquals(await readText(conn), `${i}`);
    }
  }));
});

// Options -----------------------------------------------------------------------------------------

for (
  const [name, value] of Object.entries({
    path: "/tmp/x.sock",
    mode: 0o600,
    uid: 0,
    gid: 0,
    existing: "fail",
    publish: "rename",
    selfHeal: false,
    createDirectory: false,
    verifyDirectory: false,
    onReplaced() {},
    onPathLost() {},
  })
) {
  test(`listen({ fd }) and serve({ fd }) refuse the option ${name}`, async () => {
    const options = { fd: 3, [name]: value } as never;
    const message = `Invalid ${name}: the socket of fd has its path and its file already`;
    await assertRejects(() => listen(options), TypeError, message);
    await assertRejects(() => serve(options, async () => {}), TypeError, message);
  });
}

/** Compiles only if a descriptor excludes a path, and what belongs to a file. */
const _EXCLUSIVE = [
  // @ts-expect-error: a path and a descriptor
  () => listen({ path: "/tmp/s.sock", fd: 3 }),
  // @ts-expect-error: a descriptor with a mode
  () => listen({ fd: 3, mode: 0o660 }),
  // @ts-expect-error: a descriptor with an option of takeovers
  () => serve({ fd: 3, existing: "fail" }, async () => {}),
];

test("listen({ fd }) refuses a worker, which shares descriptors with the main thread", async () => {
  const module = new URL("../../mod.ts", import.meta.url).href;
  const script = `
    const { listen } = await import(${JSON.stringify(module)});
    postMessage(await listen({ fd: 3 }).catch((error) => [error.name, error.message]));
    close();
  `;
  const url = `data:text/javascript,${encodeURIComponent(script)}`;
  const worker = new Worker(url, { type: "module" });
  const [name, message] = await new Promise<[string, string]>((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
  });
  worker.terminate();
  assertEquals(name, "NotSupported");
  assert(message.startsWith("Cannot listen on descriptor 3: a worker cannot find out"), message);
});

test("listen({ fd }) checks the number", async () => {
  await assertRejects(() => listen({ fd: -1 }), RangeError, "Invalid fd: expected a whole number");
  await assertRejects(
    () => listen({ fd: "3" } as never),
    TypeError,
    "Invalid fd: expected a number",
  );
});

test('permissions("serve", { fd }) is an empty set', () => {
  assertEquals(permissions("serve", { fd: 3 }), {});
  assertEquals(permissionFlags(permissions("serve", { fd: 3 })), []);
});
