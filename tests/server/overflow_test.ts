import { connect, type Connection, serve } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { encode, gate, isPending, readText, TempDir, test } from "../_helpers.ts";
import { fetchText, fieldsOf } from "./_server.ts";
import { closeAll, connectMany } from "./_shutdown.ts";

/** A handler that serves when it may, and what it waits for. */
function patientHandler() {
  const busy = gate();
  const { opened, open } = gate();
  const handler = async (conn: Connection) => {
    busy.open();
    await opened;
    await conn.write(encode("served"));
  };
  return { handler, busy: busy.opened, serve: open };
}

test("serve() with overflow closes what exceeds maxConnections, and admits again later", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  const told: unknown[] = [];
  const { handler, busy, serve: open } = patientHandler();
  const onError = (error: unknown) => void told.push(error);
  await using server = await serve(
    { path, maxConnections: 1, overflow: "refuse", onError },
    handler,
  );
  await using first = await connect(path);
  await busy;
  const texts = await Promise.all(Array.from({ length: 200 }, () => fetchText(path)));
  assertEquals(texts, texts.map(() => ""));
  assertEquals(server.connections, 1);
  open();
  assertEquals(await readText(first), "served");
  assertEquals(await readText(first), null);
  assertEquals(await fetchText(path), "served");
  assertEquals(told, []);
});

test("serve() with onRefuse delivers a last text to each refused client", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  const { handler, busy, serve: open } = patientHandler();
  await using server = await serve({
    path,
    maxConnections: 1,
    overflow: "refuse",
    onRefuse: (conn, { draining }) => conn.write(encode(`try later${draining.aborted ? "?" : ""}`)),
  }, handler);
  await using first = await connect(path);
  await busy;
  const texts = await Promise.all(Array.from({ length: 200 }, () => fetchText(path)));
  assertEquals(texts, texts.map(() => "try later"));
  open();
  assertEquals(await readText(first), "served");
  assertEquals(await server.shutdown(), { completed: 0, aborted: 0 });
});

test("serve() with onRefuse goes on if it throws, or takes longer than a second", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  const told: unknown[] = [];
  const { handler, busy, serve: open } = patientHandler();
  const answers = [
    () => {
      throw new Error("thrown");
    },
    () => new Promise(() => {}),
  ];
  await using _server = await serve({
    path,
    maxConnections: 1,
    overflow: "refuse",
    onRefuse: () => answers.shift()!(),
    onError: (error) => void told.push(error),
  }, handler);
  await using first = await connect(path);
  await busy;
  assertEquals([await fetchText(path), await fetchText(path)], ["", ""]);
  assertEquals((told.shift() as Error).message, "thrown");
  assertEquals(told.map(fieldsOf), [["TimedOut", "refuse", path, "ETIMEDOUT"]]);
  assertEquals(
    (told[0] as Error).message,
    `Cannot refuse a client of "${path}": it took longer than 1000 ms`,
  );
  open();
  assertEquals(await readText(first), "served");
});

test("serve() with onRefuse refuses at most 64 clients at a time, and then the others", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  const { handler, busy, serve: open } = patientHandler();
  const answer = gate();
  const enough = gate();
  let refused = 0;
  await using server = await serve({
    path,
    maxConnections: 1,
    overflow: "refuse",
    onRefuse() {
      if (++refused === 64) enough.open();
      return answer.opened;
    },
  }, handler);
  await using first = await connect(path);
  await busy;
  const clients = await connectMany(path, 100);
  const texts = Promise.all(clients.map(readText));
  await enough.opened;
  await isPending(texts);
  assertEquals([refused, server.connections], [64, 1]);
  answer.open();
  assertEquals(await texts, clients.map(() => null));
  assertEquals(refused, 100);
  closeAll(clients);
  open();
  assertEquals(await readText(first), "served");
});

test("shutdown() refuses no client of the backlog, and ends what is being refused", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  const { handler, busy, serve: open } = patientHandler();
  const refusing = gate();
  const server = await serve({
    path,
    maxConnections: 1,
    overflow: "refuse",
    onRefuse() {
      refusing.open();
      return new Promise(() => {});
    },
    onError() {},
  }, handler);
  await using first = await connect(path);
  await busy;
  await using refused = await connect(path);
  await refusing.opened;
  // It is in the backlog at once, and nothing is accepted before the call that follows.
  const connecting = connect(path);
  const ended = server.shutdown({ timeout: 200 });
  await using late = await connecting;
  open();
  assertEquals([await readText(first), await readText(late)], ["served", "served"]);
  assertEquals(await ended, { completed: 2, aborted: 0 });
  assertEquals(await readText(refused), null);
});

const CONTRADICTIONS: [options: object, message: string][] = [
  [{ overflow: "drop", maxConnections: 1 }, `expected "wait" or "refuse", got "drop"`],
  [{ overflow: "refuse" }, `Invalid overflow: "refuse": it needs maxConnections`],
  [{ onRefuse() {} }, `Invalid onRefuse: it needs overflow: "refuse"`],
];

for (const [options, message] of CONTRADICTIONS) {
  test(`serve() refuses options: ${message}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("o.sock");
    await assertRejects(() => serve({ path, ...options }, async () => {}), TypeError, message);
    assertEquals(dir.list(), []);
  });
}
