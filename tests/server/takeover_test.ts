import {
  claim,
  connect,
  InsecurePath,
  listen,
  type ListenOptions,
  NotASocket,
  permissionFlags,
  permissions,
  probe,
  serve,
  SocketInUse,
} from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  changing,
  denoArgs,
  DIES,
  encode,
  fixture,
  gate,
  type Program,
  readText,
  run,
  TempDir,
  test,
} from "../_helpers.ts";
import { pidIn } from "../_lock.ts";
import { greet, greetingAt, RENAME, REPLACE, SERVER_FLAGS, testAloneAtOnce } from "./_takeover.ts";

/** Returns the identity, the mode and the content of a file, without its times. */
function look(path: string): unknown[] {
  const { dev, ino, mode, isFile } = Deno.lstatSync(path);
  return [dev, ino, mode, isFile && Deno.readTextFileSync(path)];
}

/** Starts another program that serves the path. */
async function other(path: string, options: Record<string, unknown> = {}): Promise<Program> {
  const program = fixture("takeover_server.ts", SERVER_FLAGS(path), [
    path,
    JSON.stringify(options),
  ]);
  assertEquals(await program.line(), "ready");
  return program;
}

// ---- Replacing ----------------------------------------------------------------------------------

testAloneAtOnce("A server that is replaced", {
  'serve() with existing: "replace" replaces a server under load, and no client notices':
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      await using old = await other(path);
      await using load = fixture(
        "takeover_clients.ts",
        permissionFlags(permissions("connect", path)),
        [path, "10", "1000"],
        { stdin: "piped" },
      );
      assertEquals(await load.line(), "asking");
      await using successor = await other(path);
      assertEquals(pidIn(`${path}.lock`), successor.pid);
      assertEquals(await old.line(), "replaced");
      assertEquals(JSON.parse(await old.line()).errors, []);
      assertEquals((await old.status).code, 0);
      await load.stdin.close();
      const { answered, ...counts } = JSON.parse(await load.line());
      assert(answered >= 1000);
      assertEquals(counts, { servers: 2, lost: [], refused: [] });
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      assertEquals((await probe(path)).holder, successor.pid);
    },
  "serve() that is replaced aborts draining, and its successor loses nothing": async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const told: string[] = [];
    const old = await serve(
      { path, ...RENAME, onReplaced: () => told.push("replaced") },
      async (conn, info) => {
        await conn.write(encode("old"));
        await new Promise((resolve) => info.draining.addEventListener("abort", resolve));
        told.push("draining");
        await conn.write(encode("bye"));
      },
    );
    const client = await connect(path);
    assertEquals(await readText(client), "old");
    await using successor = await serve({ path, ...REPLACE, mode: 0o640 }, greet("new"));
    const files = dir.list();
    assertEquals(files, ["a.sock", "a.sock.lock"]);
    const before = files.map((name) => look(dir.file(name)));
    assertEquals(await greetingAt(path), "new");
    await old.finished;
    assertEquals(told, ["replaced", "draining"]);
    assertEquals(await readText(client), "bye");
    client.close();
    assertEquals(files.map((name) => look(dir.file(name))), before);
    assertEquals(dir.list(), files);
    assertEquals(await greetingAt(path), "new");
    assertEquals(successor.addr.path, path);
  },
  "serve() that is replaced uses the deadline that onReplaced sets": async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const results: unknown[] = [];
    const old = await serve({
      path,
      ...RENAME,
      onReplaced: () => old.shutdown({ timeout: 1 }).then((result) => results.push(result)),
    }, (conn) => conn.closed);
    await using client = await connect(path);
    await using _successor = await serve({ path, ...REPLACE }, greet("new"));
    await old.finished;
    assertEquals(results, [{ completed: 0, aborted: 1 }]);
    assertEquals(await readText(client), null);
  },
  "serve() serves its backlog also when it shuts down before it knows of its successor":
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      const first = gate();
      const old = await serve({ path, ...RENAME, maxConnections: 1 }, async (conn) => {
        await first.opened;
        await conn.write(encode("old"));
      });
      const clients = await Promise.all(Array.from({ length: 20 }, () => connect(path)));
      await using _successor = await serve({ path, ...REPLACE }, greet("new"));
      const ending = old.shutdown();
      first.open();
      assertEquals(await Promise.all(clients.map(readText)), clients.map(() => "old"));
      assertEquals(await ending, { completed: 20, aborted: 0 });
      assertEquals(await greetingAt(path), "new");
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      for (const conn of clients) conn.close();
    },
  "listen() that is replaced returns the clients that had reached it, and then ends": async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const replaced = gate();
    const old = await listen({ path, ...RENAME, onReplaced: () => replaced.open() });
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(path)));
    await using successor = await listen({ path, ...REPLACE });
    // The old listener accepts only after it was replaced.
    await replaced.opened;
    let count = 0;
    for await (const conn of old) {
      await conn.write(encode(`${++count}`));
      conn.close();
    }
    assertEquals(count, 5);
    assertEquals((await Promise.all(clients.map(readText))).sort(), ["1", "2", "3", "4", "5"]);
    await old.close();
    const [theirs, ours] = await Promise.all([successor.accept(), connect(path)]);
    for (const conn of [...clients, theirs, ours]) conn.close();
  },
  'serve() with existing: "replace" ten times in a row: each calls onReplaced, and the last one stays':
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      const told: number[] = [];
      const servers = [];
      for (let i = 0; i < 10; i++) {
        servers.push(
          await serve({ path, ...REPLACE, onReplaced: () => told.push(i) }, greet(`${i}`)),
        );
        assertEquals(await greetingAt(path), `${i}`);
      }
      const last = servers.pop();
      await Promise.all(servers.map((server) => server.finished));
      assertEquals(told.sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
      assertEquals(await greetingAt(path), "9");
      await last?.shutdown();
      assertEquals(dir.list(), []);
    },
  'serve() with existing: "replace" takes over also when the name is gone': async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const replaced = gate();
    const old = await serve(
      { path, ...RENAME, onReplaced: () => replaced.open(), onPathLost() {} },
      greet("old"),
    );
    Deno.removeSync(path);
    await using _successor = await serve({ path, ...REPLACE }, greet("new"));
    assertEquals(await greetingAt(path), "new");
    await replaced.opened;
    await old.finished;
    assertEquals(await greetingAt(path), "new");
  },
});

test("listen() that is replaced and closed at once leaves the files of its successor alone", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  for (let i = 0; i < 10; i++) {
    const old = await listen({ path, ...RENAME });
    const waiting = old.accept().catch((error) => error);
    await using _successor = await serve({ path, ...REPLACE }, greet(`${i}`));
    const before = ["a.sock", "a.sock.lock"].map((name) => look(dir.file(name)));
    await old.close();
    assert(await waiting instanceof Deno.errors.BadResource);
    assertEquals(["a.sock", "a.sock.lock"].map((name) => look(dir.file(name))), before);
    assertEquals(await greetingAt(path), `${i}`);
  }
  assertEquals(dir.list(), []);
});

// ---- Not replaced -------------------------------------------------------------------------------

interface Incumbent extends AsyncDisposable {
  says: string;
}

const incumbent = (says: string, it: AsyncDisposable): Incumbent => ({
  says,
  [Symbol.asyncDispose]: () => it[Symbol.asyncDispose](),
});

/** Owners of a path that are not replaced, each with a part of the error's message. */
const IRREPLACEABLE: Record<string, (path: string) => Promise<Incumbent>> = {
  "a server that binds its path itself": async (path) =>
    incumbent(
      "It cannot be replaced, because it was not published by rename",
      await serve(path, greet("old")),
    ),
  "a claim": async (path) => incumbent("It cannot be replaced", await claim(path)),
  "a live server that does not use the lock": (path) => {
    const listener = Deno.listen({ transport: "unix", path });
    const serving = (async () => {
      for await (const conn of listener) conn.close();
    })();
    return Promise.resolve(incumbent("a process that does not use its lock listens there", {
      async [Symbol.asyncDispose]() {
        listener.close();
        await serving;
      },
    }));
  },
  "another program's server in the place of a server that was published by rename": async (
    path,
  ) => {
    const stack = new AsyncDisposableStack();
    stack.use(await serve({ path, ...RENAME, onPathLost() {} }, greet("old")));
    Deno.removeSync(path);
    const listener = Deno.listen({ transport: "unix", path });
    const serving = (async () => {
      for await (const conn of listener) conn.close();
    })();
    stack.defer(async () => {
      listener.close();
      await serving;
    });
    return incumbent("a process that does not use its lock listens there", stack);
  },
};

for (const [what, make] of Object.entries(IRREPLACEABLE)) {
  test(`serve() with existing: "replace" leaves ${what} alone`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using here = await make(path);
    const files = dir.list();
    const before = files.map((name) => look(dir.file(name)));
    const error = await assertRejects(() => serve({ path, ...REPLACE }, greet("new")), SocketInUse);
    assertStringIncludes(error.message, here.says);
    assertEquals([error.operation, error.path], ["serve", path]);
    assertEquals(dir.list(), files);
    assertEquals(files.map((name) => look(dir.file(name))), before);
  });
}

test('serve() with existing: "replace" leaves a file alone that took the place of a server\'s socket', async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _old = await serve({ path, ...RENAME, onPathLost() {} }, greet("old"));
  Deno.removeSync(path);
  Deno.writeTextFileSync(path, "precious");
  await assertRejects(() => serve({ path, ...REPLACE }, greet("new")), NotASocket);
  assertEquals(Deno.readTextFileSync(path), "precious");
});

test('serve() with existing: "replace" refuses the server of another user', async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using old = await other(path);
  Deno.chownSync(`${path}.lock`, 65534, 65534);
  const error = await assertRejects(() => serve({ path, ...REPLACE }, greet("new")), InsecurePath);
  assertEquals(error.path, `${path}.lock`);
  assertStringIncludes(error.message, "Stop that one first, or choose another path");
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
  await using conn = await connect(path);
  await conn.write(encode("x\n"));
  assertEquals(await readText(conn), `${old.pid} x\n`);
}, { root: true });

for (
  const [what, options, says] of [
    ['existing: "replace" without publish: "rename"', { existing: "replace" }, 'publish: "rename"'],
    ['selfHeal without publish: "rename"', { selfHeal: true }, 'publish: "rename"'],
    ['onReplaced without publish: "rename"', { onReplaced() {} }, 'publish: "rename"'],
    ["a selfHeal that is not a boolean", { ...RENAME, selfHeal: 1 }, "selfHeal"],
    ["an onReplaced that is not a function", { ...RENAME, onReplaced: 1 }, "onReplaced"],
    ["an onPathLost that is not a function", { onPathLost: {} }, "onPathLost"],
  ] as [string, Partial<ListenOptions>, string][]
) {
  test(`listen() and serve() refuse ${what} before anything happens`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    for (const own of [listen, (all: ListenOptions) => serve(all, async () => {})]) {
      const error = await assertRejects(() => own({ path, ...options }), TypeError, says);
      assertEquals(error.constructor, TypeError);
    }
    assertEquals(dir.list(), []);
  });
}

test('claim() refuses existing: "replace" without publish: "rename" with a TypeError', async () => {
  await using dir = new TempDir();
  await assertRejects(
    () => claim(dir.file("a.sock"), { existing: "replace" }),
    TypeError,
    'Invalid existing: "replace": it needs publish: "rename"',
  );
});

// ---- A successor that is killed -----------------------------------------------------------------

for (
  const [when, call] of [
    ["before it has published its socket", 'rename("a.sock.new")'],
    ["between its socket and its lock", 'rename("a.sock.lock.new")'],
  ] as const
) {
  test(`A successor that is killed ${when} leaves the path to the old server`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using old = await other(path);
    const file = call.includes("lock") ? `${path}.lock.new` : `${path}.new`;
    const deno = [Deno.execPath(), ...denoArgs("takeover_server.ts", SERVER_FLAGS(path), [path])];
    const killed = await run("strace", [
      ...["-P", file, ...changing("rename:signal=SIGKILL:when=1")],
      ...[...DIES, ...deno],
    ]);
    assertEquals([killed.code, killed.stdout], [137, ""]);
    await using conn = await connect({ path, wait: true, timeout: Infinity });
    await conn.write(encode("x\n"));
    assertEquals(await readText(conn), `${old.pid} x\n`);
    // Its leftovers do not disturb the next one.
    await using next = await other(path);
    assertEquals((await probe(path)).holder, next.pid);
    if (call.includes("lock")) assertEquals(await old.line(), "lost socket true");
    assertEquals(await old.line(), "replaced");
    // While the old server ends it holds the publish lock, which is a file.
    assertEquals(JSON.parse(await old.line()), { served: 1, errors: [] });
    assertEquals((await old.status).code, 0);
    assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
  }, { needs: ["strace", "setpriv"] });
}
