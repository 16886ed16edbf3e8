import { connect, serve, shutdownOnSignal } from "@uds/uds";
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { encode, fixture, type Program, readText, TempDir, test } from "../_helpers.ts";
import { delay } from "./_server.ts";

async function started(how: string): Promise<Program> {
  const program = fixture("stop_on_signal.ts", [], [how]);
  assertEquals(await program.line(), "ready");
  return program;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`shutdownOnSignal() shuts down at ${signal}, and the process goes on`, async () => {
    await using program = await started("once");
    program.kill(signal);
    assertEquals(await program.output(), ["shutdown", "end"]);
    assertEquals([(await program.status).code, await program.stderr()], [0, ""]);
  });
}

test("shutdownOnSignal() counts a signal that follows at once as the first", async () => {
  await using program = await started("hangs");
  program.kill("SIGINT");
  assertEquals(await program.line(), "shutdown");
  program.kill("SIGINT");
  await delay(1000);
  program.kill("SIGTERM");
  assertEquals((await program.status).signal, "SIGTERM");
  assertEquals(await program.output(), []);
});

test("shutdownOnSignal() prints why shutdown() failed", async () => {
  await using program = await started("fails");
  program.kill("SIGTERM");
  assertEquals(await program.line(), "shutdown");
  await delay(1000);
  program.kill("SIGTERM");
  assertEquals((await program.status).signal, "SIGTERM");
  assertMatch(await program.stderr(), /^Error: it failed\n/);
});

test("shutdownOnSignal() leaves a signal its default effect after it was disposed of", async () => {
  await using program = await started("disposed");
  program.kill("SIGTERM");
  assertEquals((await program.status).signal, "SIGTERM");
  assertEquals(await program.output(), []);
});

test("shutdownOnSignal() does not keep the process running", async () => {
  await using program = fixture("stop_on_signal.ts", [], ["idle"]);
  assertEquals(await program.output(), ["ready", "end"]);
});

test("shutdownOnSignal() shuts down a server of serve() gracefully", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const server = await serve(path, async (conn) => {
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  using _signals = shutdownOnSignal(server, ["SIGUSR2"]);
  await using conn = await connect(path);
  Deno.kill(Deno.pid, "SIGUSR2");
  await conn.write(encode("hello"));
  assertEquals(await readText(conn), "you said hello");
  await server.finished;
  assertEquals(dir.list(), []);
});

test("shutdownOnSignal() shuts down a server of Deno.serve", async () => {
  await using dir = new TempDir();
  const options = { path: dir.file("s.sock"), onListen() {} };
  const server = Deno.serve(options, () => new Response("hello"));
  using _signals = shutdownOnSignal(server, ["SIGUSR2"]);
  Deno.kill(Deno.pid, "SIGUSR2");
  await server.finished;
});

const WRONG: [args: unknown[], message: string][] = [
  [[undefined], "Invalid server: expected one with shutdown(), got undefined"],
  [[{}], "Invalid server: expected one with shutdown(), got an object (Object)"],
  [[{ shutdown() {} }, "SIGTERM"], 'Invalid signals: expected an array, got "SIGTERM"'],
  [[{ shutdown() {} }, ["SIGUSR2", "SIGKILL"]], "SIGKILL"],
  [[{ shutdown() {} }, ["SIGTERM"], {}], "Unexpected third argument of shutdownOnSignal()"],
];

for (const [args, message] of WRONG) {
  test(`shutdownOnSignal() refuses: ${message}`, () => {
    assertThrows(() => shutdownOnSignal(...args as [never]), TypeError, message);
  });
}
