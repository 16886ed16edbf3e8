import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { connect, type Connection, serve } from "@uds/uds";
import { delay } from "../../_internal/base/event_loop.ts";
import { limitOf } from "../../_cli/commands/replay.ts";
import { readRecording } from "../../_cli/io/recording.ts";
import { differences } from "../../_cli/text/differences.ts";
import { Process, uds, udsCommand } from "../_cli.ts";
import { encode, readAll, TempDir, test } from "../_helpers.ts";

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
  await Deno.writeTextFile(file, `${end}\n{"connection":1,"eve\n`);
  await assertRejects(() => readRecording(file), Error, "line 2 is not an event of uds tap: it is");
});

test("uds replay says that a recording was cut off, if its last line is not whole", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  const line = '{"connection":1,"event":"data","direction":"to-target","text":"ü"}';
  const bytes = encode(`${line}\n${line}`);
  const first = encode(line).length + 1;
  // The whole line is an event, although its newline is missing.
  await Deno.writeFile(file, bytes);
  assertEquals((await readRecording(file)).get(1)?.steps.length, 2);
  for (const length of [first + 1, bytes.length - 4, bytes.length - 1]) {
    await Deno.writeFile(file, bytes.subarray(0, length));
    await assertRejects(
      () => readRecording(file),
      Deno.errors.InvalidData,
      `Cannot read "${file}": it ends within line 2, so the recording was cut off. ` +
        "Remove that line to play the rest",
    );
  }
});

test("uds replay does not take the only line of another program's file for a cut-off one", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.gz");
  for (const content of ["\x1f\x8b\x08\x00", '{"connection":1,"ev', "\n\nsome text"]) {
    await Deno.writeTextFile(file, content);
    const { code, stderr } = await uds(["replay", file, dir.file("s.sock")]);
    const number = content.split("\n").length;
    assertEquals([code, stderr], [
      1,
      `uds: Cannot read "${file}": line ${number} is not an event of uds tap: it is not JSON\n`,
    ]);
  }
});

test("uds replay reads a recording with a byte order mark and lines of spaces", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  const line = '{"connection":1,"event":"data","direction":"to-target","text":"x"}';
  await Deno.writeTextFile(file, `\ufeff${line}\r\n \t\r\n${line}\n\n   `);
  assertEquals((await readRecording(file)).get(1)?.steps.length, 2);
});

test("uds replay reads a recording from standard input", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await server(path, (request) => request);
  const text = "é".repeat(300_000);
  const events = ["to-target", "to-client"].map((direction) =>
    `${JSON.stringify({ connection: 1, event: "data", direction, text })}\n`
  );
  const equal = { code: 0, stdout: "", stderr: "connections: 1, differences: 0\n" };
  for (const file of ["-", "/dev/stdin"]) {
    const input = `\ufeff${events.join("")}`;
    assertEquals(await uds(["replay", file, path], { input }), equal);
    const { code, stderr } = await uds(["replay", file, path]);
    assertEquals([code, stderr], [1, "uds: Cannot replay standard input: it is empty\n"]);
    const broken = await uds(["replay", file, path], { input: "x\n" });
    assertStringIncludes(broken.stderr, "uds: Cannot read standard input: line 1 is not an event");
  }
  const { stdout } = await uds(["permissions", "--json", "replay", "-", path]);
  assertEquals(stdout.includes('"-"'), false);
});

test(
  "uds replay refuses a descriptor of the shell with the way to give the recording",
  async () => {
    await using dir = new TempDir();
    const command = udsCommand(["replay", "/dev/fd/9", dir.file("s.sock")]);
    await using replay = new Process(["sh", "-c", 'exec "$@" 9< /dev/null', "sh", ...command]);
    const { code, stderr } = await replay.ended;
    assertEquals([code, stderr], [
      9,
      'uds: Cannot read "/dev/fd/9": Deno opens it only with all permissions. ' +
      "Pipe the recording in, and write - instead\n",
    ]);
  },
  { needs: Deno.build.os === "linux" ? [] : ["/proc"] },
);

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

/** Writes a recording of one connection: data of each direction, `end` or `close`. */
async function writeEvents(file: string, ...events: object[]): Promise<void> {
  const lines = events.map((event) => `${JSON.stringify({ connection: 1, ...event })}\n`);
  await Deno.writeTextFile(file, lines.join(""));
}

const sent = (text: string) => ({ event: "data", direction: "to-target", text });
const answered = (text: string) => ({ event: "data", direction: "to-client", text });
const ended = (direction: string) => ({ event: "end", direction });
const UNTAKEN = /^connection 1: \d+ bytes were not taken\n$/;

for (
  const [what, serveOne] of [
    ["does not read", (conn) => conn.closed],
    ["closes at once", () => Promise.resolve()],
  ] as [string, (conn: Connection) => Promise<void>][]
) {
  test(`uds replay reports the bytes that are not taken by a server that ${what}`, async () => {
    await using dir = new TempDir();
    const [path, file] = [dir.file("s.sock"), dir.file("r.jsonl")];
    const pieces = Array.from({ length: 20 }, () => sent("x".repeat(100_000)));
    await writeEvents(file, ...pieces, ended("to-target"));
    await using _server = await serve(path, serveOne);
    const args = ["replay", "--timeout", "0.3", file, path];
    const { code, stdout, stderr } = await uds(args);
    assertMatch(stdout, UNTAKEN);
    assertEquals([code, stderr], [1, "connections: 1, differences: 1\n"]);
    const { untaken, ...rest } = JSON.parse((await uds([...args, "--json"])).stdout);
    assertEquals(rest, { connection: 1 });
    assert(untaken > 1_000_000 && untaken <= 2_000_000, `${untaken}`);
  });
}

test("uds replay reports a server that closes before it has read a small message", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("s.sock"), dir.file("r.jsonl")];
  await writeEvents(file, sent("hi"), ended("to-client"));
  await using _server = await serve(path, () => Promise.resolve());
  const { code, stdout } = await uds(["replay", file, path]);
  // The kernel may have taken them before the server closed.
  assertMatch(stdout, /^connection 1: (2|some) bytes were not taken\n$/);
  assertEquals(code, 1);
}, { needs: Deno.build.os === "linux" ? [] : ["a reset at unread bytes"] });

test("uds replay takes its time for a server that reads slowly", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("s.sock"), dir.file("r.jsonl")];
  await writeEvents(file, sent("x".repeat(2_000_000)), ended("to-target"), ended("to-client"));
  await using _server = await serve(path, async (conn) => {
    const buffer = new Uint8Array(64 * 1024);
    while (await conn.read(buffer) !== null) await delay(30);
  });
  const { code, stdout } = await uds(["replay", "--timeout", "0.5", file, path]);
  assertEquals([code, stdout], [0, ""]);
});

test("uds replay is equal if a server closes where it did, and only an end is left", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("s.sock"), dir.file("r.jsonl")];
  await writeEvents(
    file,
    sent("hi"),
    answered("hi"),
    ended("to-client"),
    ended("to-target"),
    { event: "close" },
  );
  await using _server = await serve(path, async (conn) => {
    await conn.read(new Uint8Array(10));
    await conn.write(encode("hi"));
  });
  const { code, stdout } = await uds(["replay", file, path]);
  assertEquals([code, stdout], [0, ""]);
});

test("uds replay is equal if a server closes too early again, as it was recorded", async () => {
  await using dir = new TempDir();
  const [path, file, tapped] = [dir.file("s.sock"), dir.file("r.jsonl"), dir.file("t.sock")];
  await using _server = await serve(path, async (conn) => {
    await conn.read(new Uint8Array(100));
    await conn.write(encode("no"));
  });
  await using tap = new Process(udsCommand(["tap", "-o", file, tapped, path]));
  await tap.stderr.until("listening on");
  {
    await using conn = await connect(tapped);
    await conn.write(new Uint8Array(2_000_000)).catch(() => {});
    await readAll(conn).catch(() => {});
  }
  tap.kill("SIGTERM");
  await tap.ended;
  assertMatch(await Deno.readTextFile(file), /"event":"close","reason":/);
  assertEquals((await uds(["replay", file, path])).stdout, "");
  // One that never reads does something else.
  await using _idle = await serve(dir.file("idle.sock"), async (conn) => {
    await conn.write(encode("no"));
    await conn.closed;
  });
  await writeEvents(
    file,
    sent("x".repeat(2_000_000)),
    answered("no"),
    { event: "close", reason: "the peer closed" },
  );
  const { code, stdout } = await uds(["replay", "-w", "0.3", file, dir.file("idle.sock")]);
  assertMatch(stdout, /\d+ bytes were not taken\n$/);
  assertEquals(code, 1);
});

test("uds replay does not wait on for a server that goes on after the recorded bytes", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("s.sock"), dir.file("r.jsonl")];
  await writeEvents(file, answered("hi"), ended("to-client"));
  await using _server = await serve(path, async (conn) => {
    await conn.write(encode("hi"));
    for (let isOpen = true; isOpen;) {
      isOpen = await conn.write(encode("!")).then(() => true, () => false);
      await delay(50);
    }
  });
  const { code, stdout } = await uds(["replay", "--timeout", "0.5", file, path]);
  assertMatch(stdout, /^connection 1, byte 2: expected the end, got "!+"\n$/);
  assertEquals(code, 1);
});

for (
  const [flags, expected] of [
    [{}, 5000],
    [{ timeout: 300 }, 300],
    [{ timeout: 0 }, Infinity],
    [{ listen: true }, Infinity],
    [{ listen: true, timeout: 300 }, 300],
    [{ listen: true, timeout: 0 }, Infinity],
  ] as const
) {
  test(`the limit of uds replay with ${JSON.stringify(flags)} is ${expected} ms`, () => {
    assertEquals(limitOf(flags), expected);
  });
}

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
