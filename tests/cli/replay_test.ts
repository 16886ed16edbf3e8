import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, serve } from "@uds/uds";
import { delay } from "../../_internal/base/event_loop.ts";
import { readRecording } from "../../_cli/io/recording.ts";
import { differences } from "../../_cli/text/differences.ts";
import { Process, uds, udsCommand } from "../_cli.ts";
import { encode, readAll, run, TempDir, test } from "../_helpers.ts";

/** Serves what each request becomes. A request ends at the end of file, or at a newline. */
function server(path: string, answer: (request: Uint8Array) => Uint8Array) {
  return serve(path, async (conn) => {
    const buffer = new Uint8Array(1000);
    for (let count; (count = await conn.read(buffer)) !== null;) {
      await conn.write(answer(buffer.slice(0, count)));
    }
  });
}

/** Records two connections: a dialog of two requests, and bytes that are not text. */
async function record(dir: TempDir, file: string): Promise<void> {
  await using _server = await server(dir.file("a.sock"), (request) => request);
  const args = ["tap", "--framing", "lines", "-o", file, dir.file("t.sock"), dir.file("a.sock")];
  await using tap = new Process(udsCommand(args));
  await tap.stderr.until("listening on");
  {
    await using conn = await connect(dir.file("t.sock"));
    for (const request of ["first\n", "second\n"]) {
      await conn.write(encode(request));
      for (let got = 0; got < request.length;) got += await conn.read(new Uint8Array(100)) ?? 100;
    }
    await conn.closeWrite();
    await readAll(conn);
  }
  {
    await using conn = await connect(dir.file("t.sock"));
    await conn.write(new Uint8Array([0xff, 0, 1]));
    await conn.closeWrite();
    await readAll(conn);
  }
  tap.kill("SIGTERM");
  const { code, stdout } = await tap.ended;
  assertEquals(code, 0);
  // The terminal has the lines, without their ends.
  assertStringIncludes(new TextDecoder().decode(stdout), '"text":"second"');
}

test("uds tap --output records what passes, and uds replay compares the answers with it", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  await record(dir, file);
  assertEquals((await Deno.stat(file)).mode! & 0o777, 0o600);
  const events = (await Deno.readTextFile(file)).trimEnd().split("\n").map((line) => {
    const { time, ...event } = JSON.parse(line);
    assertMatch(time, /^\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z$/);
    return event;
  });
  const both = (size: object) => [
    { connection: 2, event: "data", direction: "to-target", ...size },
    { connection: 2, event: "end", direction: "to-target" },
    { connection: 2, event: "data", direction: "to-client", ...size },
    { connection: 2, event: "end", direction: "to-client" },
  ];
  const byDirection = (a: { direction?: string }, b: { direction?: string }) =>
    (b.direction ?? "").localeCompare(a.direction ?? "");
  const second = events.filter(({ connection }) => connection === 2);
  assertEquals([second[0], second.at(-1)], [
    { connection: 2, event: "open" },
    { connection: 2, event: "close" },
  ]);
  assertEquals(second.slice(1, -1).sort(byDirection), both({ size: 3, hex: "ff0001" }));
  const texts = events.filter(({ text }) => text !== undefined);
  assertEquals(texts.map(({ connection, direction, text }) => [connection, direction, text]), [
    [1, "to-target", "first\n"],
    [1, "to-client", "first\n"],
    [1, "to-target", "second\n"],
    [1, "to-client", "second\n"],
  ]);

  {
    await using _server = await server(dir.file("same.sock"), (request) => request);
    assertEquals(await uds(["replay", file, dir.file("same.sock")]), {
      code: 0,
      stdout: "",
      stderr: "connections: 2, differences: 0\n",
    });
  }
  await using _server = await server(dir.file("b.sock"), (request) => {
    const text = new TextDecoder().decode(request);
    return text === "second\n" ? encode("sEcond") : request[0] === 0xff ? encode("no") : request;
  });
  const other = await uds(["replay", "--timeout", "0.3", file, dir.file("b.sock")]);
  assertEquals(other, {
    code: 1,
    stdout: 'connection 1, byte 7: expected "e", got "E"\n' +
      'connection 1, byte 12: expected "\\n", got nothing for 0.3 s\n' +
      'connection 2, byte 0: expected ff0001, got "no"\n',
    stderr: "connections: 2, differences: 3\n",
  });
  const one = await uds(["replay", "-q", "--json", "--connection", "2", file, dir.file("b.sock")]);
  assertEquals([one.code, one.stderr], [1, ""]);
  assertEquals(JSON.parse(one.stdout), {
    connection: 2,
    offset: 0,
    expected: { size: 3, hex: "ff0001" },
    got: { size: 2, text: "no" },
  });
});

test("uds replay has an exit code for each failure", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("absent.sock"), dir.file("r.jsonl")];
  const line = '{"connection":1,"event":"data","direction":"to-target","text":"x"}';
  await Deno.writeTextFile(file, `${line}\n`);
  await Deno.writeTextFile(dir.file("bad"), `${line}\n{"connection":1,"event":"data"}\n`);
  const [absent, bad, none, one] = await Promise.all([
    uds(["replay", file, path]),
    uds(["replay", dir.file("bad"), path]),
    uds(["replay", dir.file("none"), path]),
    uds(["replay", "--connection", "2", file, path]),
  ]);
  assertEquals([absent.code, bad.code, none.code, one.code], [3, 1, 3, 2]);
  assertStringIncludes(bad.stderr, 'bad": line 2 is not an event of uds tap');
  assertStringIncludes(none.stderr, `Cannot read "${dir.file("none")}"`);
  assertStringIncludes(one.stderr, "--connection must be one of 1, got 2");
});

test("uds replay names the line and the part that is wrong", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  const data = { connection: 1, event: "data", direction: "to-target", text: "x" };
  const events = "open, data, end, close, descriptors";
  const cases: [line: unknown, reason: string][] = [
    [{ ...data, connection: 0 }, '"connection" must be a positive integer, got 0'],
    [{ ...data, connection: 1.5 }, '"connection" must be a positive integer, got 1.5'],
    [{ ...data, connection: "1" }, '"connection" must be a positive integer, got "1"'],
    [{ event: "open" }, '"connection" must be a positive integer, got undefined'],
    [{ connection: 1, event: "date" }, `"event" must be one of ${events}, got "date"`],
    [{ connection: 1 }, `"event" must be one of ${events}, got undefined`],
    [{ ...data, direction: "in" }, '"direction" must be "to-target" or "to-client", got "in"'],
    [{ ...data, text: undefined }, 'it has neither "text" nor bytes as "hex"'],
    [{ ...data, text: undefined, hex: "0g" }, 'it has neither "text" nor bytes as "hex"'],
    [null, "it is not an object"],
    ["hi", "it is not an object"],
  ];
  for (const [line, reason] of cases) {
    await Deno.writeTextFile(file, `${JSON.stringify(data)}\n${JSON.stringify(line)}\n`);
    await assertRejects(
      () => readRecording(file),
      Deno.errors.InvalidData,
      `line 2 is not an event of uds tap: ${reason}`,
    );
  }
  const end = JSON.stringify({ connection: 1, event: "end", direction: "to-target" });
  await Deno.writeTextFile(file, `${end}\n${JSON.stringify(data)}\n`);
  await assertRejects(() => readRecording(file), Error, 'line 2 is not an event of uds tap: "to-t');
  await Deno.writeTextFile(file, `${end}\n{"connection":1,"eve`);
  await assertRejects(() => readRecording(file), Error, "line 2 is not an event of uds tap: it is");
});

test("uds tap --output - is refused: - is not standard output there", async () => {
  await using dir = new TempDir();
  const { code, stderr } = await uds(["tap", "-o", "-", dir.file("t.sock"), dir.file("a.sock")]);
  assertEquals([code, stderr.split("\n")[0]], [
    2,
    'uds: --output must be a file, got "-". --json prints the events on standard output',
  ]);
});

test("uds tap --output names the file that it cannot write", async () => {
  await using dir = new TempDir();
  const file = dir.file("absent/r.jsonl");
  const args = ["tap", "--output", file, dir.file("t.sock"), dir.file("a.sock")];
  const { code, stderr } = await uds(args);
  assertEquals(code, 3);
  assertStringIncludes(stderr, `uds: Cannot write "${file}": No such file`);
  assertEquals(dir.list(), []);
});

test("uds tap --output keeps an older recording if it cannot serve", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  await Deno.writeTextFile(file, "older\n");
  await using _server = await server(dir.file("t.sock"), (request) => request);
  const { code } = await uds(["tap", "-o", file, dir.file("t.sock"), dir.file("a.sock")]);
  assertEquals([code, await Deno.readTextFile(file)], [5, "older\n"]);
  // Once it serves, the file has nothing but the new recording.
  const args = ["tap", "-o", file, dir.file("u.sock"), dir.file("a.sock")];
  await using tap = new Process(udsCommand(args));
  await tap.stderr.until("listening on");
  tap.kill("SIGTERM");
  await tap.ended;
  assertEquals(await Deno.readTextFile(file), "");
});

/** Waits until a thread of a process waits for the other end of a fifo (fs/pipe.c of Linux). */
async function opensFifo(pid: number): Promise<void> {
  // Other systems do not show what a thread waits for.
  if (Deno.build.os !== "linux") return await delay(1000);
  const waits = ({ name }: Deno.DirEntry) => {
    try {
      return Deno.readTextFileSync(`/proc/${pid}/task/${name}/wchan`).includes("wait_for_partner");
    } catch {
      // The thread has ended.
      return false;
    }
  };
  while (![...Deno.readDirSync(`/proc/${pid}/task`)].some(waits)) await delay(10);
}

test("uds tap --output ends at a signal while a pipe has no reader", async () => {
  await using dir = new TempDir();
  const pipe = dir.file("pipe");
  assertEquals((await run("mkfifo", [pipe])).code, 0);
  const args = ["tap", "--output", pipe, dir.file("t.sock"), dir.file("a.sock")];
  await using tap = new Process(udsCommand(args));
  await opensFifo(tap.pid);
  tap.kill("SIGTERM");
  const { code } = await tap.ended;
  assertEquals([code, dir.list()], [143, ["pipe"]]);
}, { needs: ["mkfifo"] });

/** Writes a recording of a request and its answer. */
async function writeRecording(file: string, request: string, answer: string): Promise<void> {
  const events = [["to-target", request], ["to-client", answer]].map(([direction, text]) =>
    `${JSON.stringify({ connection: 1, event: "data", direction, text })}\n`
  );
  await Deno.writeTextFile(file, events.join(""));
}

test("uds replay reports a server that sends nothing more, and does not take it for its end", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("s.sock"), dir.file("r.jsonl")];
  await writeRecording(file, "hi", "hi");
  await using _server = await serve(path, (conn) => conn.closed);
  const args = ["replay", "--timeout", "0.2", file, path];
  const { code, stdout } = await uds(args);
  assertEquals([code, stdout], [1, 'connection 1, byte 0: expected "hi", got nothing for 0.2 s\n']);
  assertEquals(JSON.parse((await uds([...args, "--json"])).stdout).silent, true);
});

test("uds replay reports the silence after bytes that differ", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("s.sock"), dir.file("r.jsonl")];
  await writeRecording(file, "hi", "long");
  await using _server = await serve(path, async (conn) => {
    await conn.write(encode("S"));
    await conn.closed;
  });
  const args = ["replay", "--timeout", "0.2", file, path];
  assertEquals(
    (await uds(args)).stdout,
    'connection 1, byte 0: expected "long", got "S", then nothing for 0.2 s\n',
  );
  assertEquals(JSON.parse((await uds([...args, "--json"])).stdout).silent, true);
});

test("uds tap --output ends when its file takes nothing more", async () => {
  await using dir = new TempDir();
  await using _server = await server(dir.file("a.sock"), (request) => request);
  const args = ["tap", "-o", "/dev/full", dir.file("t.sock"), dir.file("a.sock")];
  await using tap = new Process(udsCommand(args, ["-A"]));
  await tap.stderr.until("listening on");
  const conn = await connect(dir.file("t.sock"));
  const { code, stderr } = await tap.ended;
  conn.close();
  assertEquals(code, 1);
  assertStringIncludes(stderr, 'uds: Cannot write "/dev/full": No space left on device');
}, { needs: Deno.build.os === "linux" ? [] : ["/dev/full"] });

for (
  const [expected, got, found] of [
    ["same", "same", []],
    ["abc", "aXc", [[1, "b", "X"]]],
    ["a....b.c", "A....B.C", [[0, "a", "A"], [5, "b.c", "B.C"]]],
    ["abc", "a", [[1, "bc", ""]]],
    ["", "more", [[0, "", "more"]]],
    ["aX", "ab and more", [[1, "X", "b and more"]]],
  ] as const
) {
  test(`differences() of ${JSON.stringify([expected, got])}`, () => {
    const decoder = new TextDecoder();
    const seen = differences(encode(expected), encode(got)).map((difference) => [
      difference.offset,
      decoder.decode(difference.expected),
      decoder.decode(difference.got),
    ]);
    assertEquals(seen, found.map((range) => [...range]));
  });
}
