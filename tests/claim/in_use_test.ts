import { claim, listen, SocketInUse } from "@uds/uds";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  changing,
  denoArgs,
  DIES,
  fixture,
  FullListener,
  makeStale,
  Program,
  run,
  TempDir,
  test,
  testAlone,
} from "../_helpers.ts";
import { assertRefused, look, operationOf, ownerFlags, OWNERS } from "./_claim.ts";

/** Connects with Deno alone, and returns what the server sends. */
async function greetingAt(path: string): Promise<string> {
  const conn = await Deno.connect({ transport: "unix", path });
  return await new Response(conn.readable).text();
}

/** Servers that do not use the lock. Each returns `reach`, which proves that it still answers. */
const FOREIGN_SERVERS: Record<
  string,
  (path: string) => Promise<{ reach: () => Promise<void> } & Disposable>
> = {
  "an idle foreign server": (path) => {
    const listener = Deno.listen({ transport: "unix", path });
    return Promise.resolve({
      async reach() {
        // The connections of the refused owners come first.
        const client = await Deno.connect({ transport: "unix", path });
        await client.write(new Uint8Array([1]));
        for (let heard: number | null = null; heard === null;) {
          using conn = await listener.accept();
          heard = await conn.read(new Uint8Array(1));
        }
        client.close();
      },
      [Symbol.dispose]: () => listener.close(),
    });
  },
  "a foreign server with a full backlog": async (path) => {
    const full = await FullListener.open(path);
    return {
      async reach() {
        (await full.listener.accept()).close();
        (await Deno.connect({ transport: "unix", path })).close();
      },
      [Symbol.dispose]: () => full[Symbol.dispose](),
    };
  },
};

for (const [what, open] of Object.entries(FOREIGN_SERVERS)) {
  for (const [name, own] of Object.entries(OWNERS)) {
    test(`${name} never displaces ${what}`, async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      using server = await open(path);
      const before = look(path);
      const error = await assertRefused<SocketInUse>(() => own(path), {
        is: SocketInUse,
        says: what.includes("full") ? "listens there, and its backlog is full." : "listens there.",
        operation: operationOf(name),
        path,
        code: what.includes("full") ? "EAGAIN" : "EADDRINUSE",
      });
      assertEquals(error.holder, undefined);
      assertEquals(look(path), before);
      assertEquals(dir.list(), ["a.sock"]);
      await server.reach();
    });
  }
}

/** Waits until a process is stopped: the signal may still be on its way when `kill` returns. */
async function untilStopped(pid: number): Promise<void> {
  while (!(await run("ps", ["-o", "state=", "-p", `${pid}`])).stdout.startsWith("T"));
}

for (const how of ["serve", "raw"] as const) {
  const whose = how === "serve" ? "a server of the package" : "a foreign server";
  for (const stopped of [false, true]) {
    const what = `${whose} in another process${stopped ? " that is stopped" : ""}`;
    test(`claim(), listen() and serve() never displace ${what}`, async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      await using server = fixture("claim_greeter.ts", ownerFlags(path), [path, how]);
      await server.line();
      const before = look(path);
      if (stopped) {
        server.kill("SIGSTOP");
        await untilStopped(server.pid);
      }
      await Promise.all(
        Object.entries(OWNERS).map(async ([name, own]) => {
          const error = await assertRejects(() => own(path), SocketInUse);
          assertEquals([error.operation, error.path], [operationOf(name), path]);
          // The foreign server has no lock: the holder may be one of the other two calls.
          assertEquals(error.holder, how === "serve" ? server.pid : error.holder && Deno.pid);
        }),
      );
      if (stopped) server.kill("SIGCONT");
      assertEquals(look(path), before);
      assertEquals(await greetingAt(path), `hello from ${server.pid}`);
      assertEquals(dir.list(), how === "serve" ? ["a.sock", "a.sock.lock"] : ["a.sock"]);
    }, { needs: ["ps"] });
  }
}

testAlone(
  "claim() never displaces a foreign server that has bound the path and does not listen yet",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    // Until it listens, it refuses connections as a dead server does.
    const slow = changing("listen:delay_enter=60000");
    const deno = denoArgs("claim_greeter.ts", ownerFlags(path), [path, "raw"]);
    const command = [...slow, ...DIES, Deno.execPath(), ...deno];
    await using server = new Program("strace", command);
    while (!dir.list().includes("a.sock")) await new Promise((resolve) => setTimeout(resolve, 0));
    const before = look(path);
    await assertRefused<SocketInUse>(() => claim(path), {
      is: SocketInUse,
      says: "a process that does not use its lock listens there.",
      operation: "claim",
      path,
      code: "EADDRINUSE",
    });
    assertEquals(await server.line(), "ready");
    assertEquals(look(path), before);
    assertStringIncludes(await greetingAt(path), "hello from ");
  },
  { needs: ["strace", "setpriv"] },
);

test("claim() leaves a socket file that another program put in the place of a stale one meanwhile", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await makeStale(path);
  const claiming = assertRefused<SocketInUse>(() => claim(path), {
    is: SocketInUse,
    says: `Cannot claim "${path}": another process is binding it just now`,
    operation: "claim",
    path,
    code: "EADDRINUSE",
  });
  // The claim has checked the file, and will check again: exchange it before that.
  await new Promise((resolve) => setTimeout(resolve, 0));
  Deno.removeSync(path);
  await makeStale(path);
  const before = look(path);
  await claiming;
  assertEquals(look(path), before);
  assertEquals(dir.list(), ["a.sock"]);
});

for (const [first, own] of Object.entries(OWNERS)) {
  test(`a path of ${first} is refused to the same process, with its own pid as the holder`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using _owned = await own(path);
    const before = look(path);
    await Promise.all(
      Object.entries(OWNERS).map(async ([second, again]) => {
        const error = await assertRefused<SocketInUse>(() => again(path), {
          is: SocketInUse,
          says: "it is in use by this process, which holds its lock",
          operation: operationOf(second),
          path,
          code: "EADDRINUSE",
        });
        assertEquals(error.holder, Deno.pid);
      }),
    );
    assertEquals(look(path), before);
  });
}

test("claim() without a bind holds the path as well", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  {
    await using _owned = await claim(path);
    const error = await assertRejects(() => listen(path), SocketInUse);
    assertEquals(error.holder, Deno.pid);
    assertEquals(dir.list(), ["a.sock.lock"]);
  }
  assertEquals(dir.list(), []);
});
