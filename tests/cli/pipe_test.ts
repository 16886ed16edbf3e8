import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect, listen, serve } from "@uds/uds";
import { Buffer } from "node:buffer";
import { Process, uds, udsCommand } from "../_cli.ts";
import {
  decode,
  encode,
  fixturePath,
  pseudoRandom,
  readAll,
  run,
  TempDir,
  test,
} from "../_helpers.ts";

const RUN_FLAGS = ["--allow-run", "--allow-env"];

/** 64 MiB and 1 MiB of pseudorandom bytes. */
const BIG = pseudoRandom(64 * 1024 * 1024, 7);
const SMALL = pseudoRandom(1024 * 1024, 8);
const NOTHING = new Uint8Array(0);

/** Compares bytes. A failure does not list millions of them. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  if (Buffer.compare(actual, expected) !== 0) throw new Error(`of ${expected.length} some differ`);
}

function mebibytes(data: Uint8Array): string {
  return `${data.length / 1024 / 1024} MiB`;
}

/** Returns the output of a process, and asserts that it exits with 0 and prints no error. */
async function printed(process: Process): Promise<Uint8Array> {
  const { code, stdout, stderr } = await process.ended;
  assertEquals([code, stderr.replace(/^listening on .*\n/, "")], [0, ""]);
  return stdout;
}

// ---- 64 MiB -------------------------------------------------------------------------------------

test("uds listen and uds connect pass 64 MiB each way, at the same time", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const other = BIG.toReversed();
  await using server = new Process(udsCommand(["listen", path]), { input: BIG });
  await using client = new Process(udsCommand(["connect", "--wait", path]), { input: other });
  const [atServer, atClient] = await Promise.all([printed(server), printed(client)]);
  assertSameBytes(atServer, other);
  assertSameBytes(atClient, BIG);
  assertEquals(dir.list(), []);
});

/** A peer, and the data for it. Only one of each kind gets all 64 MiB. */
interface Peer {
  name: string;
  needs: string[];
  data: Uint8Array<ArrayBuffer>;
  command: (path: string) => string[];
}

const PYTHON = fixturePath("peer_pipe.py");

const SERVERS: Peer[] = [
  { name: "nc -lNU", needs: ["nc"], data: BIG, command: (path) => ["nc", "-lNU", path] },
  {
    name: "socat",
    needs: ["socat"],
    data: SMALL,
    command: (path) => ["socat", "-t10", "-", `UNIX-LISTEN:${path}`],
  },
  {
    name: "Python",
    needs: ["python3"],
    data: SMALL,
    command: (path) => ["python3", PYTHON, "listen", "send-first", path],
  },
];

for (const { name, needs, data, command } of SERVERS) {
  test(`uds connect sends ${mebibytes(data)} to ${name}, and gets what it sends`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    // nc exits at the client's end of file, so what it sends back may be incomplete.
    const back = name.startsWith("nc") ? NOTHING : SMALL;
    await using server = new Process(command(path), { input: back });
    await using client = new Process(udsCommand(["connect", "--wait", path]), { input: data });
    assertSameBytes(await printed(client), back);
    assertSameBytes(await printed(server), data);
  }, { needs });
}

const CLIENTS: Peer[] = [
  { name: "nc -NU", needs: ["nc"], data: SMALL, command: (path) => ["nc", "-NU", path] },
  {
    name: "socat",
    needs: ["socat"],
    data: SMALL,
    command: (path) => ["socat", "-t10", "-", `UNIX-CONNECT:${path}`],
  },
  {
    name: "Python",
    needs: ["python3"],
    data: BIG,
    command: (path) => ["python3", PYTHON, "connect", "send-first", path],
  },
];

for (const { name, needs, data, command } of CLIENTS) {
  test(`uds listen sends ${mebibytes(data)} to ${name}, and gets what it sends`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = new Process(udsCommand(["listen", path]), { input: data });
    await server.stderr.until("listening");
    await using client = new Process(command(path), { input: SMALL });
    const [atServer, atClient] = await Promise.all([printed(server), printed(client)]);
    assertSameBytes(atServer, SMALL);
    assertSameBytes(atClient, data);
  }, { needs });
}

test("uds send passes 64 MiB of standard input to an echo by socat and back", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = new Process(["socat", "-t10", `UNIX-LISTEN:${path}`, "EXEC:cat"]);
  await using client = new Process(udsCommand(["send", "--wait", path, "-"]), { input: BIG });
  assertSameBytes(await printed(client), BIG);
}, { needs: ["socat"] });

const CHILDREN: [what: string, args: string[], needs: string[], data: Uint8Array<ArrayBuffer>][] = [
  [
    "Python at descriptor 3",
    ["--", "python3", fixturePath("pair_peer.py"), "echo"],
    ["python3"],
    BIG,
  ],
  ["cat by its standard streams", ["--stdio", "--", "cat"], [], SMALL],
];

for (const [what, args, needs, data] of CHILDREN) {
  test(`uds run passes ${mebibytes(data)} to ${what} and back`, async () => {
    const command = udsCommand(["run", ...args], RUN_FLAGS);
    await using process = new Process(command, { input: data });
    assertSameBytes(await printed(process), data);
  }, { needs });
}

// ---- backpressure, and ends ---------------------------------------------------------------------

test("uds connect holds its input back while the server does not read", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listen(path);
  await using client = new Process([
    "sh",
    "-c",
    'yes | exec "$@"',
    "sh",
    ...udsCommand(["connect", path]),
  ]);
  await using conn = await listener.accept();
  // It stops when the socket is full. What it has read by then is what it holds.
  let before = -1;
  let read = await bytesRead(client.pid);
  while (read === 0 || read !== before) {
    before = read;
    await new Promise((resolve) => setTimeout(resolve, 100));
    read = await bytesRead(client.pid);
  }
  assert(read < 8 * 1024 * 1024, `${read} bytes`);
  conn.close();
  const { code, stderr } = await client.ended;
  assertEquals(code, 1);
  assertMatch(stderr, /^uds: Cannot (read|write) .*the peer (has )?closed/);
}, { needs: Deno.build.os === "linux" ? [] : ["/proc"] });

/** Returns how many bytes a process has read from files, pipes and sockets. */
async function bytesRead(pid: number): Promise<number> {
  return Number((await Deno.readTextFile(`/proc/${pid}/io`)).match(/^rchar: (\d+)/)?.[1]);
}

test("uds connect goes on sending to a server that has ended its direction", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("s.sock"));
  await using client = new Process(udsCommand(["connect", dir.file("s.sock")]), { input: "open" });
  await using conn = await listener.accept();
  await conn.write(encode("no more from me\n"));
  await conn.closeWrite();
  await client.stdout.until("from me\n");
  // Longer than it takes to notice that a peer has left.
  await new Promise((resolve) => setTimeout(resolve, 300));
  await client.type("and from me\n");
  await client.endInput();
  assertEquals(decode(await readAll(conn)), "and from me\n");
  assertEquals(decode(await printed(client)), "no more from me\n");
});

for (const halfFirst of [false, true]) {
  const how = halfFirst ? "after it had ended its direction" : "at once";
  test(`uds connect ends when the server leaves ${how}, while its input is open`, async () => {
    await using dir = new TempDir();
    await using listener = await listen(dir.file("s.sock"));
    await using client = new Process(udsCommand(["connect", dir.file("s.sock")]), {
      input: "open",
    });
    await using conn = await listener.accept();
    await conn.write(encode("bye\n"));
    if (halfFirst) {
      await conn.closeWrite();
      await client.stdout.until("bye\n");
    }
    conn.close();
    assertEquals(decode(await printed(client)), "bye\n");
  });
}

test("uds connect fails at once where its input cannot be read", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), (conn) => readAll(conn));
  const command = udsCommand(["connect", dir.file("s.sock")]);
  const { code, stderr } = await run("sh", ["-c", '"$@" < /', "sh", ...command]);
  assertEquals(code, 1);
  assertEquals(stderr, "uds: Cannot read standard input: Is a directory\n");
});

for (const command of ["connect", "send"]) {
  test(`uds ${command} ends quietly when its output is closed`, async () => {
    await using dir = new TempDir();
    await using _server = await serve(dir.file("s.sock"), async (conn) => {
      const data = new Uint8Array(64 * 1024).fill(120);
      // Write until the client has left.
      await (async () => {
        for (;;) await conn.write(data);
      })().catch(() => {});
    });
    const line = udsCommand([command, dir.file("s.sock"), ...(command === "send" ? ["m"] : [])]);
    // Print the command's status, because the shell reports only that of head.
    const script = '{ "$@"; echo "exit $?" >&2; } | head -c 5';
    const { stdout, stderr } = await run("sh", ["-c", script, "sh", ...line]);
    assertEquals([stdout, stderr], ["xxxxx", "exit 0\n"]);
  });
}

for (const args of [["--help"], ["ls", "/"]]) {
  test(`uds ${args.join(" ")} ends quietly when its output is closed from the start`, async () => {
    const script = '{ sleep 0.1; "$@"; echo "exit $?" >&2; } | true';
    const { stderr } = await run("sh", ["-c", script, "sh", ...udsCommand(args)]);
    assertMatch(stderr, /^(no sockets in \/\n)?exit 0\n$/);
  });
}

test("uds listen takes one client, and removes the path for the others", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = new Process(udsCommand(["listen", path]), { input: "open" });
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(encode("hello\n"));
  await server.stdout.until("hello\n");
  assertEquals((await uds(["probe", path])).stdout, "free\n");
  await server.endInput();
  assertEquals((await readAll(conn)).length, 0);
  await conn.closeWrite();
  assertEquals(decode(await printed(server)), "hello\n");
});

test("uds listen --keep serves one client after the other, also after one that fails", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = new Process(udsCommand(["listen", "-k", path]), { input: "open" });
  {
    await using first = await connect({ path, wait: true, timeout: Infinity });
    await server.type("for the first\n");
    const buffer = new Uint8Array(64);
    assertEquals(await first.read(buffer), 14);
    await server.type("not read by it\n");
    await first.write(encode("one\n"));
    await server.stdout.until("one\n");
    await first.read(new Uint8Array(1));
  }
  // The first client failed or ended: the kernel may report either to a reader on another
  // processor.
  await using second = await connect(path);
  await second.write(encode("two\n"));
  await server.stdout.until("two\n");
  await server.type("for the second\n");
  await second.closeWrite();
  await server.endInput();
  assertEquals(decode(await readAll(second)), "for the second\n");
  // The input has already ended for this client.
  await using third = await connect(path);
  assertEquals((await readAll(third)).length, 0);
  await third.write(encode("three\n"));
  await third.closeWrite();
  await server.stdout.until("three\n");
  server.kill("SIGTERM");
  const { code, stdout } = await server.ended;
  assertEquals([code, decode(stdout)], [0, "one\ntwo\nthree\n"]);
  assertEquals(dir.list(), []);
});

// ---- signals ------------------------------------------------------------------------------------

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  for (const command of [["echo"], ["listen"], ["listen", "--keep"]]) {
    test(`uds ${command.join(" ")} ends at ${signal} with exit code 0 and the path removed`, async () => {
      await using dir = new TempDir();
      await using server = new Process(udsCommand([...command, dir.file("s.sock")]));
      await server.stderr.until("listening");
      assertEquals(dir.list(), ["s.sock", "s.sock.lock"]);
      server.kill(signal);
      const { code, stderr } = await server.ended;
      assertEquals([code, stderr], [0, `listening on ${dir.file("s.sock")}\nending\n`]);
      assertEquals(dir.list(), []);
    });
  }
}

// uds listen always leaves its client half a second, in which both signals count as one.
for (const [command, code] of [["echo", 130], ["listen", 0]] as const) {
  test(`uds ${command} ends at once at the second signal, with the path removed`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = new Process(udsCommand([command, path]), { input: "open" });
    // A connected client delays the graceful end.
    await using conn = await connect({ path, wait: true, timeout: Infinity });
    await conn.write(encode("x"));
    if (command === "echo") await conn.read(new Uint8Array(1));
    else await server.stdout.until("x");
    server.kill("SIGINT");
    await server.stderr.until("ending");
    // The half-close shows that the graceful end has begun.
    if (command === "listen") assertEquals(await conn.read(new Uint8Array(1)), null);
    else while (dir.list().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    if (command === "echo") await new Promise((resolve) => setTimeout(resolve, 550));
    server.kill("SIGINT");
    assertEquals((await server.ended).code, code);
    assertEquals(dir.list(), []);
  });
}

test("uds listen passes on what a client still sends after the first signal", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = new Process(udsCommand(["listen", path]), { input: "open" });
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(encode("before\n"));
  await server.stdout.until("before\n");
  server.kill("SIGTERM");
  assertEquals((await readAll(conn)).length, 0);
  await conn.write(encode("after\n"));
  await conn.closeWrite();
  const { code, stdout } = await server.ended;
  assertEquals([code, decode(stdout)], [0, "before\nafter\n"]);
});

test("uds listen closes a client that does not end after the first signal", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = new Process(udsCommand(["listen", "--quiet", path]), { input: "open" });
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(encode("x"));
  await server.stdout.until("x");
  server.kill("SIGTERM");
  const { code, stdout, stderr } = await server.ended;
  assertEquals([code, decode(stdout), stderr], [0, "x", ""]);
});

// ---- run ----------------------------------------------------------------------------------------

test("uds run has data on standard output, and what the command prints on standard error", async () => {
  const { code, stdout, stderr } = await uds([
    "run",
    "--",
    "sh",
    "-c",
    "echo data >&3; echo talk; echo trouble >&2; exit 7",
  ], { flags: RUN_FLAGS });
  assertEquals([code, stdout], [7, "data\n"]);
  assertEquals(stderr.split("\n").sort(), ["", "talk", "trouble"]);
});

test("uds run needs no -- before a command without options of its own", async () => {
  const command = ["run", "--stdio", "tr", "a-z", "A-Z"];
  const { stdout } = await uds(command, { flags: RUN_FLAGS, input: "hello" });
  assertEquals(stdout, "HELLO");
  const help = await uds(["run", "echo", "--help", "--json"], { flags: RUN_FLAGS });
  assertEquals([help.stdout, help.stderr], ["", "--help --json\n"]);
});

const RUN_CODES: [what: string, args: string[], code: number, says: RegExp][] = [
  ["a command that is not there", ["no-such-command"], 127, /^uds: .*no-such-command/],
  ["a command that is not executable", [fixturePath("pair_peer.sh")], 126, /^uds: .*pair_peer\.sh/],
  ["a shell's missing command", ["--stdio", "no-such-command"], 127, /no-such-command/],
  ["a command that a signal ends", ["sh", "-c", "kill -TERM $$"], 143, /^$/],
  ["a command that fails", ["--stdio", "false"], 1, /^$/],
  ["a command that reads nothing of its input", ["true"], 0, /^$/],
];

for (const [what, args, code, says] of RUN_CODES) {
  test(`uds run of ${what} ends with exit code ${code}`, async () => {
    const input = "x".repeat(1_000_000);
    const result = await uds(["run", ...args], { flags: RUN_FLAGS, input });
    assertEquals([result.code, result.stdout], [code, ""], result.stderr);
    assertMatch(result.stderr, says);
  });
}

test("uds run ends with its command while its own input is open", async () => {
  const command = udsCommand(["run", "--", "sh", "-c", "echo data >&3; exit 3"], RUN_FLAGS);
  await using process = new Process(command, { input: "open" });
  const { code, stdout } = await process.ended;
  assertEquals([code, decode(stdout)], [3, "data\n"]);
});

test("uds run ends its command gracefully at SIGTERM, and at once at the second signal", async () => {
  const script = "trap 'echo stopping >&3; read _ <&3; exit 9' TERM; echo ready >&3; " +
    "while :; do sleep 0.01; done";
  for (const signals of [1, 2]) {
    const stubborn = script.replace("read _ <&3; exit 9", signals === 2 ? "" : "exit 9");
    const command = udsCommand(["run", "--", "sh", "-c", stubborn], RUN_FLAGS);
    await using process = new Process(command, { input: "open" });
    await process.stdout.until("ready\n");
    process.kill("SIGTERM");
    await process.stdout.until("stopping\n");
    if (signals === 2) {
      await new Promise((resolve) => setTimeout(resolve, 550));
      process.kill("SIGTERM");
    }
    const { code, stdout } = await process.ended;
    assertEquals([code, decode(stdout)], [signals === 2 ? 143 : 9, "ready\nstopping\n"]);
  }
});

test("uds run adds no permission to the command line of a Deno program", async () => {
  await using dir = new TempDir();
  const script = dir.file("grants.ts");
  await Deno.writeTextFile(
    script,
    'console.log(Deno.permissions.querySync({ name: "run" }).state);',
  );
  const deno = [Deno.execPath(), "run", "--no-config", "--quiet", script];
  const { stdout, stderr } = await uds(["run", "--stdio", "--", ...deno], { flags: RUN_FLAGS });
  assertEquals([stdout, stderr], ["prompt\n", ""]);
});
