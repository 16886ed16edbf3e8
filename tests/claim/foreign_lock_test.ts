import { claim, InsecurePath, listen, probe, serve, SocketInUse } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { moveAside } from "../../_internal/path/move_aside.ts";
import { uds } from "../_cli.ts";
import { denoArgs, makeStale, Program, run, TempDir, test } from "../_helpers.ts";
import { lockContent } from "../_lock.ts";

/** Locks of other programs at `<socket>.lock`, the name of ours. */

/** The locks that other programs have there, by the name of the program. */
const FOREIGN: Record<string, (lock: string) => Promise<void> | void> = {
  "MySQL, its pid": (lock) => Deno.writeTextFileSync(lock, `${Deno.pid}\n`, { mode: 0o600 }),
  "MUNGE, an empty file": (lock) => {
    Deno.writeTextFileSync(lock, "");
    Deno.chmodSync(lock, 0o200);
  },
  "tmux, an empty file of mode 0600": (lock) => Deno.writeTextFileSync(lock, "", { mode: 0o600 }),
  "PostgreSQL, several lines": (lock) =>
    Deno.writeTextFileSync(lock, `${Deno.pid}\n/var/lib/postgresql\n1700000000\n5432\n`),
  "Wayland, a pid in 11 bytes": (lock) =>
    Deno.writeTextFileSync(lock, `${Deno.pid}`.padStart(10) + "\n"),
  "an unknown program, a file as long as ours": (lock) =>
    Deno.writeTextFileSync(lock, "x".repeat(lockContent(1).length)),
  "Emacs, a symbolic link to nothing": (lock) => Deno.symlinkSync("user@host.1:2", lock),
  "an unknown program, a symbolic link to a lock of ours": (lock) => {
    Deno.writeTextFileSync(`${lock}.target`, lockContent(1), { mode: 0o700 });
    Deno.symlinkSync(`${lock}.target`, lock);
  },
  "an unknown program, a lock of ours with a second name": (lock) => {
    Deno.writeTextFileSync(lock, lockContent(1), { mode: 0o700 });
    Deno.linkSync(lock, `${lock}.second`);
  },
  "an unknown program, a directory": (lock) => Deno.mkdirSync(lock),
  "an unknown program, a fifo": async (lock) => {
    assertEquals((await run("mkfifo", [lock])).code, 0);
  },
};

const OWNERS: Record<string, (path: string) => Promise<AsyncDisposable>> = {
  claim: (path) => claim(path),
  listen: (path) => listen(path),
  serve: (path) => serve(path, async () => {}),
  "serve by rename": (path) =>
    serve({ path, publish: "rename", existing: "replace" }, async () => {}),
};

/** Returns all that shows whether a file was touched, except when it was last read. */
function look(lock: string): Record<string, unknown> {
  const { dev, ino, mode, uid, gid, nlink, size, mtime, ctime } = Deno.lstatSync(lock);
  return { dev, ino, mode, uid, gid, nlink, size, mtime, ctime };
}

for (const [what, plant] of Object.entries(FOREIGN)) {
  test(`a live server beside the lock of ${what}, is in use, and both stay as they are`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await plant(`${path}.lock`);
    using _live = Deno.listen({ transport: "unix", path });
    const before = look(`${path}.lock`);
    await Promise.all(
      Object.values(OWNERS).map(async (own) => {
        const error = await assertRejects(() => own(path), SocketInUse);
        assertStringIncludes(error.message, "a process that does not use its lock listens there");
        assertEquals([error.path, error.holder], [path, undefined]);
      }),
    );
    const { state, holder } = await probe(path);
    assertEquals([state, holder], ["alive", undefined]);
    assertEquals(look(`${path}.lock`), before);
  });

  test(`a dead socket beside the lock of ${what}, is left as it is, and its lock is named`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await plant(`${path}.lock`);
    await makeStale(path);
    const before = [look(`${path}.lock`), look(path)];
    await Promise.all(
      Object.values(OWNERS).map(async (own) => {
        const error = await assertRejects(() => own(path), InsecurePath);
        assertEquals(error.path, `${path}.lock`);
        assertStringIncludes(error.message, "it is not a lock of this package");
        assertStringIncludes(error.message, "if no program uses it any more");
      }),
    );
    // serve() is refused there, so "stale" would be wrong.
    assertEquals((await probe(path)).state, "denied");
    assertEquals([look(`${path}.lock`), look(path)], before);
  });
}

test("no command touches the lock of a live server of another program", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const lock = `${path}.lock`;
  FOREIGN["MySQL, its pid"]!(lock);
  using _live = Deno.listen({ transport: "unix", path });
  const before = look(lock);
  const commands = [
    [5, "rm", path],
    [5, "echo", path],
    [5, "listen", path],
    [5, "serve", path, "--", "cat"],
    [5, "relay", path, dir.file("b.sock")],
    [0, "probe", path],
    [0, "ls", dir.path],
  ] as const;
  await Promise.all(commands.map(async ([code, ...args]) => {
    const ended = await uds(args, { flags: ["-A"] });
    assertEquals(ended.code, code, `${args[0]}: ${ended.stderr}`);
  }));
  assertEquals(look(lock), before);
});

test(
  "serve() makes no system call but a stat of another program's lock, also as the publish lock",
  async () => {
    for (const name of ["a.sock.lock", "a.sock.lock.new"]) {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      FOREIGN["MySQL, its pid"]!(dir.file(name));
      const trace = dir.file("trace");
      const strace = ["-f", "-qq", "-o", trace, "-P", dir.file(name)];
      const options = JSON.stringify({ publish: "rename", existing: "replace" });
      const args = denoArgs("fault_owner.ts", ["-A"], [path, "listen", options]);
      const { stdout } = await run("strace", [...strace, Deno.execPath(), ...args]);
      assertEquals(JSON.parse(stdout).name, "InsecurePath");
      const calls = Deno.readTextFileSync(trace).matchAll(/^\d+ +([a-z_0-9]+)\(/gm);
      const names = new Set([...calls].map(([, call]) => call));
      for (const call of names) {
        assert(
          /^(stat|lstat|newfstatat|statx|readlink)$/.test(call!),
          call,
        );
      }
      assert(names.size > 0);
    }
  },
  { needs: ["strace"] },
);

test("serve() leaves a lock that another program holds by flock, though it has our size", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const lock = `${path}.lock`;
  FOREIGN["an unknown program, a file as long as ours"]!(lock);
  const starting = assertRejects(() => serve(path, async () => {}), InsecurePath);
  // It is never ours: each attempt to lock it without waiting succeeds.
  using file = Deno.openSync(lock);
  for (let i = 0; i < 50; i++) {
    assert(file.tryLockSync(true), `attempt ${i}`);
    file.unlockSync();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await starting;
});

test("serve() that lost its lock to another program leaves that one's, also at its end", async () => {
  for (const publish of ["direct", "rename"] as const) {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const lock = `${path}.lock`;
    const server = await serve({ path, publish, selfHeal: publish === "rename" }, async () => {});
    Deno.removeSync(lock);
    FOREIGN["MySQL, its pid"]!(lock);
    const before = look(lock);
    const replace = { path, publish: "rename", existing: "replace" } as const;
    await assertRejects(() => serve(replace, async () => {}), SocketInUse, "does not use its lock");
    // The server checks its path and its lock every 250 ms.
    await new Promise((resolve) => setTimeout(resolve, 600));
    assertEquals(look(lock), before);
    await server.shutdown();
    assertEquals(look(lock), before);
    assertEquals(dir.list(), ["a.sock.lock"]);
  }
});

test("moveAside() leaves a lock alone that another program put in the place of the file moved aside", async () => {
  await using dir = new TempDir();
  const [path, aside] = [dir.file("a.sock"), dir.file("a.sock.lock")];
  Deno.writeTextFileSync(path, "another program's");
  await moveAside(path, aside, async () => {
    Deno.renameSync(aside, dir.file("taken"));
    Deno.writeTextFileSync(aside, "1\n");
    await Promise.resolve();
  });
  assertEquals(dir.list(), ["a.sock.lock", "taken"]);
  assertEquals(Deno.readTextFileSync(aside), "1\n");
});

test("serve() leaves a server alone that holds its own lock by fcntl, as MUNGE does", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const program = `
import fcntl, os, socket, sys
path = sys.argv[1]
lock = os.open(path + ".lock", os.O_CREAT | os.O_WRONLY, 0o200)
fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
print("ready", flush=True)
sys.stdin.read()
`;
  await using munge = new Program("python3", ["-c", program, path], { stdin: "piped" });
  assertEquals(await munge.line(), "ready");
  const before = look(`${path}.lock`);
  await assertRejects(() => serve(path, async () => {}), SocketInUse);
  await assertRejects(() => claim(path), SocketInUse);
  assertEquals(look(`${path}.lock`), before);
}, { needs: ["python3"] });
