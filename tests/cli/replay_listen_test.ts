import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect } from "@uds/uds";
import { delay } from "../../_internal/base/event_loop.ts";
import { type Ended, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, Program, readAll, readText, run, TempDir, test } from "../_helpers.ts";

/** Two connections that were open at the same time. The second one half-closes. */
const EVENTS = [
  { connection: 1, event: "open" },
  { connection: 1, event: "data", direction: "to-target", text: "one\n" },
  { connection: 2, event: "open" },
  { connection: 2, event: "data", direction: "to-target", hex: "ff00" },
  { connection: 2, event: "end", direction: "to-target" },
  { connection: 2, event: "data", direction: "to-client", hex: "00ff" },
  { connection: 2, event: "end", direction: "to-client" },
  { connection: 1, event: "data", direction: "to-client", text: "ONE\n" },
  { connection: 1, event: "data", direction: "to-target", text: "two\n" },
  { connection: 1, event: "data", direction: "to-client", text: "TWO\n" },
  { connection: 1, event: "end", direction: "to-target" },
];

/** Starts the server of a recording, and waits until it listens. */
async function replay(dir: TempDir, ...args: string[]): Promise<Process> {
  const file = dir.file("r.jsonl");
  await Deno.writeTextFile(file, EVENTS.map((event) => `${JSON.stringify(event)}\n`).join(""));
  const all = ["replay", "--listen", ...args, file, dir.file("s")];
  const server = new Process(udsCommand(all));
  await server.stderr.until("listening");
  return server;
}

/** Returns its exit code, its output, and what it reported after it listened. */
async function ended(server: Process): Promise<[code: number, stdout: string, stderr: string]> {
  const { code, stdout, stderr }: Ended = await server.ended;
  return [code, decode(stdout), stderr.replace(/^listening on .*\n/, "")];
}

test("uds replay --listen answers several clients at once as the recorded server did", async () => {
  await using dir = new TempDir();
  await using server = await replay(dir);
  await using first = await connect(dir.file("s"));
  await first.write(encode("on"));
  await using second = await connect(dir.file("s"));
  // All recorded connections are taken.
  await second.write(new Uint8Array([0xff, 0]));
  await second.closeWrite();
  assertEquals([...await readAll(second)], [0, 0xff]);
  // How its writes split the bytes does not matter.
  await first.write(encode("e\ntwo\n"));
  let answer = "";
  while (answer.length < 8) answer += await readText(first);
  assertEquals(answer, "ONE\nTWO\n");
  await first.closeWrite();
  assertEquals(await ended(server), [0, "", "connections: 2, differences: 0\n"]);
  assertEquals(dir.list(), ["r.jsonl"]);
});

test("uds replay --listen ends at the first byte that differs", async () => {
  await using dir = new TempDir();
  await using server = await replay(dir);
  await using conn = await connect(dir.file("s"));
  await conn.write(encode("one\n"));
  assertEquals(await readText(conn), "ONE\n");
  await conn.write(encode("tWo"));
  assertEquals(await readText(conn).catch(() => null), null);
  assertEquals(await ended(server), [
    1,
    'connection 1, byte 5: expected "w", got "W"\n',
    "connections: 1 of 2, differences: 1\n",
  ]);
});

test("uds replay --listen reports a client that ends early, and one that sends more", async () => {
  await using dir = new TempDir();
  await using server = await replay(dir, "--json", "--connection", "2");
  {
    await using conn = await connect({ path: dir.file("s"), wait: true, timeout: Infinity });
    await conn.write(new Uint8Array([0xff]));
    await conn.closeWrite();
    assertEquals(await conn.read(new Uint8Array(1)), null);
  }
  const [code, stdout] = await ended(server);
  assertEquals(code, 1);
  assertEquals(JSON.parse(stdout), {
    connection: 2,
    offset: 1,
    expected: { size: 1, text: "\0" },
    got: { size: 0, text: "" },
  });
  await using again = await replay(dir, "--connection", "2");
  await using conn = await connect(dir.file("s"));
  await conn.write(new Uint8Array([0xff, 0, 1]));
  assertEquals(await conn.read(new Uint8Array(1)).catch(() => null), null);
  assertEquals((await ended(again)).slice(0, 2), [
    1,
    'connection 2, byte 2: expected the end, got "\\u0001"\n',
  ]);
});

test("uds replay --listen ends at a signal, and after --timeout, without having played all", async () => {
  await using dir = new TempDir();
  {
    await using server = await replay(dir);
    await using conn = await connect(dir.file("s"));
    await conn.write(encode("one\n"));
    assertEquals(await readText(conn), "ONE\n");
    server.kill("SIGTERM");
    assertEquals(await readText(conn).catch(() => null), null);
    const summary = "ending\nconnections: 0 of 2, differences: 0\n";
    assertEquals(await ended(server), [1, "", summary]);
  }
  await using server = await replay(dir, "--timeout", "0.2");
  const silent = `uds: Cannot serve on "${dir.file("s")}": no client within 0.2 s\n`;
  assertEquals(await ended(server), [8, "", silent]);
});

/** Starts the server of a recording with a large answer. */
async function replayLarge(dir: TempDir, ...args: string[]): Promise<Process> {
  const data = (direction: string, text: string) =>
    `${JSON.stringify({ connection: 1, event: "data", direction, text })}\n`;
  const file = dir.file("r.jsonl");
  const answer = data("to-client", "x".repeat(100_000)).repeat(20);
  await Deno.writeTextFile(file, data("to-target", "go") + answer);
  const server = new Process(udsCommand(["replay", "--listen", ...args, file, dir.file("s")]));
  await server.stderr.until("listening");
  return server;
}

test("uds replay --listen reports the bytes that its client did not take", async () => {
  await using dir = new TempDir();
  {
    await using server = await replayLarge(dir);
    {
      await using conn = await connect(dir.file("s"));
      await conn.write(encode("go"));
      await conn.read(new Uint8Array(100));
    }
    const [code, stdout, stderr] = await ended(server);
    assertMatch(stdout, /^connection 1: \d+ bytes were not taken\n$/);
    assertEquals([code, stderr], [1, "connections: 1, differences: 1\n"]);
  }
  await using server = await replayLarge(dir, "--timeout", "0.3", "--json");
  await using conn = await connect(dir.file("s"));
  await conn.write(encode("go"));
  const [code, stdout] = await ended(server);
  const { untaken, ...rest } = JSON.parse(stdout);
  assertEquals([code, rest], [1, { connection: 1 }]);
  assert(untaken > 1_000_000 && untaken < 2_000_000, `${untaken}`);
});

test("uds replay --listen plays a connection again after a client that sent nothing", async () => {
  await using dir = new TempDir();
  await using server = await replay(dir);
  const probe = async () => assertEquals((await uds(["probe", dir.file("s")])).code, 0);
  await probe();
  await probe();
  await using first = await connect(dir.file("s"));
  await first.write(encode("one\n"));
  assertEquals(await readText(first), "ONE\n");
  // The last connection is given back as well, and a client that waits gets it.
  const silent = await connect(dir.file("s"));
  await using second = await connect(dir.file("s"));
  await second.write(new Uint8Array([0xff, 0]));
  silent.close();
  await second.closeWrite();
  assertEquals([...await readAll(second)], [0, 0xff]);
  // Every connection has begun, so others are refused.
  assertEquals((await uds(["probe", dir.file("s")])).code, 3);
  await first.write(encode("two\n"));
  assertEquals(await readText(first), "TWO\n");
  await first.closeWrite();
  assertEquals(await ended(server), [0, "", "connections: 2, differences: 0\n"]);
});

test("uds replay --listen plays connections again in their order", async () => {
  await using dir = new TempDir();
  await using server = await replay(dir);
  const silent = [await connect(dir.file("s")), await connect(dir.file("s"))];
  for (const conn of silent) {
    conn.close();
    await delay(100);
  }
  await using first = await connect(dir.file("s"));
  await first.write(encode("one\ntwo\n"));
  let answer = "";
  while (answer.length < 8) answer += await readText(first);
  assertEquals(answer, "ONE\nTWO\n");
  server.kill("SIGTERM");
  assertEquals((await ended(server))[1], "");
});

test("uds replay has an error for --listen with --wait, and for an empty recording", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  await Deno.writeTextFile(file, "");
  const [both, empty] = await Promise.all([
    uds(["replay", "--listen", "--wait", file, dir.file("s")]),
    uds(["replay", file, dir.file("s")]),
  ]);
  assertEquals([both.code, empty.code], [2, 1]);
  assertStringIncludes(both.stderr, "--listen and --wait do not go together");
  assertStringIncludes(empty.stderr, `Cannot replay "${file}": it is empty`);
});

test("uds replay --listen is Redis for redis-cli, as it was recorded", async () => {
  await using dir = new TempDir();
  const [path, tapped, file] = [dir.file("redis.sock"), dir.file("tap.sock"), dir.file("r.jsonl")];
  const cli = (at: string, word: string) =>
    run("redis-cli", ["-s", at], `SET key ${word}\nAPPEND key !\nGET key\nNONSENSE\n`);
  const options = ["--port", "0", "--unixsocket", path, "--save", "", "--dir", dir.path];
  {
    await using _redis = new Program("redis-server", options);
    (await connect({ path, wait: true, timeout: Infinity })).close();
    await using tap = new Process(udsCommand(["tap", "--output", file, tapped, path]));
    await tap.stderr.until("listening on");
    const { stdout } = await cli(tapped, "value");
    assertStringIncludes(stdout, "OK\n6\nvalue!\nERR unknown command");
    tap.kill("SIGTERM");
    assertEquals((await tap.ended).code, 0);
  }
  // redis-cli asks for more than its input says.
  const events = (await Deno.readTextFile(file)).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  const sent = events.map(({ direction, text }) => direction === "to-target" ? text ?? "" : "");
  const at = sent.join("").indexOf("value") + 3;
  for (
    const [word, code, difference] of [
      ["value", 0, ""],
      ["valve", 1, `connection 1, byte ${at}: expected "u", got "v"\n`],
    ] as const
  ) {
    const stand = dir.file("stand.sock");
    await using server = new Process(udsCommand(["replay", "--listen", file, stand]));
    await server.stderr.until("listening on");
    const { stdout } = await cli(stand, word);
    assertEquals(stdout.startsWith("OK\n6\nvalue!\nERR unknown command"), code === 0);
    assertEquals((await ended(server)).slice(0, 2), [code, difference]);
  }
}, { needs: ["redis-server", "redis-cli"] });
