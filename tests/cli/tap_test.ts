import { settlesWithin } from "../../_internal/base/silence.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, serve } from "@uds/uds";
import { onTerminal, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, readAll, TempDir, test } from "../_helpers.ts";

/** Starts the command in front of a server that echoes at the end of file. */
async function tapping(dir: TempDir, options: string[], how = (command: string[]) => command) {
  const server = await serve(dir.file("a.sock"), async (conn) => {
    await conn.write(await readAll(conn));
  });
  const args = ["tap", ...options, dir.file("t.sock"), dir.file("a.sock")];
  const env = { NO_COLOR: "", TERM: "xterm" };
  const process = new Process(how(udsCommand(args)), { env });
  await Promise.race([process.stderr.until("listening"), process.stdout.until("listening")]);
  return {
    process,
    async exchange(data: Uint8Array): Promise<Uint8Array> {
      await using conn = await connect(dir.file("t.sock"));
      await conn.write(data);
      await conn.closeWrite();
      return await readAll(conn);
    },
    async [Symbol.asyncDispose]() {
      await process[Symbol.asyncDispose]();
      await server.shutdown();
    },
  };
}

test("uds tap prints each message as JSON, with direction, time and size, and passes it on", async () => {
  await using dir = new TempDir();
  await using tap = await tapping(dir, ["--framing", "u32be"]);
  const data = new Uint8Array([0, 0, 0, 2, 0x68, 0x69, 0, 0, 0, 1, 0xff]);
  assertEquals(await tap.exchange(data), data);
  await tap.process.stdout.until("close");
  tap.process.kill("SIGTERM");
  const { code, stdout } = await tap.process.ended;
  assertEquals(code, 0);
  const seen = decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
  for (const { time } of seen) assertMatch(time, /^\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z$/);
  const connection = 1;
  const messages = (direction: string) => [
    { connection, event: "data", direction, size: 2, text: "hi" },
    { connection, event: "data", direction, size: 1, hex: "ff" },
    { connection, event: "end", direction },
  ];
  assertEquals(seen.map(({ time: _, ...rest }) => rest), [
    { connection, event: "open" },
    ...messages("to-target"),
    ...messages("to-client"),
    { connection, event: "close" },
  ]);
});

test("uds tap shows undecodable bytes raw, and passes them on", async () => {
  await using dir = new TempDir();
  await using tap = await tapping(dir, ["--framing", "content-length"]);
  assertEquals(decode(await tap.exchange(encode("no headers\n"))), "no headers\n");
  await tap.process.stdout.until("close");
  const text = await tap.process.stdout.text();
  assertMatch(text, /"event":"undecodable","direction":"to-target","reason":"Cannot decode/);
  assertMatch(text, /"direction":"to-target","size":11,"text":"no headers\\n"/);
});

for (
  const [what, data, seen, reason] of [
    [
      "an end within a message",
      "\0\0\0\x02hi\0\0\0\x09cut",
      ["hi", "\0\0\0\x09cut"],
      "The end came",
    ],
    [
      "bytes that are not a message",
      `\0\0\0\x02hi~~~~${"x".repeat(5000)}`,
      ["hi", `~~~~${"x".repeat(5000)}`],
      "Cannot decode",
    ],
  ] as const
) {
  test(`uds tap shows each byte once, also of ${what}`, async () => {
    await using dir = new TempDir();
    await using tap = await tapping(dir, ["--framing", "u32be"]);
    assertEquals(decode(await tap.exchange(encode(data))), data);
    await tap.process.stdout.until("close");
    const lines = (await tap.process.stdout.text()).trimEnd().split("\n");
    const sights = lines.map((line) => JSON.parse(line))
      .filter(({ direction }) => direction === "to-target");
    assertEquals(sights.map(({ event }) => event), ["data", "undecodable", "data", "end"]);
    assertEquals(sights.filter(({ event }) => event === "data").map(({ text }) => text), [...seen]);
    assertStringIncludes(sights[1].reason, reason);
  });
}

const SCRIPT = { needs: Deno.build.os === "linux" ? ["script"] : ["script of util-linux"] };

/** Runs a command on a terminal, without colors. */
function withoutColors(command: string[]): string[] {
  return ["env", "NO_COLOR=1", ...onTerminal(command)];
}

test("uds tap on a terminal shows the lines of a text below one another", async () => {
  await using dir = new TempDir();
  await using tap = await tapping(dir, [], withoutColors);
  await tap.exchange(encode("GET / HTTP/1.1\r\nHost: \u202Ed\r\n\r\n"));
  await tap.process.stdout.until("close");
  const text = await tap.process.stdout.text();
  const [, head, host, empty] = text.match(
    /\n(.* )GET \/ HTTP\/1\.1\\r\\n\r\n(.*)Host: \\u\{202e\}d\\r\\n\r\n(.*)\\r\\n\r\n/,
  ) ?? [];
  assertMatch(head!, /^[\d:.]{12} #1 → {4}30 B {2}$/);
  assertEquals([host, empty], [" ".repeat(head!.length), " ".repeat(head!.length)]);
}, SCRIPT);

test("uds tap on a terminal shows a control character and its escape differently", async () => {
  await using dir = new TempDir();
  await using tap = await tapping(dir, [], withoutColors);
  await tap.exchange(encode("a\tb a\\tb \u2028 \\u{2028} \\"));
  await tap.process.stdout.until("close");
  const text = await tap.process.stdout.text();
  assertStringIncludes(text, " a\\tb a\\\\tb \\u{2028} \\\\u{2028} \\\\\r\n");
}, SCRIPT);

test("uds tap ends when its output is closed", async () => {
  await using dir = new TempDir();
  const head = (command: string[]) => ["sh", "-c", '"$@" | head -n 1', "sh", ...command];
  await using tap = await tapping(dir, [], head);
  // The first connection may be over before head has ended, and then nothing more is printed.
  do await tap.exchange(encode("hello\n")).catch(() => {}); while (
    !await settlesWithin(tap.process.ended, 10)
  );
  assertMatch(decode((await tap.process.ended).stdout), /^[^\n]*"event":"open"[^\n]*\n$/);
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
});

test("uds tap on a terminal shows lines in color, without control characters", async () => {
  await using dir = new TempDir();
  await using tap = await tapping(dir, ["--framing", "lines"], onTerminal);
  await tap.exchange(encode("red \x1b[31m\n"));
  await tap.process.stdout.until("close");
  const text = await tap.process.stdout.text();
  const escaped = text.replaceAll("\x1b", "<ESC>");
  // The escape of a control character is dimmed.
  const message = /<ESC>\[32m→<ESC>\[0m [^\n]* {2}red <ESC>\[2m\\x1b<ESC>\[0m\[31m\r\n/;
  assertMatch(escaped, /<ESC>\[2m[\d:.]{12} #1<ESC>\[0m <ESC>\[32m→/);
  assertMatch(escaped, message);
  assertMatch(
    escaped,
    /<ESC>\[33m←<ESC>\[0m [^\n]* {2}red <ESC>\[2m\\x1b<ESC>\[0m\[31m\r\n/,
  );
}, SCRIPT);

test(
  "uds tap on a terminal shows why something cannot be decoded without control characters",
  async () => {
    await using dir = new TempDir();
    await using tap = await tapping(dir, ["--framing", "content-length"], onTerminal);
    // In Latin-1 this byte is U+009D, which begins a terminal command.
    await tap.exchange(new Uint8Array([0x9d, ...encode("0;title\r\n\r\n")]));
    await tap.process.stdout.until("close");
    const text = await tap.process.stdout.text();
    assertStringIncludes(text, '"\\x9d0;title" is not a header');
    assert(!text.includes("\x9d"), text);
  },
  SCRIPT,
);

test("uds tap --hex on a terminal shows a dump", async () => {
  await using dir = new TempDir();
  await using tap = await tapping(dir, ["--hex"], withoutColors);
  await tap.exchange(new Uint8Array([0x41, 0, 0xff]));
  await tap.process.stdout.until("close");
  assertMatch(await tap.process.stdout.text(), /3 B *\r\n {2}000000 {2}41 00 ff +A\.\.\r\n/);
}, SCRIPT);

test("uds permissions tap prints those of the relay", async () => {
  const [tap, relay] = await Promise.all(
    ["tap", "relay"].map((name) =>
      uds(["permissions", "--json", name, "/tmp/a", "/tmp/b"], { flags: [] })
    ),
  );
  assertEquals(tap!.stdout, relay!.stdout);
});
