import {
  claim,
  type ClaimOptions,
  ConnectDenied,
  InsecurePath,
  listen,
  type ListenOptions,
  NotASocket,
  permissions,
  serve,
  SocketInUse,
} from "@uds/uds";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { dirname } from "@std/path/posix";
import * as http from "node:http";
import {
  denoArgs,
  fixture,
  FullListener,
  makeStale,
  Program,
  run,
  TempDir,
  test,
  testAlone,
} from "../_helpers.ts";
import { lockContent } from "../_lock.ts";

const NOBODY = 65534;

type OwnOptions = ClaimOptions;

/** The ways to own a path; what they give has bound it, and is disposed of to give it back. */
const OWNERS: Record<string, (path: string, options?: OwnOptions) => Promise<AsyncDisposable>> = {
  "claim()": async (path, options) => {
    const owned = await claim(path, options);
    const stack = new AsyncDisposableStack();
    stack.use(owned);
    try {
      stack.use(await owned.bind(() => Deno.listen({ transport: "unix", path })));
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
    return stack;
  },
  "listen()": (path, options) => listen({ path, ...options }),
  "serve()": (path, options) => serve({ path, ...options }, async () => {}),
};

/** What can be seen of a file without changing it. */
function look(path: string): Record<string, unknown> {
  const info = Deno.lstatSync(path);
  const { dev, ino, mode, uid, size } = info;
  let content;
  if (info.isFile) content = Deno.readTextFileSync(path);
  if (info.isSymlink) content = Deno.readLinkSync(path);
  if (info.isDirectory) content = [...Deno.readDirSync(path)].map(({ name }) => name);
  return { dev, ino, mode, uid, size, mtime: info.mtime?.getTime(), content };
}

interface Refusal {
  // deno-lint-ignore no-explicit-any
  is: new (...args: any[]) => Error;
  says: string;
  operation: string;
  path: string;
  code: string;
}

/** Asserts that something rejects with one of the package's errors, in full. */
async function assertRefused<E extends Error = Error>(
  work: () => Promise<unknown>,
  { is, says, ...fields }: Refusal,
): Promise<E> {
  const error = await assertRejects(work, is, says);
  const { operation, path, code } = error as unknown as Record<string, unknown>;
  assertEquals({ operation, path, code }, fields);
  assertEquals(error.name, is.name);
  return error as E;
}

/** What `listen()` says as its operation, of `"listen()"`. */
const operationOf = (name: string) => name.slice(0, -2);

const modeOf = (path: string) => (Deno.lstatSync(path).mode ?? 0) & 0o7777;

/** Connects with nothing but Deno and reads what the server says. */
async function greetingAt(path: string): Promise<string> {
  const conn = await Deno.connect({ transport: "unix", path });
  return await new Response(conn.readable).text();
}

/** Flags for a program that owns a path with nothing but what it needs. */
const ownerFlags = (path: string) => [
  `--allow-read=${path},${path}.lock`,
  `--allow-write=${path},${path}.lock`,
  `--allow-net=unix:${path}`,
];

/** Makes a traced program end with its tracer, which else would leave it behind when it is killed. */
const DIES = ["setpriv", "--pdeathsig", "KILL"];

/** A pid that no process has. */
async function deadPid(): Promise<number> {
  await using program = new Program("true", []);
  await program.status;
  return program.pid;
}

// ---- What is at the path: the dead is reclaimed ------------------------------------------------

for (const [name, own] of Object.entries(OWNERS)) {
  test(`${name} reclaims a socket file that nobody listens on`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(path);
    const stale = look(path);
    {
      await using _owned = await own(path);
      const fresh = look(path);
      assert(fresh.ino !== stale.ino || fresh.mtime !== stale.mtime);
      (await Deno.connect({ transport: "unix", path })).close();
    }
    assertEquals(dir.list(), []);
  });

  test(`${name} with existing: "fail" refuses a stale socket file, and leaves it`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(path);
    const stale = look(path);
    const error = await assertRefused<SocketInUse>(() => own(path, { existing: "fail" }), {
      is: SocketInUse,
      says: `"${path}": a socket is there already, and existing: "fail" removes none`,
      operation: operationOf(name),
      path,
      code: "EADDRINUSE",
    });
    assertEquals(error.holder, undefined);
    assertEquals(look(path), stale);
    assertEquals(dir.list(), ["a.sock"]);
  });

  test(`${name} with existing: "fail" takes a path where nothing is`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    {
      await using _owned = await own(path, { existing: "fail" });
      (await Deno.connect({ transport: "unix", path })).close();
    }
    assertEquals(dir.list(), []);
  });

  test(`${name} leaves no lock file behind when it is closed`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    for (let i = 0; i < 3; i++) {
      await using _owned = await own(path);
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid));
      assertEquals(modeOf(`${path}.lock`), 0o700);
    }
    assertEquals(dir.list(), []);
  });
}

test("listen() reclaims what a killed server left: its socket, and its lock with its pid", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using victim = fixture("claim_greeter.ts", ownerFlags(path), [path, "serve"]);
  await victim.line();
  victim.kill("SIGKILL");
  await victim.status;
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
  assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(victim.pid));
  {
    await using _listener = await listen(path);
    assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid));
  }
  assertEquals(dir.list(), []);
});

// ---- … the living is not -----------------------------------------------------------------------

/** Foreign listeners: they know nothing of the lock. Each gives the way to reach it. */
const FOREIGNERS: Record<
  string,
  (path: string) => Promise<{ reach: () => Promise<void> } & Disposable>
> = {
  "an idle foreign server": (path) => {
    const listener = Deno.listen({ transport: "unix", path });
    return Promise.resolve({
      async reach() {
        // Those who knocked stand before it.
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

for (const [what, open] of Object.entries(FOREIGNERS)) {
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

/** Waits until a process has been stopped; the signal is on its way when `kill` returns. */
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
          // The foreign one has no lock: that may be one of the other two, just looking.
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
    const trace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=listen"];
    // Until it listens it refuses as a dead one does.
    const slow = ["-e", "inject=listen:delay_enter=60000"];
    const deno = denoArgs("claim_greeter.ts", ownerFlags(path), [path, "raw"]);
    const command = [...trace, ...slow, ...DIES, Deno.execPath(), ...deno];
    await using server = new Program("strace", command);
    while (!dir.list().includes("a.sock")) await new Promise((resolve) => setTimeout(resolve, 0));
    const before = look(path);
    await assertRefused<SocketInUse>(() => claim(path), {
      is: SocketInUse,
      says: "a program that does not use its lock listens there.",
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

test("claim() leaves a socket file that somebody put in the place of a stale one meanwhile", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await makeStale(path);
  const claiming = assertRefused<SocketInUse>(() => claim(path), {
    is: SocketInUse,
    says: `Cannot claim "${path}": somebody else is binding it just now`,
    operation: "claim",
    path,
    code: "EADDRINUSE",
  });
  // It has looked at the file, and will look again; until then another one is there.
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

// ---- … and what is no socket, never ------------------------------------------------------------

interface Thing extends AsyncDisposable {
  says: string;
}

const thing = (says: string, dispose = () => {}): Thing => ({
  says,
  [Symbol.asyncDispose]: () => Promise.resolve(dispose()),
});

/** What may be at the path instead of a socket. */
const THINGS: Record<string, (path: string) => Promise<Thing> | Thing> = {
  "a regular file": (path) => {
    Deno.writeTextFileSync(path, "precious");
    return thing("it is a regular file, which was left untouched");
  },
  "an empty file": (path) => {
    Deno.writeTextFileSync(path, "");
    return thing("it is a regular file, which was left untouched");
  },
  "a directory": (path) => {
    Deno.mkdirSync(path);
    Deno.writeTextFileSync(`${path}/inside`, "precious");
    return thing("it is a directory, which was left untouched");
  },
  "a symbolic link to a live socket": (path) => {
    const listener = Deno.listen({ transport: "unix", path: `${path}.live` });
    Deno.symlinkSync(`${path}.live`, path);
    return thing("it is a symbolic link, which was left untouched", () => listener.close());
  },
  "a symbolic link to a stale socket": async (path) => {
    await makeStale(`${path}.stale`);
    Deno.symlinkSync(`${path}.stale`, path);
    return thing("it is a symbolic link, which was left untouched");
  },
  "a symbolic link to a file": (path) => {
    Deno.writeTextFileSync(`${path}.file`, "precious");
    Deno.symlinkSync(`${path}.file`, path);
    return thing("it is a symbolic link, which was left untouched");
  },
  "a dangling symbolic link": (path) => {
    Deno.symlinkSync(`${path}.nothing`, path);
    return thing("it is a symbolic link, which was left untouched");
  },
  "a fifo": async (path) => {
    assertEquals((await run("mkfifo", [path])).code, 0);
    return thing("it is a fifo, which was left untouched");
  },
  "a live datagram socket": async (path) => {
    const server = python(
      "import socket, sys\n" +
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n" +
        "s.bind(sys.argv[1])\n" +
        "print('ready', flush=True)\n" +
        "print(s.recv(100).decode(), flush=True)\n",
      [path],
    );
    await server.line();
    return {
      says:
        "it is a datagram or sequenced-packet socket, which was left untouched. Choose another path",
      async [Symbol.asyncDispose]() {
        await using _server = server;
        const script = "import socket, sys\n" +
          "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'still here', sys.argv[1])\n";
        assertEquals((await run("python3", ["-c", script, path])).code, 0);
        assertEquals(await server.line(), "still here");
      },
    };
  },
};

function python(script: string, args: string[]): Program {
  return new Program("python3", ["-c", script, ...args]);
}

for (const [what, make] of Object.entries(THINGS)) {
  const needs = what.includes("datagram") ? ["python3"] : what.includes("fifo") ? ["mkfifo"] : [];
  test(
    `claim(), listen() and serve() refuse ${what} at the path, and do not touch it`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      await using made = await make(path);
      const files = dir.list();
      const before = files.map((file) => look(dir.file(file)));
      for (const [name, own] of Object.entries(OWNERS)) {
        for (const existing of ["reclaim", "fail"] as const) {
          // A datagram socket is a socket: that it is a wrong one only a connection can tell.
          if (what.includes("datagram") && existing === "fail") continue;
          await assertRefused(() => own(path, { existing }), {
            is: NotASocket,
            says: made.says,
            operation: operationOf(name),
            path,
            code: "ENOTSOCK",
          });
        }
      }
      assertEquals(dir.list(), files);
      assertEquals(files.map((file) => look(dir.file(file))), before);
    },
    { needs },
  );
}

test("claim() refuses a socket that it may not connect to, with mode and owner", async () => {
  await using dir = new TempDir(0o777);
  const path = dir.file("a.sock");
  await makeStale(path);
  Deno.chmodSync(path, 0o600);
  const before = look(path);
  const { message, ...fields } = await asNobody("claim()", path);
  assertEquals(fields, {
    name: ConnectDenied.name,
    operation: "claim",
    path,
    code: "EACCES",
    mode: 0o600,
    uid: 0,
    gid: 0,
  });
  assertStringIncludes(`${message}`, "a socket of uid 0 with mode 0600 is there");
  assertEquals(look(path), before);
  assertEquals(dir.list(), ["a.sock"]);
}, { root: true });

// ---- Closing removes only what is ours ---------------------------------------------------------

/** What a stranger may put in the place of our socket; gives the way to remove it. */
const STRANGERS: Record<string, (path: string) => () => void> = {
  "a regular file": (path) => {
    Deno.writeTextFileSync(path, "precious");
    return () => {};
  },
  "a live socket": (path) => {
    const listener = Deno.listen({ transport: "unix", path });
    return () => {
      // Still the one that clients reach.
      assertEquals(Deno.lstatSync(path).isSocket, true);
      listener.close();
    };
  },
  "a directory": (path) => {
    Deno.mkdirSync(path);
    return () => {};
  },
  "a symbolic link": (path) => {
    Deno.symlinkSync("elsewhere", path);
    return () => {};
  },
};

/** Owners, and what of them goes on while the path is replaced. */
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
    // Deno's own close() would remove the path, whatever is there: bound by another name it cannot.
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
  for (const [what, make] of Object.entries(STRANGERS)) {
    test(`${name} does not remove ${what} that took the place of its file`, async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      const owned = await own(path);
      Deno.removeSync(path);
      // At once: the file system may well use the inode number again.
      const remove = make(path);
      const before = look(path);
      await owned[Symbol.asyncDispose]();
      assertEquals(look(path), before);
      assertEquals(dir.list(), ["a.sock"]);
      if (what === "a live socket") (await Deno.connect({ transport: "unix", path })).close();
      remove();
    });
  }

  test(`${name} leaves its file where somebody moved it, and closes cleanly`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const owned = await own(path);
    Deno.renameSync(path, dir.file("moved.sock"));
    await owned[Symbol.asyncDispose]();
    assertEquals(dir.list(), ["moved.sock"]);
  });

  test(`${name} closes cleanly when somebody has removed its file and its lock`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const owned = await own(path);
    Deno.removeSync(path);
    Deno.removeSync(`${path}.lock`);
    await owned[Symbol.asyncDispose]();
    assertEquals(dir.list(), []);
  });

  test(`${name} does not remove the lock of one who made a new one`, async () => {
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
  test(`claim() during a close() does not take ${what} of a stranger for the lock`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const listener = await listen(path);
    listener.accept().then((conn) => conn.close(), () => {});
    Deno.removeSync(path);
    Deno.writeTextFileSync(path, content);
    const before = look(path);
    // The close keeps the stranger's file out of Deno's way; whoever comes meanwhile must not use it.
    const closing = listener.close();
    const error = await assertRejects(() => claim(path), NotASocket);
    assertEquals(error.path, path);
    await closing;
    assertEquals(look(path), before);
    assertEquals(dir.list(), ["a.sock"]);
  });
}

// ---- What is at the lock -----------------------------------------------------------------------

/** What may have been planted where the lock belongs; gives the file that must not be harmed. */
const PLANTED: Record<string, (lock: string) => Promise<string> | string> = {
  "a symbolic link to a file": (lock) => {
    Deno.writeTextFileSync(`${lock}.victim`, "precious");
    Deno.symlinkSync(`${lock}.victim`, lock);
    return `${lock}.victim`;
  },
  "a symbolic link to an empty file": (lock) => {
    Deno.writeTextFileSync(`${lock}.victim`, "");
    Deno.symlinkSync(`${lock}.victim`, lock);
    return `${lock}.victim`;
  },
  "a dangling symbolic link": (lock) => {
    Deno.symlinkSync(`${lock}.victim`, lock);
    return lock;
  },
  "a directory": (lock) => {
    Deno.mkdirSync(lock);
    return lock;
  },
  "a fifo": async (lock) => {
    assertEquals((await run("mkfifo", [lock])).code, 0);
    return lock;
  },
  "a socket": async (lock) => {
    await makeStale(lock);
    return lock;
  },
  "a hard link to a file": (lock) => {
    Deno.writeTextFileSync(`${lock}.victim`, "precious");
    Deno.linkSync(`${lock}.victim`, lock);
    return `${lock}.victim`;
  },
  "a hard link to an empty file": (lock) => {
    Deno.writeTextFileSync(`${lock}.victim`, "");
    Deno.linkSync(`${lock}.victim`, lock);
    return `${lock}.victim`;
  },
  "a file with other content": (lock) => {
    Deno.writeTextFileSync(lock, "precious");
    return lock;
  },
  "a file that begins like a lock": (lock) => {
    Deno.writeTextFileSync(lock, "123\nprecious");
    return lock;
  },
  "a file whose first line is blank": (lock) => {
    Deno.writeTextFileSync(lock, "\nprecious");
    return lock;
  },
};

for (const [what, plant] of Object.entries(PLANTED)) {
  test(
    `claim(), listen() and serve() refuse ${what} as the lock, and do not touch it`,
    async () => {
      await using dir = new TempDir();
      // All at once: a lock that cannot be used is tried again for a while.
      const planted = await Promise.all(
        Object.keys(OWNERS).map(async (name) => {
          const lock = `${dir.file(operationOf(name))}.lock`;
          return { name, lock, victim: await plant(lock) };
        }),
      );
      const files = dir.list();
      const before = files.map((file) => look(dir.file(file)));
      await Promise.all(planted.map(async ({ name, lock }) => {
        const error = await assertRefused(
          () => OWNERS[name]!(lock.replace(/\.lock$/, "")),
          {
            is: InsecurePath,
            says: `Cannot lock "${lock}"`,
            operation: operationOf(name),
            path: lock,
            code: "EPERM",
          },
        );
        assertInstanceOf(error, Deno.errors.PermissionDenied);
      }));
      assertEquals(dir.list(), files);
      assertEquals(files.map((file) => look(dir.file(file))), before);
      for (const { victim } of planted) Deno.lstatSync(victim);
    },
    { needs: what === "a fifo" ? ["mkfifo"] : [] },
  );
}

for (
  const [what, content] of [
    ["an empty lock file", () => ""],
    ["a lock file with the pid of a dead process", async () => lockContent(await deadPid())],
    [
      "a lock file with the pid of a living process that does not hold it",
      () => lockContent(Deno.ppid),
    ],
  ] as const
) {
  test(`claim(), listen() and serve() take ${what} that was left behind`, async () => {
    await using dir = new TempDir();
    for (const [name, own] of Object.entries(OWNERS)) {
      const path = dir.file(operationOf(name));
      Deno.writeTextFileSync(`${path}.lock`, await content(), { mode: 0o700 });
      await using _owned = await own(path);
      assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid));
    }
    assertEquals(dir.list(), []);
  });
}

/** Runs a fixture that gives up root and then owns (or connects to) the path. */
async function asNobody(
  how: string,
  path: string,
  verify = "",
): Promise<Record<string, unknown>> {
  const directory = dirname(path);
  const { read } = permissions("claim", path, { verifyDirectory: verify === "verify" });
  await using program = fixture(
    "claim_as_nobody.ts",
    [
      `--allow-read=${[directory, ...read as string[]].join()}`,
      `--allow-write=${directory}`,
      `--allow-net=unix:${path}`,
      // Becoming another user cannot be granted by itself.
      "--allow-sys",
    ],
    [how, path, verify],
  );
  return JSON.parse(await program.line());
}

for (const directoryMode of [0o777, 0o1777]) {
  const where = directoryMode === 0o777 ? "an open directory" : "a sticky directory";
  for (
    const [what, mode, content] of [
      ["closed", 0o600, ""],
      ["open to all", 0o666, ""],
      ["open to all and with other content", 0o666, "precious"],
    ] as const
  ) {
    test(
      `claim(), listen() and serve() refuse a lock file of another user, ${what}, in ${where}`,
      async () => {
        await using dir = new TempDir(directoryMode);
        for (const name of Object.keys(OWNERS)) {
          const lock = `${dir.file(operationOf(name))}.lock`;
          Deno.writeTextFileSync(lock, content);
          Deno.chmodSync(lock, mode);
        }
        const files = dir.list();
        // That it was opened and written to may show in its times, if all is as it was.
        const unharmed = () => files.map((file) => ({ ...look(dir.file(file)), mtime: undefined }));
        const before = unharmed();
        const names = Object.keys(OWNERS);
        const refusals = await Promise.all(
          names.map((name) => asNobody(name, dir.file(operationOf(name)))),
        );
        for (const [i, { message, ...fields }] of refusals.entries()) {
          const operation = operationOf(names[i]!);
          const path = dir.file(`${operation}.lock`);
          assertEquals(fields, { name: "InsecurePath", operation, path, code: "EPERM" });
          assertStringIncludes(`${message}`, `Cannot lock "${path}"`);
        }
        assertEquals(dir.list(), files);
        assertEquals(unharmed(), before);
      },
      { root: true },
    );
  }
}

// ---- The directory -----------------------------------------------------------------------------

test("createDirectory makes what is missing with mode 0700, and leaves what is there", async () => {
  await using dir = new TempDir(0o755);
  for (const [name, own] of Object.entries(OWNERS)) {
    const path = dir.file(`${operationOf(name)}/below/a.sock`);
    await using _owned = await own(path, { createDirectory: true, verifyDirectory: true });
    assertEquals(modeOf(dirname(path)), 0o700);
    assertEquals(modeOf(dirname(dirname(path))), 0o700);
  }
  assertEquals(modeOf(dir.path), 0o755);
  {
    await using _owned = await claim(dir.file("a.sock"), { createDirectory: true });
  }
  assertEquals(modeOf(dir.path), 0o755);
});

test("createDirectory refuses a path below a file", async () => {
  await using dir = new TempDir();
  Deno.writeTextFileSync(dir.file("f"), "precious");
  const path = dir.file("f/a.sock");
  const error = await assertRejects(() => claim(path, { createDirectory: true }), Error);
  const { operation, path: named, cause } = error as unknown as Record<string, unknown>;
  assertEquals([operation, named], ["claim", path]);
  assertInstanceOf(cause, Error);
  assertEquals(Deno.readTextFileSync(dir.file("f")), "precious");
});

test("claim() without createDirectory refuses a directory that is missing", async () => {
  await using dir = new TempDir();
  const path = dir.file("missing/a.sock");
  const error = await assertRejects(
    () => claim(path),
    Deno.errors.NotFound,
    "its directory does not exist",
  );
  const { operation, path: named, code } = error as unknown as Record<string, unknown>;
  assertEquals([operation, named, code], ["claim", path, "ENOENT"]);
  assertEquals(dir.list(), []);
});

for (const mode of [0o700, 0o755, 0o1777, 0o1770]) {
  test(`verifyDirectory accepts a directory with mode 0${mode.toString(8)}`, async () => {
    await using dir = new TempDir(mode);
    for (const own of Object.values(OWNERS)) {
      await using _owned = await own(dir.file("a.sock"), { verifyDirectory: true });
    }
    assertEquals(dir.list(), []);
  });
}

/** Asserts that `verifyDirectory` refuses a directory, in each of the ways to own a path. */
async function assertUnsafe(directory: string, says: string): Promise<void> {
  for (const [name, own] of Object.entries(OWNERS)) {
    await assertRefused(() => own(`${directory}/a.sock`, { verifyDirectory: true }), {
      is: InsecurePath,
      says: `its directory "${directory}" is not safe: ${says}`,
      operation: operationOf(name),
      path: directory,
      code: "EPERM",
    });
  }
  assertEquals([...Deno.readDirSync(directory)], []);
}

for (const mode of [0o777, 0o770, 0o707]) {
  test(`verifyDirectory refuses a directory with mode 0${mode.toString(8)}`, async () => {
    await using dir = new TempDir(mode);
    await assertUnsafe(dir.path, `others may write to it (mode 0${mode.toString(8)}, no sticky`);
  });
}

test("verifyDirectory refuses a symbolic link to a directory", async () => {
  await using dir = new TempDir();
  Deno.mkdirSync(dir.file("real"), { mode: 0o700 });
  Deno.symlinkSync(dir.file("real"), dir.file("link"));
  await assertUnsafe(dir.file("link"), "it is a symbolic link");
});

test("verifyDirectory refuses a directory of another user", async () => {
  await using dir = new TempDir();
  Deno.mkdirSync(dir.file("theirs"), { mode: 0o700 });
  Deno.chownSync(dir.file("theirs"), NOBODY, NOBODY);
  await assertUnsafe(dir.file("theirs"), `it belongs to uid ${NOBODY}`);
}, { root: true });

test("verifyDirectory accepts a sticky directory of root's", async () => {
  await using dir = new TempDir(0o1777);
  assertEquals(await asNobody("listen()", dir.file("a.sock"), "verify"), { name: "none" });
  assertEquals(dir.list(), []);
}, { root: true });

// ---- claim() for listeners of other kinds ------------------------------------------------------

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

/** A listener that says whether it was disposed of. */
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
  // Two turns are more than a promise takes.
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

test("bind() refuses what is no function", async () => {
  await using dir = new TempDir();
  await using owned = await claim(dir.file("a.sock"));
  await assertRejects(() => owned.bind({} as never), TypeError, "open");
});

test("bind() rejects with SocketInUse where somebody without the lock was faster", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const listening = listen(path);
  // The lock is ours by now; the bind comes when it has been told.
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
    // Whoever binds now must keep its file.
    await using _next = await listen(path);
    const before = look(path);
    await accepting;
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(look(path), before);
  }
});

// ---- publish: "rename" -------------------------------------------------------------------------

for (const [name, own] of Object.entries({ "listen()": listen, "serve()": serveQuietly })) {
  test(`${name} with publish: "rename" leaves nothing named .new, and nothing at all at the end`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(path);
    await makeStale(`${path}.new`);
    {
      await using owned = await own({ path, publish: "rename", mode: 0o640 });
      assertEquals(owned.addr, { transport: "unix", path });
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      assertEquals(modeOf(path), 0o640);
      (await Deno.connect({ transport: "unix", path })).close();
    }
    assertEquals(dir.list(), []);
  });

  for (const [what, make] of Object.entries(STRANGERS)) {
    for (const suffix of ["", ".new"]) {
      test(`${name} with publish: "rename" does not remove ${what} at <path>${suffix}`, async () => {
        await using dir = new TempDir();
        const path = dir.file("a.sock");
        const owned = await own({ path, publish: "rename" });
        if (suffix === "") Deno.removeSync(path);
        const remove = make(path + suffix);
        const before = look(path + suffix);
        await owned[Symbol.asyncDispose]();
        assertEquals(look(path + suffix), before);
        assertEquals(dir.list(), [`a.sock${suffix}`]);
        remove();
      });
    }
  }

  test(`${name} with publish: "rename" refuses a file at <path>.new, and leaves it`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    Deno.writeTextFileSync(`${path}.new`, "precious");
    const before = look(`${path}.new`);
    await assertRefused(() => own({ path, publish: "rename" }), {
      is: NotASocket,
      says: `"${path}.new": it is a regular file`,
      operation: operationOf(name),
      path: `${path}.new`,
      code: "ENOTSOCK",
    });
    assertEquals(look(`${path}.new`), before);
    assertEquals(dir.list(), ["a.sock.new"]);
  });
}

function serveQuietly(options: ListenOptions) {
  return serve(options, async () => {});
}

for (const publish of ["direct", "rename"] as const) {
  const fact = publish === "rename"
    ? "shows the path only when it is ready"
    : "shows the path before it listens and before its mode is set";
  test(`listen() with publish: "${publish}" ${fact}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    // Each step is made so slow that whoever looks sees what is between them.
    const slow = ["listen", "chmod", "fchmodat"].flatMap((call) => [
      "-e",
      `inject=${call}:delay_enter=50000`,
    ]);
    const trace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=listen,chmod,fchmodat", ...slow];
    const names = [path, `${path}.lock`, `${path}.new`, `${path}.lock.new`];
    const flags = [
      `--allow-read=${names.join()}`,
      `--allow-write=${names.join()}`,
      `--allow-net=unix:${path},unix:${path}.new`,
    ];
    const deno = denoArgs("claim_publish.ts", flags, [path, publish]);
    await using server = new Program("strace", [...trace, ...DIES, Deno.execPath(), ...deno], {
      stdin: "piped",
    });
    while (!dir.list().includes("a.sock")) await new Promise((resolve) => setTimeout(resolve, 0));
    const mode = modeOf(path);
    const answer = await Deno.connect({ transport: "unix", path })
      .then((conn) => conn.close(), (error: { code: string }) => error.code);
    if (publish === "rename") {
      assertEquals([mode, answer], [0o600, undefined]);
    } else {
      assert(mode !== 0o600);
      assertEquals(answer, "ECONNREFUSED");
    }
    assertEquals(await server.line(), "ready");
    assertEquals(modeOf(path), 0o600);
    assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
    (await Deno.connect({ transport: "unix", path })).close();
    await server.stdin.close();
    assertEquals((await server.status).code, 0);
    assertEquals(dir.list(), []);
  }, { needs: ["strace", "setpriv"] });
}

// ---- After the end, and after others have been here -------------------------------------------------

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
  test(`${name}() whose socket and lock were removed leaves both of its successor alone`, async () => {
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

  test(`${name}() gives up waiting for a lock when its signal aborts, with its reason`, async () => {
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
