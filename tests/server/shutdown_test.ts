import { connect, serve } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encode, gate, readText, TempDir, test, within } from "../_helpers.ts";
import { aborted, closeAll } from "./_shutdown.ts";

test("shutdown() leaves no socket file and no lock, and resolves finished", async () => {
  await using dir = new TempDir();
  const path = dir.file("g.sock");
  const server = await serve(path, async () => {});
  assertEquals(dir.list(), ["g.sock", "g.sock.lock"]);
  assertEquals(await server.shutdown(), { completed: 0, aborted: 0 });
  assertEquals(dir.list(), []);
  await within(1000, server.finished);
});

test("shutdown() allows a successor to start while old handlers still run", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const finish = gate();
  const draining = gate();
  const old = await serve(path, async (conn, info) => {
    info.draining.addEventListener("abort", () => draining.open(), { once: true });
    await finish.opened;
    await conn.write(encode("old"));
  });
  const first = await connect(path);
  const ending = old.shutdown();
  await draining.opened;

  await using _successor = await serve(path, async (conn) => {
    await conn.write(encode("new"));
  });
  const inode = Deno.lstatSync(path).ino;
  const second = await connect(path);
  assertEquals(await readText(second), "new");
  assertEquals(old.connections, 1);
  finish.open();
  assertEquals(await readText(first), "old");
  assertEquals(await ending, { completed: 1, aborted: 0 });
  // The end of the old server removes nothing of the new one.
  assertEquals(dir.list(), ["s.sock", "s.sock.lock"]);
  assertEquals(Deno.lstatSync(path).ino, inode);
  const third = await connect(path);
  assertEquals(await readText(third), "new");
  closeAll([first, second, third]);
});

test("serve() can serve the path again as soon as shutdown() has resolved", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  for (let round = 0; round < 20; round++) {
    const server = await serve(path, async (conn) => void await conn.write(encode(`${round}`)));
    const client = await connect(path);
    assertEquals(await readText(client), `${round}`);
    client.close();
    await server.shutdown();
    assertEquals(dir.list(), []);
  }
});

test("Disposing of a server shuts it down", async () => {
  await using dir = new TempDir();
  const path = dir.file("u.sock");
  let client;
  {
    await using _server = await serve(path, async (conn) => {
      await conn.write(encode(`you said ${await readText(conn)}`));
    });
    client = await connect(path);
    await client.write(encode("hello"));
  }
  assertEquals(dir.list(), []);
  assertEquals(await readText(client), "you said hello");
  client.close();
});

test("shutdown() can be called by a handler, and waits for it too", async () => {
  await using dir = new TempDir();
  const path = dir.file("h.sock");
  const server = await serve(path, async (conn, { draining }) => {
    server.shutdown();
    await aborted(draining);
    await conn.write(encode("the last one"));
  });
  const client = await connect(path);
  assertEquals(await readText(client), "the last one");
  await server.finished;
  assertEquals(await server.shutdown(), { completed: 1, aborted: 0 });
  client.close();
});

for (
  const [what, name] of [["the path", "p.sock"], ["the path of publish", "p.sock.new"]] as const
) {
  test(`shutdown() leaves another program's file at ${what}, put there during the drain`, async () => {
    await using dir = new TempDir();
    const path = dir.file("p.sock");
    const publish = name === "p.sock" ? "direct" : "rename";
    const server = await serve({ path, publish }, async () => {});
    const ending = server.shutdown();
    // The name is released before any wait. Deno will still unlink what it bound.
    assert(!dir.list().includes("p.sock"));
    Deno.writeTextFileSync(dir.file(name), "another program's");
    await ending;
    assertEquals(dir.list(), [name]);
    assertEquals(Deno.readTextFileSync(dir.file(name)), "another program's");
  });
}

test("shutdown() leaves another program's server at the path, put there during the drain", async () => {
  await using dir = new TempDir();
  const path = dir.file("q.sock");
  const server = await serve(path, async () => {});
  const ending = server.shutdown();
  using other = Deno.listen({ transport: "unix", path });
  await ending;
  assertEquals(dir.list(), ["q.sock"]);
  const [theirs, ours] = await Promise.all([other.accept(), connect(path)]);
  theirs.close();
  ours.close();
});

test("shutdown() refuses an invalid timeout, and unknown options", async () => {
  await using dir = new TempDir();
  await using server = await serve(dir.file("o.sock"), async () => {});
  await assertRejects(
    async () => void await server.shutdown({ timeout: -1 }),
    RangeError,
    "timeout",
  );
  await assertRejects(
    async () => void await server.shutdown({ timeout: "1" } as never),
    TypeError,
    "timeout",
  );
  await assertRejects(
    async () => void await server.shutdown({ deadline: 1 } as never),
    TypeError,
    '"deadline"',
  );
  // None of the calls has begun a shutdown.
  const client = await connect(dir.file("o.sock"));
  assertEquals(await readText(client), null);
  client.close();
});
