import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, listen, serve } from "@uds/uds";
import { onTerminal, Process, udsCommand } from "../_cli.ts";
import { decode, encode, readAll, readText, TempDir, test } from "../_helpers.ts";

// Other systems have a different program named script.
const NEEDS = { needs: Deno.build.os === "linux" ? ["script"] : ["script of util-linux"] };

/** Starts the command line on a terminal of its own, for typing into it. */
function typing(
  args: string[],
  options: { flags?: string[]; env?: Record<string, string> } = {},
): Process {
  // Without --no-prompt, so that a prompt would show.
  const command = udsCommand(args, options.flags).filter((arg) => arg !== "--no-prompt");
  const env = { NO_COLOR: "", TERM: "xterm", ...options.env };
  return new Process(onTerminal(command), { input: "open", env });
}

/** Returns what a terminal has shown, after its program has ended. */
async function shown(terminal: Process): Promise<{ code: number; text: string }> {
  const { code, stdout } = await terminal.ended;
  return { code, text: decode(stdout).replaceAll("\r\n", "\n") };
}

const CTRL_C = "\x03";
const CTRL_D = "\x04";

test("uds connect on a terminal ends when the server closes", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("s.sock"));
  await using terminal = typing(["connect", dir.file("s.sock")]);
  await using conn = await listener.accept();
  await terminal.type("hello\n");
  assertEquals(await readText(conn), "hello\n");
  await conn.write(encode("bye\n"));
  conn.close();
  assertEquals(await shown(terminal), { code: 0, text: "hello\nbye\n" });
}, NEEDS);

test("uds connect on a terminal sends the end of file at Ctrl-D", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await conn.write(encode(`got ${decode(await readAll(conn))}`));
  });
  await using terminal = typing(["connect", dir.file("s.sock")]);
  await terminal.type(`hello\n${CTRL_D}`);
  const { code, text } = await shown(terminal);
  assertEquals(code, 0);
  assertStringIncludes(text, "got hello\n");
}, NEEDS);

test("uds listen and uds connect talk from terminal to terminal", async () => {
  await using dir = new TempDir();
  await using server = typing(["listen", dir.file("s.sock")]);
  await server.stdout.until("listening");
  await using client = typing(["connect", dir.file("s.sock")]);
  await client.type("ping\n");
  await server.stdout.until("ping");
  await server.type("pong\n");
  await client.stdout.until("pong");
  await client.type(CTRL_D);
  await server.type(CTRL_D);
  const ends = await Promise.all([shown(server), shown(client)]);
  assertEquals(ends.map(({ code }) => code), [0, 0]);
  assertEquals(dir.list(), []);
}, NEEDS);

for (const command of ["echo", "listen"]) {
  test(`uds ${command} on a terminal ends at Ctrl-C, with the path removed`, async () => {
    await using dir = new TempDir();
    await using terminal = typing([command, dir.file("s.sock")]);
    await terminal.stdout.until("listening");
    await terminal.type(CTRL_C);
    const { code, text } = await shown(terminal);
    assertEquals(code, 0, text);
    assertMatch(text, /^listening on .*\n(\^C)?ending\n$/);
    assertEquals(dir.list(), []);
  }, NEEDS);
}

test("uds echo on a terminal ends at once at the second Ctrl-C", async () => {
  await using dir = new TempDir();
  await using terminal = typing(["echo", dir.file("s.sock")]);
  await using conn = await connect({ path: dir.file("s.sock"), wait: true, timeout: Infinity });
  await conn.write(encode("x"));
  await readText(conn);
  await terminal.type(CTRL_C);
  await terminal.stdout.until("ending");
  // Any sooner, it would count as the same Ctrl-C.
  await new Promise((resolve) => setTimeout(resolve, 550));
  await terminal.type(CTRL_C);
  // If a signal ends the program, script exits with 128 plus its number.
  assertEquals((await shown(terminal)).code, 130);
}, NEEDS);

test("uds connect on a terminal ends at the first Ctrl-C", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("s.sock"));
  await using terminal = typing(["connect", dir.file("s.sock")]);
  await using _conn = await listener.accept();
  await terminal.type(CTRL_C);
  assertEquals((await shown(terminal)).code, 130);
}, NEEDS);

test("uds run on a terminal leaves Ctrl-C to its command", async () => {
  const script = "trap 'echo once >&3; exit 4' INT; echo ready >&3; while :; do sleep 0.01; done";
  await using terminal = typing(["run", "--", "sh", "-c", script], {
    flags: ["--allow-run", "--allow-env"],
  });
  // With the end of the line: the terminal drops at Ctrl-C what it has not passed on.
  await terminal.stdout.until("ready\r\n");
  await terminal.type(CTRL_C);
  const { code, text } = await shown(terminal);
  assertEquals([code, text.replace("^C", "")], [4, "ready\nonce\n"]);
}, NEEDS);

const ASKING: [args: string[], wants: string][] = [
  [["connect", "/run/a.sock"], "--allow-read=/run/a.sock --allow-write=/run/a.sock --allow-net="],
  [["send", "/run/a.sock", "m"], "--allow-read=/run/a.sock"],
  [["probe", "/run/a.sock"], "--allow-read=/run/a.sock,/run/a.sock.lock"],
  [["echo", "/run/a.sock"], "--allow-read=/run/a.sock,/run/a.sock.lock"],
  [["listen", "/run/a.sock"], "--allow-read=/run/a.sock,/run/a.sock.lock"],
  [["rm", "/run/a.sock"], "--allow-read=/run/a.sock,/run/a.sock.lock"],
  [["ls"], "--allow-env=XDG_RUNTIME_DIR,TMPDIR --allow-sys=uid"],
  [["ls", "/run"], "--allow-read=/run"],
  [["run", "true"], "--allow-run=true --allow-env"],
];

for (const [args, wants] of ASKING) {
  test(`uds ${args.join(" ")} without permissions does not prompt on a terminal`, async () => {
    await using terminal = typing(args, { flags: [] });
    const { code, text } = await shown(terminal);
    assertEquals(code, 9, text);
    assertStringIncludes(text, wants);
    assert(!text.includes("[y/n"), text);
  }, NEEDS);
}

test("uds send on a terminal leaves the prompt on a line of its own", async () => {
  await using dir = new TempDir();
  await using _server = await serve(
    dir.file("s.sock"),
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  for (const [message, text] of [["hello", "hello\n"], ["hello\n", "hello\n"], ["", ""]] as const) {
    await using terminal = typing(["send", dir.file("s.sock"), message]);
    assertEquals(await shown(terminal), { code: 0, text });
  }
  await using terminal = typing(["send", dir.file("s.sock")]);
  await terminal.stdout.until("Ctrl-D");
  await terminal.type(`hello\n${CTRL_D}`);
  const { text } = await shown(terminal);
  assertEquals(text.replace("^D\b\b", ""), "type the message, and Ctrl-D\nhello\nhello\n");
}, NEEDS);

test("colors are for terminals without NO_COLOR", async () => {
  for (const [env, isColoured] of [[{ NO_COLOR: "" }, true], [{ NO_COLOR: "1" }, false]] as const) {
    for (const args of [["--help"], ["probe"], ["ls", "/nowhere"]]) {
      await using terminal = typing(args, { env });
      const { text } = await shown(terminal);
      assertEquals(text.includes("\x1b["), isColoured, JSON.stringify(text));
    }
  }
}, NEEDS);
