import { connect, SocketInUse } from "@uds/uds";
import { serveWorkers } from "@uds/uds/workers";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  decode,
  encode,
  LEAVING,
  openDescriptors,
  readAll,
  readText,
  TempDir,
  test,
  turn,
} from "../_helpers.ts";
import { assertGone } from "../pool/_pool.ts";
import { accepting, ask, moduleOf, pids, untilReplaced } from "./_workers.ts";

for (const [how, prepare] of Object.entries(LEAVING)) {
  test(`serveWorkers(): closed resolves when a client leaves ${how}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("app.sock");
    await using server = await serveWorkers({ path, count: 1 }, moduleOf("closed.ts"));
    const connections = async () => (await server.statistics()).workers[0]?.connections;
    const client = await connect(path);
    while (await connections() !== 1) await turn();
    await prepare(client);
    // Longer than the longest pause between two looks.
    await new Promise((resolve) => setTimeout(resolve, 300));
    assertEquals(await connections(), 1);
    client.close();
    while (await connections() !== 0) await turn();
  });
}

test("serveWorkers() serves by its workers, drains them, and leaves nothing", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const server = await pids({ path, mode: 0o660 });
  assertEquals(server.addr, { transport: "unix", path });
  assertEquals((await Deno.lstat(path)).mode! & 0o777, 0o660);
  const workers = await accepting(server);
  assertEquals(workers.length, 2);
  const { pid, answer } = await ask(path);
  assert(workers.includes(pid) && pid !== Deno.pid);
  assertEquals(answer, `hello ${pid}`);
  await assertRejects(() => pids({ path }), SocketInUse);

  // A handler that is told to end, and one that has not begun to read.
  const conn = await connect(path);
  const asked = ask(path, "draining");
  await readText(conn);
  const closing = server.shutdown();
  assertEquals((await asked).answer.replace(/\d+/, ""), "draining ");
  conn.close();
  const { aborted } = await closing;
  assertEquals(aborted, 0);
  await server.finished;
  assertEquals(dir.list(), []);
  assertGone(workers);
});

test("a worker that crashes costs its own connections, and is replaced", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const errors: string[] = [];
  await using server = await pids({ path, onError: (error) => errors.push(String(error)) });
  const before = await accepting(server);
  const kept = await Promise.all(Array.from({ length: 8 }, async () => {
    const conn = await connect(path);
    return { conn, pid: Number(await readText(conn)) };
  }));
  const { pid } = await ask(path, "crash");
  // One that waits for a worker meanwhile is served.
  assert((await ask(path)).pid !== pid);
  for (const each of kept) {
    await using conn = each.conn;
    await conn.write(new TextEncoder().encode("still")).catch(() => {});
    const answer = await readText(conn).catch(() => null);
    assertEquals(answer, each.pid === pid ? null : `still ${each.pid}\n`);
  }
  const after = await untilReplaced(server, before);
  assert(!after.includes(pid));
  assertEquals((await server.statistics()).lost, 1);
  assertEquals(errors.length, 1);
  assertMatch(errors[0]!, new RegExp(`process ${pid} exited with code 7. Another one is started`));
});

test("reload() replaces the workers, and the old ones finish", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using server = await pids({ path });
  const before = await accepting(server);
  const conn = await connect(path);
  const old = Number(await readText(conn));
  await server.reload();
  const after = await accepting(server);
  assertEquals(after.length, 2);
  assert(!after.some((pid) => before.includes(pid)));
  assert(after.includes((await ask(path)).pid));
  await conn.write(new TextEncoder().encode("still"));
  assertEquals(await readText(conn), `still ${old}\n`);
  const { workers } = await server.statistics();
  assertEquals(workers.find(({ pid }) => pid === old), {
    pid: old,
    connections: 1,
    accepted: 1,
    draining: true,
    answers: true,
  });
  conn.close();
});

test("after reload() only new workers accept, also if the old ones compute meanwhile", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using server = await pids({ path });
  for (let round = 0; round < 3; round++) {
    const before = await accepting(server);
    // They are busy when they should stop accepting, and the new ones when clients come.
    const busy = Array.from({ length: 4 }, () => ask(path, "compute 300"));
    await server.reload();
    const asked = Array.from({ length: 8 }, () => ask(path, "compute 50"));
    const answers = await Promise.all(asked);
    assertEquals(answers.filter(({ pid }) => before.includes(pid)), []);
    await Promise.all(busy);
  }
}, { deadline: 20_000 });

test("reload() under load refuses and resets no client", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using server = await pids({ path });
  let isOver = false;
  const served = new Set<number>();
  const clients = Array.from({ length: 16 }, async () => {
    let requests = 0;
    for (; !isOver; requests++) {
      const { pid, answer } = await ask(path);
      assertEquals(answer, `hello ${pid}`);
      served.add(pid);
    }
    return requests;
  });
  await server.reload();
  isOver = true;
  const requests = (await Promise.all(clients)).reduce((sum, count) => sum + count, 0);
  assert(requests >= 100 && served.size >= 3, `${requests} requests to ${served.size} workers`);
}, { deadline: 20_000 });

test('existing: "replace" takes over the path from the owner before', async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  let replaced = 0;
  await using first = await pids({ path, onReplaced: () => replaced++ });
  await using second = await pids({ path, existing: "replace" });
  await first.finished;
  assertEquals(replaced, 1);
  assert((await accepting(second)).includes((await ask(path)).pid));
  assertEquals(await accepting(first), []);
}, { deadline: 20_000 });

test("serveWorkers() rejects when the module does not load or exports no handler", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const missing = moduleOf("missing.ts");
  await assertRejects(() => serveWorkers({ path, count: 1 }, missing), Deno.errors.InvalidData);
  const without = moduleOf("../pool/silent.ts");
  await assertRejects(
    () => serveWorkers({ path, count: 1 }, without),
    Deno.errors.InvalidData,
    'silent.ts": it exports neither a function "connection" nor a function "fetch"',
  );
  assertEquals(dir.list(), []);
});

test("serveWorkers() checks its arguments", async () => {
  const module = moduleOf("pid.ts");
  await assertRejects(() => serveWorkers({ path: "/x", count: 0 }, module), RangeError, "count");
  const wrong = { path: "/x", cuont: 2 } as never;
  await assertRejects(() => serveWorkers(wrong, module), TypeError, "cuont");
  await assertRejects(() => serveWorkers({ path: "/x" }, "pid.ts" as never), TypeError, "module");
  const signal = AbortSignal.abort(new Error("enough"));
  await assertRejects(() => serveWorkers({ path: "/x", signal }, module), Error, "enough");
});

test(
  "serveWorkers() leaves no descriptor if its signal aborts at any moment of the start",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("app.sock");
    const start = async (ms: number) => {
      const abort = new AbortController();
      const reason = new Error("enough");
      const timer = setTimeout(() => abort.abort(reason), ms);
      const server = await pids({ path, count: 1, signal: abort.signal }).catch((error) => {
        assertEquals(error, reason);
        return undefined;
      });
      await server?.shutdown();
      clearTimeout(timer);
      assertEquals(dir.list(), []);
    };
    // Deno closes descriptors some turns after their handles.
    const closed = async () => {
      for (let i = 0; i < 50; i++) await turn();
    };
    await start(5);
    await closed();
    const before = openDescriptors();
    for (const ms of [0, 5, 60, 120, 200]) await start(ms);
    await closed();
    assertEquals(openDescriptors(), before);
  },
  { deadline: 20_000 },
);

test("reload() during a shutdown rejects, and so does one after it", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const server = await pids({ path });
  const workers = await accepting(server);
  const reloads = [server.reload(), server.reload()];
  const closing = server.shutdown();
  reloads.push(server.reload());
  await closing;
  await server.finished;
  reloads.push(server.reload());
  const message = `Cannot reload the workers of "${path}": they are shutting down, or have ended`;
  for (const reload of reloads) {
    const error = await assertRejects(() => reload, Deno.errors.BadResource, message);
    const { operation, path: place } = error as Error & { operation: string; path: string };
    assertEquals([operation, place], ["reload", path]);
  }
  assertGone(workers);
  assertEquals(dir.list(), []);
});

test("a second shutdown() does not change the time of the first one", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const server = await pids({ path, count: 1 });
  await using conn = await connect(path);
  await readText(conn);
  await conn.write(encode("draining"));
  const closing = server.shutdown({ timeout: 10_000 });
  assertEquals(server.shutdown({ timeout: 0 }), closing);
  assertMatch(await readText(conn) ?? "cut off", /^draining /);
  await conn.write(encode("compute 50"));
  assertMatch(await readText(conn) ?? "cut off", /^compute 50 /);
  conn.close();
  assertEquals(await closing, { completed: 1, aborted: 0 });
});

test("statistics() lists no worker that has ended", async () => {
  await using dir = new TempDir();
  const server = await pids({ path: dir.file("app.sock") });
  await server.reload();
  await server.shutdown();
  await server.finished;
  assertEquals(await server.statistics(), { workers: [], lost: 0 });
});

for (const clients of [0, 1]) {
  test(`shutdown() serves just the ${clients} clients that stay, until its timeout`, async () => {
    await using dir = new TempDir();
    const path = dir.file("app.sock");
    const module = dir.file("staying.ts");
    await Deno.writeTextFile(module, "export const connection = () => new Promise(() => {});");
    const server = await serveWorkers({ path, count: 2 }, new URL(`file://${module}`));
    const conns = await Promise.all(Array.from({ length: clients }, () => connect(path)));
    const accepted = async () =>
      (await server.statistics()).workers.reduce((sum, { accepted }) => sum + accepted, 0);
    while (await accepted() < clients) await turn();
    const start = performance.now();
    assertEquals(await server.shutdown({ timeout: 500 }), { completed: 0, aborted: clients });
    const took = performance.now() - start;
    assert(took < 2000 && took >= 500 * clients, `it took ${took} ms`);
    for (const conn of conns) conn.close();
  });
}

/** Connects clients while all workers compute, so that they wait in the backlog. */
async function waiting(path: string, count: number): Promise<{ answers: Promise<string[]> }> {
  const busy = Array.from({ length: 8 }, () => ask(path, "compute 300"));
  const conns = await Promise.all(Array.from({ length: count }, () => connect(path)));
  const asked = conns.map(async (each) => {
    await using conn = each;
    await conn.write(encode("hello"));
    await conn.closeWrite();
    return decode(await readAll(conn));
  });
  return { answers: Promise.all(asked).finally(() => Promise.all(busy)) };
}

for (const maxConnections of [1, 100]) {
  test(
    `shutdown() serves the clients in the backlog, ${maxConnections} at once in a worker`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("app.sock");
      const server = await pids({ path, maxConnections });
      const { answers } = await waiting(path, 200);
      await server.shutdown({ timeout: 20_000 });
      for (const answer of await answers) assertMatch(answer, /^\d+\nhello \d+\n$/);
      assertEquals(dir.list(), []);
    },
    { deadline: 30_000 },
  );
}

test("a takeover serves the clients in the backlog of the owner before", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using first = await pids({ path });
  const { answers } = await waiting(path, 200);
  await using _second = await pids({ path, existing: "replace" });
  for (const answer of await answers) assertMatch(answer, /^\d+\nhello \d+\n$/);
  await first.finished;
}, { deadline: 30_000 });
