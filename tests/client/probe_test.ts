import { claim, connect, listen, probe, type ProbeOptions, serve } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  encode,
  fixture,
  FullListener,
  makeStale,
  Program,
  readText,
  run,
  TempDir,
  test,
} from "../_helpers.ts";
import { leaveLock, lockContent } from "../_lock.ts";

const UID = Deno.uid() ?? undefined;
const GID = Deno.gid() ?? undefined;

/** Returns the file at a path as `probe()` describes it, symbolic links followed. */
function fileOf(path: string): { mode?: number; uid?: number; gid?: number } {
  const { mode, uid, gid } = Deno.statSync(path);
  return { mode: (mode ?? 0) & 0o777, uid: uid as number, gid: gid as number };
}

/** Asserts that a probe without a connection rejects, because it would need one. */
async function assertNeedsConnection(path: string): Promise<void> {
  const error = await assertRejects(
    () => probe(path, { connect: false }),
    Deno.errors.NotSupported,
    "Leave out connect: false",
  ) as Error & { operation?: string; path?: string };
  assertEquals([error.operation, error.path], ["probe", path]);
}

// ---- Every state --------------------------------------------------------------------------------

for (const options of [{}, { connect: false }] as ProbeOptions[]) {
  const call = options.connect === false ? "probe({ connect: false })" : "probe()";

  test(`${call} of nothing is free`, async () => {
    await using dir = new TempDir();
    assertEquals(await probe(dir.file("s.sock"), options), { state: "free" });
    assertEquals(dir.list(), []);
  });

  test(`${call} in a directory that does not exist is free`, async () => {
    await using dir = new TempDir();
    assertEquals(await probe(dir.file("no/s.sock"), options), { state: "free" });
  });

  test(`${call} of a stale lock file is free, and leaves it`, async () => {
    await using dir = new TempDir();
    leaveLock(dir.file("s.sock.lock"), 1);
    assertEquals(await probe(dir.file("s.sock"), options), { state: "free" });
    assertEquals(await Deno.readTextFile(dir.file("s.sock.lock")), lockContent(1));
  });

  test(`${call} of a claim without a socket is claimed, by its process`, async () => {
    await using dir = new TempDir();
    await using _claim = await claim(dir.file("s.sock"));
    assertEquals(await probe(dir.file("s.sock"), options), { state: "claimed", holder: Deno.pid });
  });

  test(`${call} of a held lock without a pid is claimed, by an unknown process`, async () => {
    await using dir = new TempDir();
    const own = { write: true, createNew: true, mode: 0o700 };
    using lock = await Deno.open(dir.file("s.sock.lock"), own);
    await lock.lock(true);
    assertEquals(await probe(dir.file("s.sock"), options), { state: "claimed" });
  });

  test(`${call} of a held lock beside a dead socket is claimed`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using _claim = await claim(path);
    await makeStale(path);
    const { state, holder } = await probe(path, options);
    assertEquals([state, holder], ["claimed", Deno.pid]);
  });

  for (
    const [what, make] of [
      ["a regular file", (path) => Deno.writeTextFile(path, "data")],
      ["a directory", (path) => Deno.mkdir(path)],
      ["a symbolic link to a file", async (path) => {
        await Deno.writeTextFile(`${path}.target`, "data");
        await Deno.symlink(`${path}.target`, path);
      }],
    ] as [string, (path: string) => Promise<void>][]
  ) {
    test(`${call} of ${what} is not-a-socket, and leaves it`, async () => {
      await using dir = new TempDir();
      const path = dir.file("s.sock");
      await make(path);
      const before = fileOf(path);
      assertEquals(await probe(path, options), { state: "not-a-socket", ...before });
      assertEquals(fileOf(path), before);
    });
  }

  test(`${call} of a device is not-a-socket`, async () => {
    assertEquals(await probe("/dev/null", options), {
      state: "not-a-socket",
      ...fileOf("/dev/null"),
    });
  });

  test(`${call} of a fifo is not-a-socket, and does not open it`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    assertEquals((await run("mkfifo", [path])).code, 0);
    assertEquals(await probe(path, options), { state: "not-a-socket", ...fileOf(path) });
  }, { needs: ["mkfifo"] });

  test(`${call} of a symbolic link to nothing is not-a-socket, and makes nothing`, async () => {
    await using dir = new TempDir();
    await Deno.symlink(dir.file("absent"), dir.file("s.sock"));
    assertEquals(await probe(dir.file("s.sock"), options), { state: "not-a-socket" });
    assertEquals(dir.list(), ["s.sock"]);
  });
}

for (const [kind, type] of [["datagram", "SOCK_DGRAM"], ["sequenced-packet", "SOCK_SEQPACKET"]]) {
  test(`probe() of a ${kind} socket is other-type while its program runs, then stale`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using peer = await otherSocket(path, type as string);
    assertEquals(await probe(path), { state: "other-type", ...fileOf(path) });
    await peer.stdin.close();
    await peer.status;
    assertEquals(await probe(path), { state: "stale", ...fileOf(path) });
  }, { needs: ["python3"] });
}

/** Starts a program that has a socket of another type open at a path. */
async function otherSocket(path: string, type: string): Promise<Program> {
  const program = new Program("python3", [
    "-c",
    `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.${type})
s.bind(sys.argv[1])
if s.type == socket.SOCK_SEQPACKET: s.listen()
print("ready", flush=True)
sys.stdin.read()`,
    path,
  ], { stdin: "piped" });
  assertEquals(await program.line(), "ready");
  return program;
}

test("probe() of our own server is alive, and returns its holder", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async () => {});
  assertEquals(await probe(dir.file("s.sock")), {
    state: "alive",
    mode: 0o600,
    uid: UID,
    gid: GID,
    holder: Deno.pid,
  } as Awaited<ReturnType<typeof probe>>);
});

test("probe() of a foreign server is alive, and has no holder", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  using _listener = Deno.listen({ transport: "unix", path });
  assertEquals(await probe(path), { state: "alive", ...fileOf(path) });
});

test("probe() takes a file: URL", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async () => {});
  assertEquals((await probe(new URL(`file://${dir.file("s.sock")}`))).state, "alive");
});

test("probe() returns the present mode of the file", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await serve({ path, mode: 0o640 }, async () => {});
  assertEquals((await probe(path)).mode, 0o640);
  await Deno.chmod(path, 0o604);
  assertEquals((await probe(path)).mode, 0o604);
  assertEquals((await probe(path, { connect: false })).mode, 0o604);
});

test("probe() returns the user and the group of the file", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await serve({ path, uid: 1234, gid: 2345 }, async () => {});
  for (const connect of [true, false]) {
    const { uid, gid } = await probe(path, { connect });
    assertEquals([uid, gid], [1234, 2345]);
  }
}, { root: true });

test("probe() of a server with a full backlog is full", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  using _full = await FullListener.open(path);
  assertEquals(await probe(path), { state: "full", ...fileOf(path) });
});

test("probe() of a dead socket is stale, and leaves it", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await makeStale(path);
  const before = await Deno.lstat(path);
  const start = performance.now();
  assertEquals(await probe(path), { state: "stale", ...fileOf(path) });
  // One refusal is not proof: a socket between bind and listen refuses as well.
  assert(performance.now() - start >= 100);
  assertEquals((await Deno.lstat(path)).ino, before.ino);
  assertEquals(dir.list(), ["s.sock"]);
});

test("probe() sees the server that takes a dead socket's place while it looks", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await makeStale(path);
  const probing = probe(path);
  using _listener = Deno.listen({ transport: "unix", path: dir.file("new.sock") });
  await Deno.rename(dir.file("new.sock"), path);
  assertEquals((await probing).state, "alive");
});

test("probe() sees that a dead socket goes while it looks", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await makeStale(path);
  const probing = probe(path);
  await Deno.remove(path);
  assertEquals((await probing).state, "free");
});

test("probe() follows a symbolic link to a server, and describes its file", async () => {
  await using dir = new TempDir();
  await using _server = await serve({ path: dir.file("s.sock"), mode: 0o660 }, async () => {});
  await Deno.symlink(dir.file("s.sock"), dir.file("link.sock"));
  const result = await probe(dir.file("link.sock"));
  assertEquals(result, { state: "alive", ...fileOf(dir.file("s.sock")) });
  assertEquals(result.mode, 0o660);
});

test("probe() follows a symbolic link to a dead socket", async () => {
  await using dir = new TempDir();
  await makeStale(dir.file("s.sock"));
  await Deno.symlink(dir.file("s.sock"), dir.file("link.sock"));
  assertEquals((await probe(dir.file("link.sock"))).state, "stale");
  assertEquals(dir.list(), ["link.sock", "s.sock"]);
});

test("probe() does not keep the path from being claimed at the same time", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  leaveLock(`${path}.lock`, 1);
  const probes = Array.from({ length: 20 }, () => probe(path));
  await using _claim = await claim(path);
  for (const { state } of await Promise.all(probes)) {
    assert(state === "free" || state === "claimed", state);
  }
});

// ---- As another user ----------------------------------------------------------------------------

/** Returns what a process of another user sees. */
async function probeAsNobody(path: string, options: ProbeOptions = {}) {
  const flags = ["--allow-read", "--allow-write", "--allow-net", "--allow-sys"];
  const use = { operation: "probe", path, options };
  await using program = fixture("permission_as_nobody.ts", flags, [JSON.stringify(use)]);
  return JSON.parse(await program.line());
}

test(
  "probe() as a user without permission for the socket is denied, and returns the mode",
  async () => {
    await using dir = new TempDir(0o755);
    await using _server = await serve(dir.file("s.sock"), async () => {});
    assertEquals(await probeAsNobody(dir.file("s.sock")), {
      state: "denied",
      mode: 0o600,
      uid: 0,
      gid: GID,
    });
  },
  { root: true },
);

test("probe() as a user without permission for the directory is denied", async () => {
  await using dir = new TempDir(0o700);
  await using _server = await serve({ path: dir.file("s.sock"), mode: 0o666 }, async () => {});
  assertEquals(await probeAsNobody(dir.file("s.sock")), { state: "denied" });
}, { root: true });

test("probe() as a user that may connect, but not see the lock, is alive", async () => {
  await using dir = new TempDir(0o755);
  await using _server = await serve({ path: dir.file("s.sock"), mode: 0o666 }, async () => {});
  assertEquals(await probeAsNobody(dir.file("s.sock")), {
    state: "alive",
    mode: 0o666,
    uid: 0,
    gid: GID,
  });
}, { root: true });

test(
  "probe() as a user that may not see a held lock does not report the path as free",
  async () => {
    await using dir = new TempDir(0o755);
    await using _claim = await claim(dir.file("s.sock"));
    assertEquals((await probeAsNobody(dir.file("s.sock"))).state, "denied");
  },
  { root: true },
);

test("probe({ connect: false }) as a user that may not see the lock rejects", async () => {
  await using dir = new TempDir(0o755);
  await using _server = await serve({ path: dir.file("s.sock"), mode: 0o666 }, async () => {});
  const error = await probeAsNobody(dir.file("s.sock"), { connect: false });
  assertEquals([error.class, error.operation], ["NotSupported", "probe"]);
  // The lock is held, although this user cannot see it.
  assert(!error.message.includes("its lock is free"), error.message);
}, { root: true });

// ---- Without a connection -----------------------------------------------------------------------

/** Connects, and asserts that this is the first connection of the listener. */
async function assertFirstIsOurs(
  accept: () => Promise<{ read(buffer: Uint8Array): Promise<number | null>; close(): void }>,
  path: string,
): Promise<void> {
  await using client = await connect(path);
  await client.write(encode("ours"));
  const first = await accept();
  assertEquals(await readText(first), "ours");
  first.close();
}

test("probe({ connect: false }) of a foreign server rejects, and never connects", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  using listener = Deno.listen({ transport: "unix", path });
  await assertNeedsConnection(path);
  await assertFirstIsOurs(() => listener.accept(), path);
});

test("probe({ connect: false }) of our own server is claimed, and never connects", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listen(path);
  assertEquals(await probe(path, { connect: false }), {
    state: "claimed",
    ...fileOf(path),
    holder: Deno.pid,
  });
  await assertFirstIsOurs(() => listener.accept(), path);
});

test("probe() connects and sends nothing, unlike probe({ connect: false })", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listen(path);
  assertEquals((await probe(path)).state, "alive");
  await using first = await listener.accept();
  assertEquals(await readText(first), null);
  await assertFirstIsOurs(() => listener.accept(), path);
});

test("probe({ connect: false }) of a dead socket rejects", async () => {
  await using dir = new TempDir();
  await makeStale(dir.file("s.sock"));
  await assertNeedsConnection(dir.file("s.sock"));
});

test("probe({ connect: false }) of a full foreign server rejects", async () => {
  await using dir = new TempDir();
  using _full = await FullListener.open(dir.file("s.sock"));
  await assertNeedsConnection(dir.file("s.sock"));
});

if (Deno.build.os === "linux") {
  test("probe({ connect: false }) of an abstract name rejects", async () => {
    await assertNeedsConnection(`\0uds-${crypto.randomUUID()}`);
  });

  test("probe() of a foreign abstract name is alive", async () => {
    const path = `\0uds-${crypto.randomUUID()}`;
    using _listener = Deno.listen({ transport: "unix", path });
    assertEquals(await probe(path), { state: "alive" });
  });

  test("probe() of an abstract name with a full backlog is full", async () => {
    const path = `\0uds-${crypto.randomUUID()}`;
    using _full = await FullListener.open(path);
    assertEquals(await probe(path), { state: "full" });
  });
}

// ---- Planted locks ------------------------------------------------------------------------------

/** Files that may be at the path of a lock. */
const PLANTED: [string, (lock: string) => Promise<unknown>][] = [
  ["a symbolic link to a file", async (lock) => {
    await Deno.writeTextFile(`${lock}.target`, "secret");
    await Deno.symlink(`${lock}.target`, lock);
  }],
  ["a symbolic link to nothing", (lock) => Deno.symlink(`${lock}.target`, lock)],
  ["a directory", (lock) => Deno.mkdir(lock)],
  ["a file with other content", (lock) => Deno.writeTextFile(lock, "not a pid\n")],
];

for (const [what, plant] of PLANTED) {
  test(`probe() with ${what} where the lock belongs is denied, unless a server answers`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await plant(`${path}.lock`);
    const names = dir.list();
    // serve() would be refused there as well.
    assertEquals(await probe(path), { state: "denied" });
    assertEquals(await probe(path, { connect: false }), { state: "denied" });
    using _listener = Deno.listen({ transport: "unix", path });
    assertEquals(await probe(path), { state: "alive", ...fileOf(path) });
    await assertNeedsConnection(path);
    assertEquals(dir.list(), [...names, "s.sock"].sort());
    if (names.includes("s.sock.lock.target")) {
      assertEquals(await Deno.readTextFile(`${path}.lock.target`), "secret");
    }
  });
}

test("probe() is not disturbed by a fifo where the lock belongs", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  assertEquals((await run("mkfifo", [`${path}.lock`])).code, 0);
  using _listener = Deno.listen({ transport: "unix", path });
  // In its own process, because no deadline could end a blocking open of the fifo in this one.
  const use = JSON.stringify({ operation: "probe", path });
  await using program = fixture("permission_use.ts", ["-A"], [use]);
  assertEquals(JSON.parse(await program.line()), { state: "alive", ...fileOf(path) });
}, { needs: ["mkfifo"] });

test("probe() ignores an invalid pid in a held lock", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await Deno.writeTextFile(`${path}.lock`, lockContent(1).replace("\n1\n ", "\n-1\n"), {
    mode: 0o700,
  });
  using lock = await Deno.open(`${path}.lock`, { read: true });
  await lock.lock(true);
  assertEquals(await probe(path), { state: "claimed" });
});

// ---- Paths that cannot be examined --------------------------------------------------------------

test("probe() of a loop of symbolic links rejects with ELOOP", async () => {
  await using dir = new TempDir();
  await Deno.symlink(dir.file("s.sock"), dir.file("s.sock"));
  const error = await assertRejects(
    () => probe(dir.file("s.sock")),
    Deno.errors.FilesystemLoop,
    "too many symbolic links",
  ) as Error & { operation?: string; path?: string; code?: string };
  assertEquals([error.operation, error.path, error.code], ["probe", dir.file("s.sock"), "ELOOP"]);
});

test("probe() below a file rejects with ENOTDIR", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("file"), "");
  const path = dir.file("file/s.sock");
  const error = await assertRejects(() => probe(path), Deno.errors.NotADirectory) as
    & Error
    & { operation?: string; path?: string; code?: string };
  assertEquals([error.operation, error.path, error.code], ["probe", path, "ENOTDIR"]);
  assertStringIncludes(error.message, `Cannot probe "${path}"`);
});
