import { claim, listen, NotASocket, serve, SocketInUse } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";
import { look, REPLACEMENTS } from "./_claim.ts";

// ---- Closing removes only what is ours ----------------------------------------------------------

/** Owners, some with an accept that is pending while the path is replaced. */
const CLOSERS: Record<string, (path: string) => Promise<AsyncDisposable>> = {
  "listen() that is idle": (path) => listen(path),
  "listen() with an accept pending": async (path) => {
    const listener = await listen(path);
    listener.accept().then((conn) => conn.close(), () => {});
    return listener;
  },
  "serve()": (path) => serve(path, async () => {}),
  "claim()": async (path) => {
    const owned = await claim(path);
    // Deno's own close() would remove any file at the path. Bound by another name, it cannot.
    const listener = await owned.bind(() => {
      const opened = Deno.listen({ transport: "unix", path: `${path}.1` });
      Deno.renameSync(`${path}.1`, path);
      return opened;
    });
    const stack = new AsyncDisposableStack();
    stack.use(owned);
    stack.use(listener);
    return stack;
  },
};

for (const [name, own] of Object.entries(CLOSERS)) {
  for (const [what, make] of Object.entries(REPLACEMENTS)) {
    test(`${name} does not remove ${what} that took the place of its file`, async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      const owned = await own(path);
      Deno.removeSync(path);
      // Without a delay, because the file system may use the inode number again.
      const remove = make(path);
      const before = look(path);
      await owned[Symbol.asyncDispose]();
      assertEquals(look(path), before);
      assertEquals(dir.list(), ["a.sock"]);
      if (what === "a live socket") (await Deno.connect({ transport: "unix", path })).close();
      remove();
    });
  }

  test(`${name} leaves its file where another program moved it, and closes cleanly`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const owned = await own(path);
    Deno.renameSync(path, dir.file("moved.sock"));
    await owned[Symbol.asyncDispose]();
    assertEquals(dir.list(), ["moved.sock"]);
  });

  test(`${name} closes cleanly when another program has removed its file and its lock`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const owned = await own(path);
    Deno.removeSync(path);
    Deno.removeSync(`${path}.lock`);
    await owned[Symbol.asyncDispose]();
    assertEquals(dir.list(), []);
  });

  test(`${name} does not remove a new lock of another program`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const owned = await own(path);
    Deno.removeSync(`${path}.lock`);
    Deno.writeTextFileSync(`${path}.lock`, "1\n");
    const before = look(`${path}.lock`);
    await owned[Symbol.asyncDispose]();
    assertEquals(look(`${path}.lock`), before);
    assertEquals(dir.list(), ["a.sock.lock"]);
  });
}

for (const content of ["", "12345\n"]) {
  const what = content === "" ? "an empty file" : "a file with a number";
  test(`claim() during a close() does not take ${what} of another program for the lock`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const listener = await listen(path);
    listener.accept().then((conn) => conn.close(), () => {});
    Deno.removeSync(path);
    Deno.writeTextFileSync(path, content);
    const before = look(path);
    // The close moves that file out of Deno's way. A claim must not use it meanwhile.
    const closing = listener.close();
    const error = await assertRejects(() => claim(path), NotASocket);
    assertEquals(error.path, path);
    await closing;
    assertEquals(look(path), before);
    assertEquals(dir.list(), ["a.sock"]);
  });
}

// ---- After the end, and after other owners ------------------------------------------------------

test("bind() after release() rejects, and binds nothing", async () => {
  await using dir = new TempDir();
  const path = await claim(dir.file("s.sock"));
  await path.release();
  await assertRejects(
    () => path.bind(() => Deno.listen({ transport: "unix", path: path.path })),
    Deno.errors.BadResource,
    "released",
  );
  assertEquals(dir.list(), []);
});

for (const name of ["listen", "serve"] as const) {
  test(`${name}() leaves its successor's socket and lock alone after its own were removed`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const old = name === "listen" ? await listen(path) : await serve(path, async () => {});
    await Deno.remove(path);
    await Deno.remove(`${path}.lock`);
    await using _successor = await listen(path);
    const inodes = () => [Deno.lstatSync(path).ino, Deno.lstatSync(`${path}.lock`).ino];
    const before = inodes();
    await old[Symbol.asyncDispose]();
    assertEquals(inodes(), before);
    await assertRejects(() => claim(path), SocketInUse);
    (await Deno.connect({ transport: "unix", path })).close();
  });

  test(`${name}() stops waiting for a lock when its signal aborts, with its reason`, async () => {
    await using dir = new TempDir();
    await using _claim = await claim(dir.file("s.sock"));
    const abort = new AbortController();
    const reason = new Error("no longer");
    const options = { path: dir.file("s.sock"), signal: abort.signal };
    const starting = name === "listen" ? listen(options) : serve(options, async () => {});
    abort.abort(reason);
    assertEquals(await assertRejects(() => starting, Error), reason);
  });
}
