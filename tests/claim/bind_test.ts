import { claim, listen, SocketInUse } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import * as http from "node:http";
import { makeStale, run, TempDir, test } from "../_helpers.ts";
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
    `Cannot claim "${path}": there is nothing after the bind. Bind exactly this path, synchronously`,
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

test("bind() refuses an open that binds later, and disposes of the listener", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using owned = await claim(path);
  const opened = Promise.withResolvers<ReturnType<typeof watched>>();
  const open = async () => {
    await Promise.resolve();
    const listener = watched(path);
    opened.resolve(listener);
    return listener;
  };
  await assertRejects(
    () => owned.bind(open as unknown as () => Disposable),
    TypeError,
    "synchronously",
  );
  using listener = await opened.promise;
  // A promise settles in fewer than two turns.
  for (let i = 0; i < 2; i++) await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(listener.disposed, true);
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
