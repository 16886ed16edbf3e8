// Failures that an accept loop survives: a client name that Deno cannot read, and system errors.
import { connect, type Connection, listen, serve } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Acceptor } from "../../_internal/accept/acceptor.ts";
import { ErrorContext } from "../../_internal/base/error_context.ts";
import { connectToSelf } from "../../_internal/accept/marker.ts";
import { CLIENTS, countEchoes, startFailing } from "../_failing_accept.ts";
import { Process, udsCommand } from "../_cli.ts";
import {
  changing,
  denoArgs,
  encode,
  fixturePath,
  Program,
  readText,
  TempDir,
  test,
  testAlone,
} from "../_helpers.ts";

const NEEDS = { needs: ["python3"] };

/** Connects `count` times from names that are not UTF-8, and holds the connections. */
async function hostile(path: string, count: number): Promise<Program> {
  const program = new Program("python3", [fixturePath("client_named.py"), path, String(count)], {
    stdin: "piped",
  });
  assertEquals(await program.line(), String(count));
  return program;
}

/** Passes what this process would print on standard error to a function. */
function redirected(print: (line: unknown) => void): Disposable {
  const { error } = console;
  console.error = print;
  return { [Symbol.dispose]: () => void (console.error = error) };
}

/** Says hello to a client, and ends. */
async function greet(conn: Connection): Promise<void> {
  await conn.write(encode("hello"));
}

async function greeting(path: string): Promise<string | null> {
  await using conn = await connect(path);
  return await readText(conn);
}

test(
  "serve() drops a client with a name that is not UTF-8, reports it once, and goes on",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const errors: Error[] = [];
    await using server = await serve(
      { path, onError: (error) => errors.push(error as Error) },
      greet,
    );
    await using _hostile = await hostile(path, 20);
    assertEquals(await greeting(path), "hello");
    assert(server.connections <= 1);
    assertEquals(errors.map((error) => [error.name, error.message]), [[
      "InvalidData",
      `Cannot accept on "${path}": a client was dropped, because its own path is not UTF-8`,
    ]]);
  },
  NEEDS,
);

test("listen() goes on with its loop after a client with a name that is not UTF-8", async () => {
  await using dir = new TempDir();
  const path = dir.file("l.sock");
  const printed: unknown[] = [];
  using _stderr = redirected((line) => printed.push(line));
  await using listener = await listen(path);
  const served = (async () => {
    let count = 0;
    for await (const conn of listener) {
      await greet(conn);
      conn.close();
      count++;
    }
    return count;
  })();
  await using _hostile = await hostile(path, 3);
  assertEquals(await greeting(path), "hello");
  await using _others = await hostile(path, 3);
  assertEquals(await Promise.all([greeting(path), greeting(path)]), ["hello", "hello"]);
  await listener.close();
  assertEquals(await served, 3);
  const state = "a client was dropped, because its own path is not UTF-8";
  assertStringIncludes(`${printed[0]}`, `uds: Cannot accept on "${path}": ${state}`);
}, NEEDS);

test(
  "shutdown() serves 20 clients of a backlog that also has 20 with names that are not UTF-8",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("d.sock");
    const { promise: isBusy, resolve: busy } = Promise.withResolvers<void>();
    const { promise: mayGo, resolve: go } = Promise.withResolvers<void>();
    const server = await serve({ path, maxConnections: 1, onError: () => {} }, async (conn) => {
      busy();
      await mayGo;
      await greet(conn);
    });
    const first = greeting(path);
    await isBusy;
    const clients: Promise<Connection>[] = [];
    const programs = new AsyncDisposableStack();
    for (let i = 0; i < 4; i++) {
      for (let k = 0; k < 5; k++) clients.push(connect(path));
      await Promise.all(clients);
      programs.use(await hostile(path, 5));
    }
    const ending = server.shutdown({ timeout: 20_000 });
    go();
    const answers = await Promise.all(clients.map(async (conn) => readText(await conn)));
    assertEquals(answers, Array(20).fill("hello"));
    assertEquals([await first, await ending], ["hello", { completed: 21, aborted: 0 }]);
    for (const conn of clients) (await conn).close();
    await programs.disposeAsync();
  },
  NEEDS,
);

test("a takeover loses none of 10 clients among 10 with names that are not UTF-8", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  const { promise: isBusy, resolve: busy } = Promise.withResolvers<void>();
  const { promise: mayGo, resolve: go } = Promise.withResolvers<void>();
  const options = { path, publish: "rename", existing: "replace", onError: () => {} } as const;
  const old = await serve({ ...options, maxConnections: 1 }, async (conn) => {
    busy();
    await mayGo;
    await greet(conn);
  });
  const first = greeting(path);
  await isBusy;
  await using _before = await hostile(path, 5);
  const clients = await Promise.all(Array.from({ length: 10 }, () => connect(path)));
  await using _between = await hostile(path, 5);
  await using _successor = await serve(options, greet);
  go();
  assertEquals(await Promise.all(clients.map(readText)), Array(10).fill("hello"));
  assertEquals([await first, await greeting(path)], ["hello", "hello"]);
  await old.finished;
  for (const conn of clients) conn.close();
}, { ...NEEDS, deadline: 20_000 });

test("connectToSelf() drops early clients with names that are not UTF-8", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const listener = Deno.listen({ transport: "unix", path });
  await using _hostile = await hostile(path, 100);
  const own = await connectToSelf(listener, path);
  own.accepted.close();
  own.connected.close();
  own.accepting.catch(() => {});
  await own.acceptor.close();
}, NEEDS);

testAlone(
  "serve() answers within 250 ms while a client keeps connecting with bad names",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    let reports = 0;
    await using _server = await serve({ path, onError: () => reports++ }, greet);
    const flood = new Program("python3", [
      "-c",
      `
import socket, time
print("ready", flush=True)
i = 0
while True:
    client = socket.socket(socket.AF_UNIX)
    client.bind(b"\\0uds-\\xff-flood-%d" % i)
    i += 1
    client.connect("${path}")
    client.close()
    time.sleep(0.001)
`,
    ]);
    await using _flood = flood;
    await flood.line();
    let longest = 0;
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      assertEquals(await greeting(path), "hello");
      longest = Math.max(longest, performance.now() - start);
    }
    assert(longest < 250, `${longest} ms`);
    assertEquals(reports, 1);
  },
  NEEDS,
);

test(
  "uds echo reports in one line that it drops clients with names that are not UTF-8",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("c.sock");
    await using echo = new Process(udsCommand(["echo", path]));
    await echo.stderr.until("listening");
    await using _hostile = await hostile(path, 20);
    await using conn = await connect(path);
    await conn.write(encode("x"));
    await conn.read(new Uint8Array(1));
    echo.kill("SIGTERM");
    const { code, stderr } = await echo.ended;
    assertEquals([code, stderr.split("\n").length], [0, 4], stderr);
  },
  NEEDS,
);

// ---- Failures of the system ---------------------------------------------------------------------

test(
  "uds echo answers 20 of 20 clients while five accepts fail, and reports it once",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("x.sock");
    await using echo = startFailing(["echo", path], "EPERM", "5..9");
    await echo.stderr.until("listening");
    assertEquals(await countEchoes(() => Deno.connect({ transport: "unix", path })), CLIENTS);
    echo.kill("SIGTERM");
    const { code, stderr } = await echo.ended;
    assertEquals([code, stderr.match(/uds: Cannot accept/g)?.length], [0, 1], stderr);
  },
  { needs: ["strace"] },
);

test("shutdown() keeps its deadline when the system accepts no bytes", async () => {
  await using dir = new TempDir();
  const inject = ["-D", ...changing("sendto:error=EAGAIN"), Deno.execPath()];
  const server = denoArgs("server_without_bytes.ts", ["-A"], [dir.file("s.sock")]);
  const program = new Program("strace", [...inject, ...server], { stdin: "piped" });
  await using _program = program;
  await program.line();
  const conn = await Deno.connect({ transport: "unix", path: dir.file("s.sock") });
  assertEquals(await program.line(), "writing");
  // The kernel now reports the connection as writable, so Deno retries all the time.
  conn.close();
  const writer = program.stdin.getWriter();
  await writer.write(encode("go"));
  writer.releaseLock();
  const ms = Number(await program.line());
  assert(ms >= 500 && ms < 3000, `${ms} ms`);
  assertEquals(await program.line(), "the write ended: ConnectionClosed");
}, { needs: ["strace"] });

test(
  "a loop over listen() throws when its descriptor is lost, instead of ending quietly",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    // Deno reports EINTR as a closed listener.
    const inject = ["-D", ...changing("accept4:error=EINTR:when=3+"), Deno.execPath()];
    const args = denoArgs("listener_loop.ts", ["-A"], [path]);
    await using program = new Program("strace", [...inject, ...args]);
    assertEquals(await program.line(), "listening");
    for (let i = 0; i < 2; i++) (await Deno.connect({ transport: "unix", path })).close();
    assertEquals(await program.line(), `Cannot accept on "${path}": listener has been closed`);
  },
  { needs: ["strace"] },
);

/** Returns an acceptor of scripted attempts: an error fails, a number is a connection. */
function acceptorOf(attempts: (Error | number)[]): Acceptor<number> {
  const accept = () => {
    const next = attempts.shift() ?? new Deno.errors.NotSupported("no attempt is left");
    return typeof next === "number" ? Promise.resolve(next) : Promise.reject(next);
  };
  const listener = { accept, close() {}, ref() {}, unref() {} };
  return new Acceptor<number>(listener, new ErrorContext("accept", "/run/s.sock"));
}

function failing(code: string | undefined, message = "it fails"): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}

const PASSING: [name: string, Error][] = [
  ...["EPERM", "EACCES", "EIO", "ECONNABORTED", "EPROTO", "ENOBUFS", "ENOMEM", "EMFILE", "ENFILE"]
    .map((code): [string, Error] => [code, failing(code)]),
  ["an unknown one", failing(undefined, "Unknown error 777 (os error 777)")],
  ["EINTR, which Deno calls BadResource", new Deno.errors.BadResource("Listener has been closed")],
  ["InvalidData", new Deno.errors.InvalidData("the name is not UTF-8")],
];

for (const [name, error] of PASSING) {
  test(`Acceptor tries again at once after ${name}`, async () => {
    const acceptor = acceptorOf([error, 1, error, 2]);
    const told: boolean[] = [];
    acceptor.onFailure = (_, isFirst) => told.push(isFirst);
    const timer = Promise.withResolvers<string>();
    const id = setTimeout(() => timer.resolve("late"), 0);
    const both = (async () => [await acceptor.accept(), await acceptor.accept()])();
    assertEquals(await Promise.race([both, timer.promise]), [1, 2]);
    clearTimeout(id);
    assertEquals(told, [true, false]);
  });
}

for (const code of ["EBADF", "EINVAL", "ENOTSOCK", "ENOTSUP"]) {
  test(`Acceptor ends at ${code}: its descriptor is lost`, async () => {
    const acceptor = acceptorOf([failing(code), 1]);
    const error = await assertRejects(() => acceptor.accept(), Error);
    assertEquals(error.message, 'Cannot accept on "/run/s.sock": it fails');
    assertEquals((error as { code?: string }).code, code);
  });
}

test("Acceptor ends after ten answers of Deno that the listener is closed", async () => {
  const closed = new Deno.errors.BadResource("Listener has been closed");
  const acceptor = acceptorOf([...Array(10).fill(closed), 1]);
  await assertRejects(() => acceptor.accept(), Deno.errors.BadResource);
});

test("Acceptor does not spin: fewer than 20 attempts in a second of failures", async () => {
  const attempts: (Error | number)[] = Array(1000).fill(failing("EIO"));
  const acceptor = acceptorOf(attempts);
  const accepting = acceptor.accept();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const made = 1000 - attempts.length;
  assert(made >= 5 && made < 20, `${made} attempts`);
  attempts.splice(0, attempts.length, 7);
  acceptor.wake();
  assertEquals(await accepting, 7);
});
