import { claim, InsecurePath, probe, serve, SocketInUse } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { uds } from "../_cli.ts";
import {
  changing,
  denoArgs,
  fixture,
  makeStale,
  Program,
  ROOT,
  ROOT_URL,
  run,
  TempDir,
  test,
} from "../_helpers.ts";
import { EXCHANGE, leaveLock, lockContent, pidIn } from "../_lock.ts";

/**
 * Our own locks: what a crash leaves of them, which process they name, and what keeps them from
 * being opened.
 */

/** Runs an owner of a path under strace, with one call changed. */
async function ownUnder(path: string, inject: string): Promise<string> {
  const strace = ["-P", `${path}.lock`, ...changing(inject)];
  const args = denoArgs("fault_owner.ts", ["-A"], [path, "listen", "{}"]);
  return (await run("strace", [...strace, Deno.execPath(), ...args])).stdout;
}

test(
  "serve() starts after a kill between the creation of its lock and its first line",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    assertEquals(await ownUnder(path, "write:signal=SIGKILL:when=1"), "");
    const { size, mode } = Deno.lstatSync(`${path}.lock`);
    assertEquals([size, mode! & 0o777], [0, 0o700]);
    assertEquals(await probe(path), { state: "free" });
    {
      await using _server = await serve(path, async () => {});
      assertEquals(pidIn(`${path}.lock`), Deno.pid);
    }
    assertEquals(dir.list(), []);
  },
  { needs: ["strace"] },
);

for (
  const [what, error, says] of [
    ["locks no files", "ENOLCK", "its file system cannot lock files by flock (no locks available)"],
    [
      "does not know locks",
      "EOPNOTSUPP",
      "its file system cannot lock files by flock (operation not supported)",
    ],
    ["is interrupted", "EINTR", "interrupted system call"],
  ] as const
) {
  test(`listen() on a file system that ${what} reports it, and leaves nothing`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const { message, operation } = JSON.parse(await ownUnder(path, `flock:error=${error}:when=1`));
    assertEquals([message.split(". ")[0], operation], [
      `Cannot listen on "${path}": ${says}`,
      "listen",
    ]);
    assertEquals(dir.list(), []);
  }, { needs: ["strace"] });
}

test("listen() ends in order where its lock cannot be unlocked: closing it does that", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  assertEquals(await ownUnder(path, "flock:error=EINTR:when=2"), "ready\nclosed\n");
  assertEquals(dir.list(), []);
}, { needs: ["strace"] });

for (
  const [what, cut] of [
    ["emptied", (lock: string) => Deno.truncateSync(lock)],
    [
      "overwritten with an invalid pid",
      (lock: string) => Deno.writeTextFileSync(lock, lockContent(1).replace("\n1\n  ", "\n-1 \n")),
    ],
  ] as const
) {
  test(`serve() keeps its path, and takes it again, with a lock that was ${what}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    {
      await using _server = await serve(path, async () => {});
      cut(`${path}.lock`);
      const error = await assertRejects(() => claim(path), SocketInUse, "a running process");
      assertEquals(error.holder, undefined);
    }
    assertEquals(dir.list(), []);
    leaveLock(`${path}.lock`, 1);
    cut(`${path}.lock`);
    await using _server = await serve(path, async () => {});
    assertEquals(pidIn(`${path}.lock`), Deno.pid);
  });
}

test("no pid of a stale lock is named while it is replaced, 200 times", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const seen = new Set<number | undefined>();
  let ended = false;
  const probing = (async () => {
    while (!ended) seen.add((await probe(path, { connect: false })).holder);
  })();
  for (let i = 0; i < 200; i++) {
    // The pid of an unrelated process.
    leaveLock(`${path}.lock`, Deno.ppid);
    await using _claim = await claim(path);
    assertEquals(pidIn(`${path}.lock`), Deno.pid);
  }
  ended = true;
  await probing;
  seen.delete(undefined);
  assertEquals([...seen].filter((pid) => pid !== Deno.pid), []);
});

test("serve() of a path that a worker of this process has does not name this process as the holder", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  // A second copy of the package, as in a worker, has the same pid and a lock of its own.
  const script = `
const { claim } = await import("${ROOT_URL}claim.ts");
await using _own = await claim(${JSON.stringify(path)});
const worker = new Worker(URL.createObjectURL(new Blob([\`
  import { claim } from "${ROOT_URL}claim.ts";
  postMessage(await claim(${JSON.stringify(path)}).catch((error) => error.message));
\`])), { type: "module" });
console.log(await new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data)));
worker.terminate();
`;
  Deno.writeTextFileSync(dir.file("main.ts"), script);
  const args = ["run", "-A", "--no-lock", "--config", `${ROOT}/deno.json`, dir.file("main.ts")];
  await using program = new Program(Deno.execPath(), args);
  const message = await program.line();
  assertStringIncludes(message, "or a worker of this one, which holds its lock");
});

// ---- Dead sockets that cannot be removed --------------------------------------------------------

test("uds rm of a dead socket that is a mount point does not advise to remove it", async () => {
  await using dir = new TempDir();
  await makeStale(dir.file("dead.sock"));
  Deno.writeTextFileSync(dir.file("a.sock"), "");
  const uds = [Deno.execPath(), ...denoArgs("./cli.ts", ["-A"], ["rm", dir.file("a.sock")])];
  const script = 'mount --bind "$1" "$2"; shift 2; "$@"';
  const { code, stderr } = await run("unshare", [
    ...["--mount", "sh", "-c", script, "sh", dir.file("dead.sock"), dir.file("a.sock")],
    ...uds,
  ]);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "It is a mount point: unmount it");
  assert(!stderr.includes("as that user"), stderr);
  assertEquals(dir.list(), ["a.sock", "dead.sock"]);
}, { root: true, needs: ["unshare", "mount"] });

test("uds rm of a symbolic link to a dead socket names the way out", async () => {
  await using dir = new TempDir();
  await makeStale(dir.file("dead.sock"));
  Deno.symlinkSync("dead.sock", dir.file("link"));
  const { code, stderr } = await uds(["rm", dir.file("link")]);
  assertEquals([code, stderr], [
    7,
    `uds: Cannot remove "${dir.file("link")}": it is a symbolic link, which was left untouched. ` +
    `Name the file that it leads to\n`,
  ]);
});

// ---- Files that block a process that opens them -------------------------------------------------

const AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/** Starts a program of another user in a directory. */
async function hostile(dir: TempDir, source: string): Promise<Program> {
  const lock = dir.file("a.sock.lock");
  const program = new Program("setpriv", [
    ...[...AS_NOBODY, "/usr/bin/python3", "-c", source, lock, lockContent(1)],
  ], { stdin: "piped" });
  assertEquals(await program.line(), "ready");
  return program;
}

test("serve() as root replaces a stale lock of another user by one of its own", async () => {
  await using dir = new TempDir(0o1777);
  const path = dir.file("a.sock");
  leaveLock(`${path}.lock`, 1);
  Deno.chownSync(`${path}.lock`, 65534, 65534);
  await using _server = await serve(path, async () => {});
  assertEquals([Deno.lstatSync(`${path}.lock`).uid, pidIn(`${path}.lock`)], [0, Deno.pid]);
}, { root: true });

test(
  "serve() leaves a lock of another user that it may not replace, in a sticky directory",
  async () => {
    await using dir = new TempDir(0o1777);
    const path = dir.file("a.sock");
    const lock = `${path}.lock`;
    leaveLock(lock, 1);
    // It can be opened, but not removed.
    Deno.chmodSync(lock, 0o777);
    const { ino, mtime } = Deno.lstatSync(lock);
    await using program = fixture("claim_as_nobody.ts", ["-A"], ["serve()", path, ""]);
    const error = JSON.parse(await program.line());
    assertEquals([error.name, error.operation, error.path], ["InsecurePath", "serve", lock]);
    assertStringIncludes(
      error.message,
      "it belongs to uid 0, and this process cannot open or replace it",
    );
    const after = Deno.lstatSync(lock);
    assertEquals([after.ino, after.mtime], [ino, mtime]);
    assertEquals(Deno.readTextFileSync(lock), lockContent(1));
  },
  { root: true },
);

/** Another user's lock with our content. It blocks a process that opens it for 45 s. */
const LEASE = `
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR, 0o700)
os.write(file, sys.argv[2].encode())
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
sys.stdin.read()
`;

test("probe() and serve() go on beside another user's lock that does not open", async () => {
  await using dir = new TempDir(0o1777);
  const path = dir.file("a.sock");
  await using program = await hostile(dir, LEASE);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 10);
  const start = performance.now();
  const [state, error] = await Promise.all([
    probe(path).then(({ state }) => state),
    assertRejects(() => serve(path, async () => {}), InsecurePath),
  ]);
  clearInterval(timer);
  assertEquals(state, "denied");
  assertStringIncludes(error.message, "it belongs to uid 65534, and this process cannot open");
  assert(performance.now() - start < 5000);
  assert(ticks > 20, `the event loop ran only ${ticks} times`);
  await program.stdin.close();
  await program.status;
  // The two late opens end with the lease.
  while ((await probe(path)).state === "denied");
}, { root: true, needs: ["setpriv", "python3"] });

test(
  "probe() never hangs where another user exchanges the lock and a fifo, 1,000 calls",
  async () => {
    await using dir = new TempDir(0o1777);
    const path = dir.file("a.sock");
    await using program = await hostile(dir, EXCHANGE);
    const states = new Set<string>();
    for (let i = 0; i < 1000; i++) states.add((await probe(path)).state);
    for (const state of states) assert(["free", "denied", "claimed"].includes(state), state);
    await program.stdin.close();
    await program.status;
  },
  { root: true, needs: ["setpriv", "python3"] },
);
