import {
  claim,
  connect,
  type Connection,
  listen,
  type PathLoss,
  permissionFlags,
  permissions,
  serve,
  SocketInUse,
} from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { encode, fixture, gate, readText, TempDir, testAlone, within } from "../_helpers.ts";
import { lockContent } from "../_lock.ts";
import { greet, greetingAt, RENAME, REPLACE, SERVER_FLAGS, testAloneAtOnce } from "./_takeover.ts";

/** Ways to lose a path, each with the `found` that is reported. */
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
  "is replaced by another program's server": [(path) => {
    Deno.removeSync(path);
    return Deno.listen({ transport: "unix", path }) as Disposable;
  }, "socket"],
};

/** The cases by their names: the function, how it lost its path, and the test. */
const lost: Record<string, () => Promise<void>> = {};

for (const [what, [lose, found]] of Object.entries(LOSSES)) {
  for (const publish of ["direct", "rename"] as const) {
    for (const name of ["listen", "serve"] as const) {
      lost[`${name}() with publish: "${publish}" when its path ${what}`] = async () => {
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
        // The next checks do not report it again.
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
      // Clients in the backlog of the old listener are not dropped either.
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

testAloneAtOnce("A server that has lost its path", {
  "listen() with selfHeal binds its path again, and drops no connection": bindsAgain("listen"),
  "serve() with selfHeal binds its path again, and drops no connection": bindsAgain("serve"),
  ...lost,
  "serve() makes a removed lock file again, and no other server gets the path": async () => {
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
    assertEquals((await program.status).code, 0);
  },
  "A server that has lost its path for good does not make a lock that blocks the next one":
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
  "serve() without onPathLost prints a line": async () => {
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
  "serve() with selfHeal waits until another program's file is gone": async () => {
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
  "serve() with selfHeal binds its path again once its directory exists": async () => {
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
  "serve() with selfHeal survives a directory that becomes a file while it waits for the publish lock":
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
        using publishLock = Deno.openSync(`${path}.lock.new`, {
          write: true,
          createNew: true,
          mode: 0o700,
        });
        publishLock.lockSync(true);
        Deno.removeSync(path);
        // The loss is noticed after 300 ms. Then the server waits for the publish lock.
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
      // The old listener of the two is still draining.
      await next.shutdown();
      assertEquals(dir.list(), []);
    },
});

testAlone("onPathLost is called once when binding the path again fails at first", async () => {
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
  // Stands for a lack of descriptors at that moment.
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
