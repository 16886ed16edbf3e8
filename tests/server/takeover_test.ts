import {
  claim,
  connect,
  type Connection,
  InsecurePath,
  listen,
  type ListenOptions,
  NotASocket,
  type PathLoss,
  permissionFlags,
  permissions,
  probe,
  serve,
  SocketInUse,
} from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  denoArgs,
  encode,
  fixture,
  makeStale,
  type Program,
  readText,
  run,
  TempDir,
  test,
  testAlone,
  within,
} from "../_helpers.ts";
import { leaveLock, lockContent, pidIn } from "../_lock.ts";

/** What a server has that others may replace. */
const RENAME = { publish: "rename" } as const;
/** What a server has that replaces another one. */
const REPLACE = { publish: "rename", existing: "replace" } as const;

const SERVER_FLAGS = (path: string) => permissionFlags(permissions("serve", path, RENAME));

/** Makes a traced program end with its tracer, which else would leave it behind when it is killed. */
const DIES = ["setpriv", "--pdeathsig", "KILL"];

/** A promise that a test settles when it likes. */
function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { opened: promise, open: resolve };
}

/** A handler that greets. */
const greet = (text: string) => async (conn: Connection) => void await conn.write(encode(text));

/** What the server at a path says. */
async function greetingAt(path: string): Promise<string> {
  await using conn = await connect(path);
  return `${await readText(conn)}`;
}

/** What is at a path, without its times. */
function look(path: string): unknown[] {
  const { dev, ino, mode, isFile } = Deno.lstatSync(path);
  return [dev, ino, mode, isFile && Deno.readTextFileSync(path)];
}

/** Another program that serves the path. */
async function other(path: string, options: Record<string, unknown> = {}): Promise<Program> {
  const program = fixture("takeover_server.ts", SERVER_FLAGS(path), [
    path,
    JSON.stringify(options),
  ]);
  assertEquals(await program.line(), "ready");
  return program;
}

/** Tests that mostly wait for seconds, at once: a failure says which of them it was, when all have ended. */
function together(name: string, rows: Record<string, () => Promise<void>>): void {
  testAlone(`${name} (${Object.keys(rows).length} cases at once)`, async () => {
    const entries = Object.entries(rows);
    const results = await Promise.allSettled(entries.map(([, run]) => run()));
    const failures = results.flatMap((result, i) =>
      result.status === "rejected"
        ? [new Error(`${entries[i]![0]}: ${result.reason}`, { cause: result.reason })]
        : []
    );
    if (failures.length > 0) throw failures[0];
  });
}

// ---- Replacing -----------------------------------------------------------------------------------

together("A server that is replaced", {
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
  "serve() that is replaced tells its handlers to finish, and gives its successor nothing to lose":
    async () => {
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
  "serve() that is replaced lets onReplaced say how long its handlers have": async () => {
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
  "serve() serves those in its backlog also where it is shut down before it knows of its successor":
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
  "listen() that is replaced gives out who had reached it, and then ends": async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const replaced = gate();
    const old = await listen({ path, ...RENAME, onReplaced: () => replaced.open() });
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(path)));
    await using successor = await listen({ path, ...REPLACE });
    // It asks for the first one only when it knows.
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
  'serve() with existing: "replace" ten times in a row: each is told, and the last one stays':
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
  'serve() with existing: "replace" takes over also where the name is gone': async () => {
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

/** What may be there that "replace" reclaims as "reclaim" does. */
const LEFT: Record<string, (path: string) => Promise<void> | void> = {
  "nothing": () => {},
  "a dead socket": makeStale,
  "a dead socket and the lock of a server that was published by rename": async (path) => {
    await makeStale(path);
    leaveLock(`${path}.lock`, 1, Deno.lstatSync(path).ino);
  },
  "what a successor left that was killed while it started": async (path) => {
    await makeStale(`${path}.new`);
    leaveLock(`${path}.lock.new`, 1, 5);
  },
};

for (const [what, make] of Object.entries(LEFT)) {
  test(`serve() with existing: "replace" starts where there is ${what}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await make(path);
    {
      await using _server = await serve({ path, ...REPLACE }, greet("hello"));
      assertEquals(await greetingAt(path), "hello");
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      const { ino } = Deno.lstatSync(path);
      assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid, ino));
    }
    assertEquals(dir.list(), []);
  });
}

test('serve() with existing: "fail" starts where a server was killed while it started', async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await makeStale(`${path}.new`);
  await using server = await serve(
    { path, publish: "rename", existing: "fail" },
    greet("hello"),
  );
  assertEquals(await greetingAt(path), "hello");
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
  await server.shutdown();
  assertEquals(dir.list(), []);
});

// ---- … and who is not replaced --------------------------------------------------------------------

interface Resident extends AsyncDisposable {
  says: string;
}

const resident = (says: string, it: AsyncDisposable): Resident => ({
  says,
  [Symbol.asyncDispose]: () => it[Symbol.asyncDispose](),
});

/** Who is left alone, and what is said then. */
const RESIDENTS: Record<string, (path: string) => Promise<Resident>> = {
  "a server that binds its path itself": async (path) =>
    resident(
      "It cannot be replaced, because it was not published by rename",
      await serve(path, greet("old")),
    ),
  "a claim": async (path) => resident("It cannot be replaced", await claim(path)),
  "a live server that does not use the lock": (path) => {
    const listener = Deno.listen({ transport: "unix", path });
    const serving = (async () => {
      for await (const conn of listener) conn.close();
    })();
    return Promise.resolve(resident("a program that does not use its lock listens there", {
      async [Symbol.asyncDispose]() {
        listener.close();
        await serving;
      },
    }));
  },
  "a live stranger in the place of a server that was published by rename": async (path) => {
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
    return resident("a program that does not use its lock listens there", stack);
  },
};

for (const [what, make] of Object.entries(RESIDENTS)) {
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
    ["a selfHeal that is no boolean", { ...RENAME, selfHeal: 1 }, "selfHeal"],
    ["an onReplaced that is no function", { ...RENAME, onReplaced: 1 }, "onReplaced"],
    ["an onPathLost that is no function", { onPathLost: {} }, "onPathLost"],
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

test('claim() refuses existing: "replace" with a TypeError', async () => {
  await using dir = new TempDir();
  await assertRejects(
    () => claim(dir.file("a.sock"), { existing: "replace" } as never),
    TypeError,
    'expected "reclaim" or "fail"',
  );
});

// ---- The path is watched --------------------------------------------------------------------------

/** What may become of a path, and how that is told. */
const LOSSES: Record<
  string,
  [lose: (path: string) => Disposable | void, found: PathLoss["found"]]
> = {
  "is removed": [(path) => Deno.removeSync(path), "nothing"],
  "is moved away": [(path) => Deno.renameSync(path, `${path}.away`), "nothing"],
  "is replaced by a file": [(path) => {
    Deno.removeSync(path);
    Deno.writeTextFileSync(path, "precious");
  }, "other"],
  "is replaced by a stranger's server": [(path) => {
    Deno.removeSync(path);
    return Deno.listen({ transport: "unix", path }) as Disposable;
  }, "socket"],
};

/** What lost its path, how, and the test of it. */
const lost: Record<string, () => Promise<void>> = {};
for (const [what, [lose, found]] of Object.entries(LOSSES)) {
  for (const publish of ["direct", "rename"] as const) {
    for (const name of ["listen", "serve"] as const) {
      lost[`${name}() with publish: "${publish}", whose path ${what}`] = async () => {
        await using dir = new TempDir();
        const path = dir.file("a.sock");
        const told = gate<PathLoss>();
        let count = 0;
        const onPathLost = (loss: PathLoss) => {
          count++;
          told.open(loss);
        };
        const options = { path, publish, onPathLost };
        await using _own = name === "listen"
          ? await listen(options)
          : await serve(options, greet("hello"));
        using _lost = lose(path) ?? undefined;
        assertEquals(await within(1000, told.opened), { path, found, heals: false });
        // At the next looks it is not told again.
        await new Promise((resolve) => setTimeout(resolve, 600));
        assertEquals(count, 1);
      };
    }
  }
}

/** Resolves when the server at a path answers again. */
async function healed(path: string, inode: number | null): Promise<void> {
  const hasChanged = () => {
    try {
      return Deno.lstatSync(path).ino !== inode;
    } catch {
      return false;
    }
  };
  while (!hasChanged()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Binds its path again, and drops no connection. */
function bindsAgain(name: "listen" | "serve"): () => Promise<void> {
  return async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const losses: PathLoss[] = [];
    const echo = async (conn: Connection) => {
      for (let text; (text = await readText(conn)) !== null;) await conn.write(encode(text));
    };
    const options = {
      path,
      ...RENAME,
      selfHeal: true,
      mode: 0o640,
      onPathLost: (loss: PathLoss) => losses.push(loss),
    };
    await using own = name === "serve" ? await serve(options, echo) : await listen(options);
    const serving = (async () => {
      if (!("accept" in own)) return;
      for await (const conn of own) echo(conn).finally(() => conn.close());
    })();
    const clients: Connection[] = [];
    for (let i = 0; i < 3; i++) {
      clients.push(await connect(path));
      const { ino } = Deno.lstatSync(path);
      // Those who are in the backlog of the old listener are not dropped either.
      const waiting = await Promise.all(Array.from({ length: 5 }, () => connect(path)));
      Deno.removeSync(path);
      await within(1000, healed(path, ino));
      assertEquals((Deno.lstatSync(path).mode ?? 0) & 0o777, 0o640);
      clients.push(...waiting, await connect(path));
      for (const [k, conn] of clients.entries()) {
        await conn.write(encode(`${k}`));
        assertEquals(await readText(conn), `${k}`);
      }
    }
    assertEquals(losses, Array(3).fill({ path, found: "nothing", heals: true }));
    assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
    const { ino } = Deno.lstatSync(path);
    assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid, ino));
    for (const conn of clients) conn.close();
    await own[Symbol.asyncDispose]();
    await serving;
    assertEquals(dir.list(), []);
  };
}

together("A server that has lost its path", {
  "listen() with selfHeal binds its path again, and drops no connection": bindsAgain("listen"),
  "serve() with selfHeal binds its path again, and drops no connection": bindsAgain("serve"),
  ...lost,
  "serve() makes its lock again that somebody removed, and nobody else gets the path": async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    for (const publish of ["direct", "rename"] as const) {
      {
        await using _server = await serve({ path, publish }, greet("hello"));
        const before = Deno.readTextFileSync(`${path}.lock`);
        Deno.removeSync(`${path}.lock`);
        while (!dir.list().includes("a.sock.lock")) {
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        assertEquals(Deno.readTextFileSync(`${path}.lock`), before);
        const { holder } = await assertRejects(() => claim(path), SocketInUse);
        assertEquals(holder, Deno.pid);
      }
      assertEquals(dir.list(), []);
    }
  },
  "listen() that was unref'ed does not keep the process alive after it has healed": async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using program = fixture("takeover_unref.ts", SERVER_FLAGS(path), [path]);
    assertEquals(await program.line(), "ready");
    Deno.removeSync(path);
    assertEquals(await program.line(), "healed");
    assertEquals((await within(3000, program.status)).code, 0);
  },
  "A server whose path is lost for good does not make a lock that would keep the next one away":
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      const told = gate();
      await using _old = await serve({ path, onPathLost: () => told.open() }, greet("old"));
      Deno.removeSync(path);
      Deno.removeSync(`${path}.lock`);
      await told.opened;
      await using _next = await serve(path, greet("new"));
      assertEquals(await greetingAt(path), "new");
    },
  "serve() prints a line where nobody asks to be told of a lost path": async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using server = fixture("claim_greeter.ts", permissionFlags(permissions("serve", path)), [
      path,
      "serve",
    ]);
    assertEquals(await server.line(), "ready");
    Deno.removeSync(path);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    server.kill("SIGTERM");
    assertEquals(
      await server.stderr(),
      `uds: The socket "${path}" was removed. New clients do not reach this server any more\n`,
    );
  },
  "serve() with selfHeal waits until a stranger's file is gone": async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const told = gate<PathLoss>();
    await using _server = await serve(
      { path, ...RENAME, selfHeal: true, onPathLost: told.open },
      greet("hello"),
    );
    Deno.removeSync(path);
    Deno.writeTextFileSync(path, "precious");
    assertEquals(await told.opened, { path, found: "other", heals: false });
    assertEquals(Deno.readTextFileSync(path), "precious");
    const { ino } = Deno.lstatSync(path);
    Deno.removeSync(path);
    await within(1000, healed(path, ino));
    assertEquals(await greetingAt(path), "hello");
  },
  "serve() with selfHeal is there again when its directory is": async () => {
    await using dir = new TempDir();
    Deno.mkdirSync(dir.file("d"));
    const path = dir.file("d/a.sock");
    const told = gate<PathLoss>();
    const errors: unknown[] = [];
    await using _server = await serve({
      path,
      ...RENAME,
      selfHeal: true,
      onPathLost: told.open,
      onError: (error) => errors.push((error as { code?: string }).code),
    }, greet("hello"));
    Deno.removeSync(dir.file("d"), { recursive: true });
    assertEquals(await within(1000, told.opened), { path, found: "nothing", heals: false });
    Deno.mkdirSync(dir.file("d"));
    await within(1000, healed(path, null));
    assertEquals(await greetingAt(path), "hello");
    assertEquals(errors, ["ENOENT"]);
  },
  "serve() with selfHeal survives a directory that becomes a file while it waits for its turn":
    async () => {
      await using dir = new TempDir();
      Deno.mkdirSync(dir.file("d"));
      const path = dir.file("d/a.sock");
      const told = gate<PathLoss>();
      const errors: unknown[] = [];
      await using _server = await serve({
        path,
        ...RENAME,
        selfHeal: true,
        onPathLost: told.open,
        onError: (error) => errors.push((error as { code?: string }).code),
      }, greet("hello"));
      {
        using turn = Deno.openSync(`${path}.lock.new`, {
          write: true,
          createNew: true,
          mode: 0o700,
        });
        turn.lockSync(true);
        Deno.removeSync(path);
        // The loss is noticed after 300 ms; then the server waits for the turn.
        await new Promise((resolve) => setTimeout(resolve, 600));
        Deno.renameSync(dir.file("d"), dir.file("e"));
        Deno.writeTextFileSync(dir.file("d"), "");
        assertEquals(await within(1000, told.opened), { path, found: "other", heals: false });
      }
      assertEquals(errors, ["ENOTDIR"]);
      Deno.removeSync(dir.file("d"));
      Deno.renameSync(dir.file("e"), dir.file("d"));
      await within(1000, healed(path, null));
      assertEquals(await greetingAt(path), "hello");
    },
  "serve() with selfHeal can be replaced, shut down and healed again after it has healed":
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      const replaced = gate();
      const options = { path, ...REPLACE, selfHeal: true, onPathLost() {} };
      const heal = async () => {
        const { ino } = Deno.lstatSync(path);
        Deno.removeSync(path);
        await healed(path, ino);
      };
      const old = await serve({ ...options, onReplaced: () => replaced.open() }, greet("old"));
      await heal();
      assertEquals(await greetingAt(path), "old");
      const next = await serve(options, greet("new"));
      assertEquals(await greetingAt(path), "new");
      await replaced.opened;
      await old.finished;
      await heal();
      assertEquals(await greetingAt(path), "new");
      // While the old listener of the two is still being emptied.
      await next.shutdown();
      assertEquals(dir.list(), []);
    },
});

testAlone("onPathLost is called once where binding the path again fails at first", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const losses: PathLoss[] = [];
  const errors: unknown[] = [];
  await using _server = await serve({
    path,
    ...RENAME,
    selfHeal: true,
    onPathLost: (loss) => losses.push(loss),
    onError: (error) => errors.push((error as { code?: string }).code),
  }, greet("hello"));
  const { ino } = Deno.lstatSync(path);
  const { listen } = Deno;
  // What a lack of descriptors does at that moment.
  Deno.listen = () => {
    Deno.listen = listen;
    throw Object.assign(new Error("Too many open files (os error 24)"), { code: "EMFILE" });
  };
  try {
    Deno.removeSync(path);
    await within(2000, healed(path, ino));
  } finally {
    Deno.listen = listen;
  }
  assertEquals(await greetingAt(path), "hello");
  assertEquals(losses, [{ path, found: "nothing", heals: true }]);
  assertEquals(errors, ["EMFILE"]);
});

// ---- A successor that does not come to its end -----------------------------------------------------

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
      ...["-f", "-qq", "-o", "/dev/null", "-P", file, "-e", "inject=rename:signal=SIGKILL:when=1"],
      ...[...DIES, ...deno],
    ]);
    assertEquals([killed.code, killed.stdout], [137, ""]);
    await using conn = await connect({ path, wait: true });
    await conn.write(encode("x\n"));
    assertEquals(await readText(conn), `${old.pid} x\n`);
    // What it left does not disturb the next one.
    await using next = await other(path);
    assertEquals((await probe(path)).holder, next.pid);
    if (call.includes("lock")) assertEquals(await old.line(), "lost socket true");
    assertEquals(await old.line(), "replaced");
    // Nothing of it is left; the old server takes its turn for a moment.
    while (dir.list().length > 2) await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
  }, { needs: ["strace", "setpriv"] });
}
