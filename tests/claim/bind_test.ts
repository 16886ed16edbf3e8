import { claim, InsecurePath, isSocketError, listen, probe, serve, SocketInUse } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as http from "node:http";
import { gate, isPending, makeStale, run, TempDir, test } from "../_helpers.ts";
import { assertRefused, look, modeOf } from "./_claim.ts";

/** HTTP servers that a claim protects. */
const HTTP: Record<string, (path: string) => AsyncDisposable> = {
  "Deno.serve": (path) => Deno.serve({ path, onListen() {} }, () => new Response("hello\n")),
  "a node:http server": (path) => {
    const server = http.createServer((_request, response) => response.end("hello\n"));
    return server.listen(path) as unknown as AsyncDisposable;
  },
};

for (const [name, open] of Object.entries(HTTP)) {
  test(`claim() protects ${name}: mode, reclaim, refusal of a second one, removal`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(path);
    {
      await using owned = await claim(path, { mode: 0o660 });
      assertEquals(owned.path, path);
      await using _server = await owned.bind(() => open(owned.path));
      assertEquals(modeOf(path), 0o660);
      const before = look(path);
      const { holder } = await assertRejects(() => claim(path), SocketInUse);
      assertEquals(holder, Deno.pid);
      assertEquals(look(path), before);

      const curl = await run("curl", ["-sS", "--unix-socket", path, "http://localhost/"]);
      assertEquals(curl, { code: 0, stdout: "hello\n", stderr: "" });
    }
    assertEquals(dir.list(), []);
  }, { needs: ["curl"] });
}

/** Returns a listener that records whether it was disposed of. */
function watched(path: string): Disposable & { disposed: boolean } {
  const listener = Deno.listen({ transport: "unix", path });
  return {
    disposed: false,
    [Symbol.dispose]() {
      if (!this.disposed) listener.close();
      this.disposed = true;
    },
  };
}

test("bind() refuses an open that binds nothing, and disposes of what it returned", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  let disposed = false;
  await assertRejects(
    () => owned.bind(() => ({ [Symbol.dispose]: () => void (disposed = true) })),
    TypeError,
    `Cannot claim "${path}": there is nothing after the bind. Bind exactly this path before open has ended`,
  );
  assertEquals(disposed, true);
  assertEquals(dir.list(), ["a.sock.lock"]);
});

test("bind() refuses an open that binds elsewhere, and disposes of the listener", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  const listener = watched(dir.file("b.sock"));
  await assertRejects(
    () => owned.bind(() => listener),
    TypeError,
    "there is nothing after the bind",
  );
  assertEquals(listener.disposed, true);
  assertEquals(dir.list(), ["a.sock.lock"]);
});

test("bind() refuses an open that writes a file instead, and leaves it", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  await assertRejects(
    () =>
      owned.bind(() => {
        Deno.writeTextFileSync(path, "precious");
        return { [Symbol.dispose]() {} };
      }),
    TypeError,
    "there is a regular file after the bind",
  );
  await owned.release();
  assertEquals(Deno.readTextFileSync(path), "precious");
  assertEquals(dir.list(), ["a.sock"]);
});

const NOT_DISPOSABLE: Record<string, [shown: string, result: (server: unknown) => unknown]> = {
  "returns nothing": ["undefined", () => undefined],
  "resolves to nothing": ["undefined", () => Promise.resolve()],
  "returns a value without dispose": ["an object (Object)", (server) => ({ server })],
};

for (const publish of ["direct", "rename"] as const) {
  for (const [what, [shown, result]] of Object.entries(NOT_DISPOSABLE)) {
    test(`bind() refuses an open that ${what}, with publish: "${publish}"`, async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      let server: ReturnType<typeof watched> | undefined;
      const open = (path: string) => result(server = watched(path)) as Disposable;
      {
        await using owned = await claim(path, { publish });
        await assertRejects(
          () => owned.bind(open),
          TypeError,
          "Invalid open: bind() expected a server from it that can be disposed of, " +
            `got ${shown}. Return the server that it starts`,
        );
        server?.[Symbol.dispose]();
      }
      assertEquals(dir.list(), []);
      await using owned = await claim(path, { publish });
      using _listener = await owned.bind(watched);
      assertEquals((await probe(path)).state, "alive");
    });
  }
}

const OWN_SERVERS: Record<string, (path: string) => Promise<AsyncDisposable>> = {
  "listen()": listen,
  "serve()": (path) => serve(path, async () => {}),
  "a claim()": claim,
};

for (const publish of ["direct", "rename"] as const) {
  for (const [name, open] of Object.entries(OWN_SERVERS)) {
    test(`bind() refuses ${name}, which claims its path itself, with publish: "${publish}"`, async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      {
        await using owned = await claim(path, { publish });
        const files = dir.list();
        const bound = publish === "rename" ? `${path}.new` : path;
        const error = await assertRejects(
          () => owned.bind(open),
          TypeError,
          `"${bound}": bind() of a claim in this process is opening it. listen(), serve() and ` +
            "claim() take the path themselves: do not call them in bind()",
        );
        assert(isSocketError(error));
        assertEquals([error.operation, error.path], [name.match(/\w+(?=\()/)?.[0], bound]);
        assertEquals(dir.list(), files);
      }
      assertEquals(dir.list(), []);
      await using _server = await open(path);
    });
  }
}

test("bind() binds again after an open that returned nothing and left a stale socket", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  const open = (path: string) => makeStale(path) as Promise<unknown>;
  await assertRejects(() => owned.bind(open as never), TypeError, "Invalid open: bind() expected");
  assertEquals(dir.list(), ["a.sock.lock"]);
  using _listener = await owned.bind(watched);
  assertEquals(modeOf(path), 0o600);
});

test("bind() waits for an open that binds later, and a release waits for both", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const owned = await claim(path);
  const { opened, open } = gate();
  const binding = owned.bind(async (path) => {
    await opened;
    return watched(path);
  });
  const released = owned.release();
  assertEquals(await isPending(released), true);
  open();
  using listener = await binding;
  await released;
  assertEquals(listener.disposed, false);
  assertEquals(dir.list(), []);
});

test("bind() refuses a second call until the first one is over", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using owned = await claim(path);
  const { opened, open } = gate<Deno.Listener>();
  const first = owned.bind(() => opened);
  const listen = (path: string) => Deno.listen({ transport: "unix", path });
  await assertRejects(
    () => owned.bind(listen),
    Deno.errors.BadResource,
    "another bind() is not over. Await it first",
  );
  open(listen(path));
  using _listener = await first;
  assertEquals((await probe(path)).state, "alive");
});

test("bind() passes on why an open that binds later fails, and removes the socket it has left", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  const reason = new Error("not today");
  const open = async () => {
    await makeStale(path);
    throw reason;
  };
  assertEquals(await assertRejects(() => owned.bind(open), Error), reason);
  assertEquals(dir.list(), ["a.sock.lock"]);
  using _listener = await owned.bind(() => Promise.resolve(watched(path)));
  assertEquals(modeOf(path), 0o600);
});

test("bind() refuses an open that binds nothing later, and disposes of what it resolved to", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  const listener = watched(dir.file("b.sock"));
  await assertRejects(
    () => owned.bind(() => Promise.resolve(listener)),
    TypeError,
    "there is nothing after the bind",
  );
  assertEquals(listener.disposed, true);
  assertEquals(dir.list(), ["a.sock.lock"]);
});

test("bind() names its path where an open binds another one that is in use, at once and later", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  using _other = watched(dir.file("b.sock"));
  const opens = [() => watched(dir.file("b.sock")), async () => {
    await Promise.resolve();
    return watched(dir.file("b.sock"));
  }];
  for (const open of opens) {
    const { cause } = await assertRejects(
      () => owned.bind<Disposable>(open),
      TypeError,
      "there is nothing after the bind. Bind exactly this path",
    );
    assertEquals((cause as { code?: string }).code, "EADDRINUSE");
  }
  assertEquals(dir.list(), ["a.sock.lock", "b.sock"]);
});

test("bind() starts a program under its umask, and refuses a later bind under a wider one", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path, { mode: 0o620 });
  let listener: ReturnType<typeof watched> | undefined;
  let umask = "";
  const open = async (path: string) => {
    umask = (await run("sh", ["-c", "umask"])).stdout;
    return listener = watched(path);
  };
  const before = Deno.umask(0);
  try {
    await assertRejects(() => owned.bind(open), InsecurePath, "umask");
  } finally {
    Deno.umask(before);
  }
  assertEquals(umask, "0057\n");
  assertEquals(listener?.disposed, true);
  assertEquals(dir.list(), ["a.sock.lock"]);
});

test("bind() passes on what open throws, and the claim can be used again", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  const reason = new Error("not today");
  const open = () => {
    throw reason;
  };
  assertEquals(await assertRejects(() => owned.bind(open), Error), reason);
  using _listener = await owned.bind(() => Deno.listen({ transport: "unix", path }));
  assertEquals(modeOf(path), 0o600);
});

test("bind() refuses a value that is not a function", async () => {
  await using dir = new TempDir();
  await using owned = await claim(dir.file("a.sock"));
  await assertRejects(() => owned.bind({} as never), TypeError, "open");
});

test("bind() rejects with SocketInUse if a program without the lock was faster", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const listening = listen(path);
  // The lock is ours by now, but the path is not bound yet.
  using foreign = Deno.listen({ transport: "unix", path });
  const before = look(path);
  await assertRefused(() => listening, {
    is: SocketInUse,
    says: `Cannot listen on "${path}"`,
    operation: "listen",
    path,
    code: "EADDRINUSE",
  });
  assertEquals(look(path), before);
  assertEquals(dir.list(), ["a.sock"]);
  assertEquals(foreign.addr.path, path);
});

test("bind() refuses a second listener while the first one of the same claim is open", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  const first = await owned.bind(watched);
  const before = look(path);
  await assertRefused(() => owned.bind(watched), {
    is: SocketInUse,
    says: "a listener of this claim is bound to it already. Close it first",
    operation: "claim",
    path,
    code: "EADDRINUSE",
  });
  assertEquals(look(path), before);
  first[Symbol.dispose]();
  using _second = await owned.bind(watched);
  assertEquals((await probe(path)).state, "alive");
});

test("release() is idempotent, also at once with itself and with the disposal", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const owned = await claim(path);
  using _listener = await owned.bind(() => Deno.listen({ transport: "unix", path }));
  await Promise.all([owned.release(), owned[Symbol.asyncDispose](), owned.release()]);
  assertEquals(dir.list(), []);
  await owned[Symbol.asyncDispose]();
  await owned.release();
  assertEquals(dir.list(), []);
});

test("release() after the disposal does not disturb the next owner", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const first = await claim(path);
  (await first.bind(() => Deno.listen({ transport: "unix", path }))).close();
  await first[Symbol.asyncDispose]();
  {
    await using second = await claim(path);
    using _listener = await second.bind(() => Deno.listen({ transport: "unix", path }));
    const files = dir.list();
    const before = files.map((file) => look(dir.file(file)));
    await first.release();
    await first[Symbol.asyncDispose]();
    assertEquals(dir.list(), files);
    assertEquals(files.map((file) => look(dir.file(file))), before);
  }
  assertEquals(dir.list(), []);
});

test("release() waits for the file that a pending accept still removes", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  for (let i = 0; i < 20; i++) {
    const owned = await claim(path);
    const listener = await owned.bind(() => Deno.listen({ transport: "unix", path }));
    const accepting = listener.accept().catch(() => {});
    listener.close();
    await owned.release();
    // The next owner must keep its file.
    await using _next = await listen(path);
    const before = look(path);
    await accepting;
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(look(path), before);
  }
});
