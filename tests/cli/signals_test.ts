import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect, type Connection } from "@uds/uds";
import { FLAGS, onTerminal, Process, udsCommand } from "../_cli.ts";
import { decode, encode, readAll, readText, TempDir, test } from "../_helpers.ts";

const ALL = [...FLAGS, "--allow-run", "--allow-env"];
const CTRL_C = "\x03";

/** Starts a server of the command line, and waits until it listens. */
async function serving(command: string[]): Promise<Process> {
  const process = new Process(command);
  await process.stderr.until("listening on");
  return process;
}

/** Connects, and waits for an answer, so that the connection has been accepted. */
async function client(path: string): Promise<Connection> {
  const conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(encode("part one "));
  assertEquals(await readText(conn), "part one ");
  return conn;
}

/** Returns what a client gets that goes on after the signal. */
async function goOn(conn: Connection): Promise<string> {
  await conn.write(encode("part two"));
  await conn.closeWrite();
  return decode(await readAll(conn));
}

/** Returns a command that starts with signals ignored, as nohup and a shell's "&" start it. */
function ignoring(signals: string, command: string[]): string[] {
  return ["sh", "-c", `trap '' ${signals}; exec "$@"`, "sh", ...command];
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs several cases at the same time, because most of them wait. */
function each<T>(name: string, cases: readonly T[], fn: (one: T) => Promise<void>): void {
  test(name, async () => void await Promise.all(cases.map(fn)));
}

/** After this delay, in milliseconds, a second signal counts as one of its own. */
const AGAIN_MS = 550;

// ---- the first signal and the second one --------------------------------------------------------

each(
  "uds echo and uds serve take a SIGINT that comes twice at once for one",
  [["echo"], ["serve", "--", "cat"]],
  async ([command = "", ...rest]) => {
    await using dir = new TempDir();
    await using server = await serving(udsCommand([command, dir.file("s"), ...rest], ALL));
    await using conn = await client(dir.file("s"));
    server.kill("SIGINT");
    await pause(1);
    server.kill("SIGINT");
    await server.stderr.until("ending");
    assertEquals(await goOn(conn), "part two");
    assertEquals((await server.ended).code, 0);
    assertEquals(dir.list(), []);
  },
);

each(
  "uds echo ends at once at a second signal, half a second after the first",
  [["SIGTERM", "SIGTERM", 143], ["SIGTERM", "SIGINT", 130], ["SIGHUP", "SIGHUP", 129]] as const,
  async ([first, second, code]) => {
    await using dir = new TempDir();
    await using server = await serving(udsCommand(["echo", dir.file("s")], ALL));
    await using _conn = await client(dir.file("s"));
    server.kill(first);
    await server.stderr.until("ending");
    await pause(AGAIN_MS);
    const start = performance.now();
    server.kill(second);
    assertEquals((await server.ended).code, code);
    assert(performance.now() - start < 3000, "not at the deadline of 5 s");
  },
);

test("uds run counts two SIGINTs at once as one", async () => {
  const script = "trap 'exit 4' TERM; echo ready >&3; read -r line <&3; sleep 0.2; exit 3";
  await using process = new Process(udsCommand(["run", "--", "sh", "-c", script], ALL), {
    input: "open",
  });
  await process.stdout.until("ready");
  process.kill("SIGINT");
  await pause(1);
  process.kill("SIGINT");
  // The command ends by itself, at the end of its input.
  assertEquals((await process.ended).code, 3);
});

test("uds run ends a command that ignores SIGTERM at the second signal", async () => {
  const script = "trap '' TERM; echo ready $$ >&3; while :; do sleep 0.05; done";
  await using process = new Process(udsCommand(["run", "--", "sh", "-c", script], ALL), {
    input: "open",
  });
  await process.stdout.until("\n");
  const pid = Number((await process.stdout.text()).split(" ")[1]);
  process.kill("SIGTERM");
  // Nothing shows when the first one has arrived.
  await pause(3 * AGAIN_MS);
  process.kill("SIGTERM");
  assertEquals((await process.ended).code, 143);
  await gone(pid);
});

test("uds serve leaves nothing behind when SIGTERM comes while it starts", async () => {
  await Promise.all([40, 80, 140, 220].map(async (ms) => {
    await using dir = new TempDir();
    await using server = new Process(udsCommand(["serve", dir.file("s"), "--", "cat"], ALL));
    await pause(ms);
    server.kill("SIGTERM");
    const { code } = await server.ended;
    assert(code === 143 || code === 0, `exit code ${code}`);
    assertEquals(dir.list(), [], `after ${ms} ms`);
  }));
});

test("uds connect --wait ends at SIGTERM", async () => {
  await using dir = new TempDir();
  await using process = new Process(udsCommand(["connect", "--wait", dir.file("s")], ALL));
  await pause(400);
  process.kill("SIGTERM");
  assertEquals((await process.ended).code, 143);
});

// ---- signals that were ignored ------------------------------------------------------------------

each(
  "uds echo keeps SIGHUP and SIGINT ignored, known from a shell and from the system",
  [ALL, ["-A"]],
  async (flags) => {
    await using dir = new TempDir();
    const command = udsCommand(["echo", dir.file("s")], flags);
    await using server = await serving(ignoring("HUP INT", command));
    server.kill("SIGHUP");
    server.kill("SIGINT");
    // Deno itself begins to listen to signals half a second after its start.
    await pause(700);
    server.kill("SIGHUP");
    server.kill("SIGINT");
    await using conn = await client(dir.file("s"));
    assertEquals(await goOn(conn), "part two");
    server.kill("SIGTERM");
    const { code, stderr } = await server.ended;
    assertEquals(code, 0);
    assertStringIncludes(stderr, "ending");
    assertEquals(dir.list(), []);
  },
);

each(
  "uds connect and uds run keep SIGHUP ignored",
  [["connect"], ["run", "--stdio", "--", "cat"]],
  async (args) => {
    await using dir = new TempDir();
    await using server = await serving(udsCommand(["echo", dir.file("s")], ALL));
    const command = udsCommand(args[0] === "run" ? args : ["connect", dir.file("s")], ALL);
    await using process = new Process(ignoring("HUP", command), { input: "open" });
    await process.type("one\n");
    await process.stdout.until("one\n");
    await pause(700);
    process.kill("SIGHUP");
    await process.type("two\n");
    await process.stdout.until("two\n");
    await process.endInput();
    assertEquals((await process.ended).code, 0);
    server.kill("SIGTERM");
    await server.ended;
  },
);

each(
  "uds echo, listen and serve end gracefully at SIGHUP",
  [["echo"], ["listen"], ["serve", "--", "cat"]],
  async ([command = "", ...rest]) => {
    await using dir = new TempDir();
    await using server = await serving(udsCommand([command, dir.file("s"), ...rest], ALL));
    server.kill("SIGHUP");
    const { code, stderr } = await server.ended;
    assertEquals([code, stderr], [0, `listening on ${dir.file("s")}\nending\n`]);
    assertEquals(dir.list(), []);
  },
);

test("uds echo that cannot know whether SIGHUP was ignored ends gracefully at it", async () => {
  await using dir = new TempDir();
  await using server = await serving(ignoring("HUP", udsCommand(["echo", dir.file("s")])));
  server.kill("SIGHUP");
  assertEquals((await server.ended).code, 0);
  assertEquals(dir.list(), []);
});

// ---- the terminal -------------------------------------------------------------------------------

const NEEDS = { needs: ["script"] };

test("uds serve on a terminal waits for the command of a client at Ctrl-C", async () => {
  await using dir = new TempDir();
  const command = udsCommand(["serve", dir.file("s"), "--", "cat"], ALL);
  await using terminal = new Process(onTerminal(command), { input: "open" });
  await using conn = await client(dir.file("s"));
  await terminal.type(CTRL_C);
  await terminal.stdout.until("ending");
  assertEquals(await goOn(conn), "part two");
  assertEquals((await terminal.ended).code, 0);
  assertEquals(dir.list(), []);
}, NEEDS);

test(
  "uds serve on a terminal ends all processes of its commands at the second Ctrl-C",
  async () => {
    await using dir = new TempDir();
    // A shell that waits for another process.
    const script = "trap '' TERM; (trap '' TERM; echo $(exec sh -c 'echo $PPID'); sleep 60); :";
    const command = udsCommand(["serve", dir.file("s"), "--", "sh", "-c", script], ALL);
    await using terminal = new Process(onTerminal(command), { input: "open" });
    await using conn = await connect({ path: dir.file("s"), wait: true, timeout: Infinity });
    const pid = Number(await readText(conn));
    assert(pid > 1);
    await terminal.type(CTRL_C);
    await terminal.stdout.until("ending");
    await pause(AGAIN_MS);
    await terminal.type(CTRL_C);
    assertEquals((await terminal.ended).code, 130);
    await gone(pid);
  },
  NEEDS,
);

test("uds serve ends with its terminal, with the path removed", async () => {
  await using dir = new TempDir();
  const command = udsCommand(["serve", dir.file("s"), "--", "cat"], ALL);
  await using terminal = new Process(onTerminal(command), { input: "open" });
  await using conn = await client(dir.file("s"));
  terminal.kill("SIGKILL");
  while (dir.list().length > 0) await pause(10);
  assertEquals(await goOn(conn), "part two");
}, NEEDS);

// ---- others -------------------------------------------------------------------------------------

test("uds serve goes on after SIGSTOP and SIGCONT", async () => {
  await using dir = new TempDir();
  await using server = await serving(udsCommand(["serve", dir.file("s"), "--", "cat"], ALL));
  await using conn = await client(dir.file("s"));
  server.kill("SIGSTOP");
  while (stateOf(server.pid) !== "T") await pause(5);
  await conn.write(encode("part two"));
  server.kill("SIGCONT");
  await conn.closeWrite();
  assertEquals(decode(await readAll(conn)), "part two");
  server.kill("SIGTERM");
  assertEquals((await server.ended).code, 0);
}, { needs: Deno.build.os === "linux" ? [] : ["/proc"] });

test("uds serve that is killed ends the input of its commands", async () => {
  await using dir = new TempDir();
  const script = `cat; echo over > ${dir.file("over")}`;
  await using server = await serving(
    udsCommand(["serve", dir.file("s"), "--", "sh", "-c", script], ALL),
  );
  await using conn = await client(dir.file("s"));
  server.kill("SIGKILL");
  assertEquals(decode(await readAll(conn)), "");
  while (!dir.list().includes("over")) await pause(10);
  await server.ended;
});

/** Returns the letter of a process's state in /proc, or `undefined` once it has gone. */
function stateOf(pid: number): string | undefined {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/stat`).match(/\) (\S)/)?.[1];
  } catch {
    return undefined;
  }
}

/** Resolves when a process has ended, whether reaped or not. */
async function gone(pid: number): Promise<void> {
  while (!["Z", "X", undefined].includes(stateOf(pid))) await pause(10);
}
