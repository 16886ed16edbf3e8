import { connect, type Connection, serve } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { decode, encode, gate, isPending, readAll, readText, TempDir, test } from "../_helpers.ts";
import { fetchText, fieldsOf } from "./_server.ts";
import { closeAll, connectMany } from "./_shutdown.ts";

const welcome = async (conn: Connection) => void await conn.write(encode("welcome"));

for (const kind of ["a boolean", "a promise"]) {
  test(`serve() with authorize runs the handler for true alone, as ${kind}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const told: unknown[] = [];
    let asked = 0;
    const authorize = (conn: Connection) => {
      assertEquals(conn.localAddr.path, path);
      const answer = asked++ % 2 === 0;
      return kind === "a boolean" ? answer : Promise.resolve(answer);
    };
    const onError = (error: unknown) => void told.push(error);
    await using server = await serve({ path, authorize, onError }, welcome);
    const texts = [await fetchText(path), await fetchText(path), await fetchText(path)];
    assertEquals(texts, ["welcome", "", "welcome"]);
    assertEquals([told, await server.shutdown()], [[], { completed: 0, aborted: 0 }]);
  });
}

test("serve() with authorize closes a connection and reports it if authorize fails", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const told: unknown[] = [];
  const answers = [
    () => {
      throw new Error("thrown");
    },
    () => Promise.reject(new Error("rejected")),
    () => 1,
    () => Promise.resolve(undefined),
  ];
  await using _server = await serve({
    path,
    authorize: () => answers.shift()!() as unknown as boolean,
    onError: (error, info) => void told.push([(error as Error).message, info !== undefined]),
  }, welcome);
  for (let i = 0; i < 4; i++) assertEquals(await fetchText(path), "");
  assertEquals(told, [
    ["thrown", true],
    ["rejected", true],
    ["Invalid result of authorize: expected true or false, got 1", true],
    ["Invalid result of authorize: expected true or false, got undefined", true],
  ]);
});

test("serve() with authorize admits by what it has read, and delivers its last text", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _server = await serve({
    path,
    async authorize(conn) {
      if (await readText(conn) === "secret") return true;
      await conn.write(encode("wrong"));
      return false;
    },
  }, welcome);
  for (const [password, answer] of [["secret", "welcome"], ["guess", "wrong"]]) {
    await using conn = await connect(path);
    await conn.write(encode(password!));
    assertEquals(decode(await readAll(conn)), answer);
  }
});

test("serve() with authorizeTimeout closes a connection that is not authorized in time", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const told: unknown[] = [];
  const authorize = async (conn: Connection) => await readText(conn) !== null;
  const onError = (error: unknown) => void told.push(error);
  const options = { path, authorize, authorizeTimeout: 50, maxConnections: 1, onError };
  await using _server = await serve(options, welcome);
  assertEquals(await fetchText(path), "");
  // Its place is free again.
  await using conn = await connect(path);
  await conn.write(encode("hello"));
  assertEquals(decode(await readAll(conn)), "welcome");
  assertEquals(told.map(fieldsOf), [["TimedOut", "authorize", path, "ETIMEDOUT"]]);
  assertEquals(
    (told[0] as Error).message,
    `Cannot authorize a client of "${path}": it took longer than 50 ms`,
  );
});

test("serve() with authorize counts a connection in maxConnections while it is asked", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  let asked = 0;
  const first = gate();
  const answer = gate<boolean>();
  const authorize = () => {
    asked++;
    first.open();
    return answer.opened;
  };
  await using server = await serve({ path, maxConnections: 1, authorize }, welcome);
  const clients = await connectMany(path, 2);
  await first.opened;
  const texts = Promise.all(clients.map(readText));
  assert(await isPending(texts));
  assertEquals([asked, server.connections], [1, 1]);
  answer.open(true);
  assertEquals(await texts, ["welcome", "welcome"]);
  closeAll(clients);
});

test("shutdown() asks authorize for the clients of the backlog too, and counts those served", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  let asked = 0;
  const authorize = () => Promise.resolve(++asked % 2 === 0);
  const server = await serve({ path, authorize }, welcome);
  const clients = await connectMany(path, 4);
  const ended = server.shutdown();
  assertEquals((await Promise.all(clients.map(readAll))).map(decode).sort(), [
    "",
    "",
    "welcome",
    "welcome",
  ]);
  assertEquals(await ended, { completed: 2, aborted: 0 });
  closeAll(clients);
});

test("shutdown() closes a connection that is being authorized at its deadline", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const told: unknown[] = [];
  const asked = gate();
  const answer = gate<boolean>();
  const server = await serve({
    path,
    authorize() {
      asked.open();
      return answer.opened;
    },
    onError: (error) => void told.push(error),
  }, () => Promise.reject(new Error("the handler has run")));
  await using conn = await connect(path);
  await asked.opened;
  assertEquals(await server.shutdown({ timeout: 20 }), { completed: 0, aborted: 1 });
  answer.open(true);
  assertEquals(await readText(conn), null);
  await server.finished;
  assertEquals(told, []);
});

test("serve() refuses a wrong authorize and a wrong authorizeTimeout", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const start = (options: object) => () => serve({ path, ...options }, welcome);
  await assertRejects(start({ authorize: true }), TypeError, "authorize");
  await assertRejects(start({ authorizeTimeout: 0 }), RangeError, "authorizeTimeout");
  assertEquals(dir.list(), []);
});
