import { assertEquals, assertStringIncludes } from "@std/assert";
import { connect, type Connection, contentLength, lengthPrefixed, lines, messages } from "@uds/uds";
import { FLAGS, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, readAll, readText, TempDir, test } from "../_helpers.ts";

/** Starts the command without the permission to run programs, and waits until it listens. */
async function replying(args: string[], flags = FLAGS): Promise<Process> {
  const process = new Process(udsCommand(["serve", ...args], flags));
  await process.stderr.until("listening on");
  return process;
}

/** Sends texts and the end of file. Returns what comes back. */
async function ask(path: string, ...texts: string[]): Promise<string> {
  await using conn = await connect(path);
  for (const text of texts) await conn.write(encode(text));
  await conn.closeWrite();
  return decode(await readAll(conn));
}

async function exchange(conn: Connection, text: string): Promise<string | null> {
  await conn.write(encode(text));
  return await readText(conn);
}

test("uds serve --reply answers each request up to its end of file", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await replying(["--reply", "pong", path]);
  assertEquals(await ask(path, "ping"), "pong");
  assertEquals(await ask(path, "one ", "request"), "pong");
  assertEquals(await ask(path), "pong");
  server.kill("SIGTERM");
  const { code, stdout, stderr } = await server.ended;
  assertEquals([code, decode(stdout)], [0, ""]);
  assertEquals(stderr, `listening on ${path}\nending\n`);
  assertEquals(dir.list(), []);
});

test("uds serve --reply answers what came together, several times on one connection", async () => {
  await using dir = new TempDir();
  await using _server = await replying([dir.file("s.sock"), "--reply", "pong"]);
  await using conn = await connect(dir.file("s.sock"));
  assertEquals(await exchange(conn, "one"), "pong");
  assertEquals(await exchange(conn, "two"), "pong");
  await conn.closeWrite();
  assertEquals(decode(await readAll(conn)), "");
});

test("uds serve --reply answers a request of many reads once", async () => {
  await using dir = new TempDir();
  await using _server = await replying([dir.file("s.sock"), "--reply", "pong"]);
  await using conn = await connect(dir.file("s.sock"));
  await conn.write(new Uint8Array(1024 * 1024));
  await conn.closeWrite();
  assertEquals(decode(await readAll(conn)), "pong");
});

test("uds serve --reply-file sends what a file contains", async () => {
  await using dir = new TempDir();
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i);
  await Deno.writeFile(dir.file("reply"), bytes);
  await using _server = await replying(["--reply-file", dir.file("reply"), dir.file("s.sock")]);
  await using conn = await connect(dir.file("s.sock"));
  await conn.closeWrite();
  assertEquals(await readAll(conn), bytes);
});

const CODECS = {
  "lines": lines(),
  "u32be": lengthPrefixed(),
  "content-length": contentLength(),
} as const;

for (const framing of ["lines", "u32be", "content-length"] as const) {
  test(`uds serve --reply --framing ${framing} answers each message`, async () => {
    await using dir = new TempDir();
    const args = ["--framing", framing, "--reply", '{"ok":true}', dir.file("s.sock")];
    await using _server = await replying(args);
    await using conn = await connect(dir.file("s.sock"));
    const got: string[] = [];
    if (framing === "lines") {
      await using channel = messages(conn, CODECS.lines);
      for (let i = 0; i < 3; i++) channel.send(`request ${i}`);
      await channel.closeWrite();
      for await (const text of channel) got.push(text);
    } else {
      await using channel = messages(conn, CODECS[framing]);
      for (let i = 0; i < 3; i++) channel.send(encode(`request ${i}`));
      await channel.closeWrite();
      for await (const bytes of channel) got.push(decode(bytes));
    }
    assertEquals(got, Array(3).fill('{"ok":true}'));
  });
}

test("uds serve --reply-file --framing lines sends a line once", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("reply"), "pong\n");
  await using _server = await replying(
    ["--framing", "lines", "--reply-file", dir.file("reply"), dir.file("s.sock")],
  );
  assertEquals(await ask(dir.file("s.sock"), "a\nb\n"), "pong\npong\n");
});

test("uds serve --reply --hex takes bytes in hexadecimal", async () => {
  await using dir = new TempDir();
  await using _server = await replying(["--hex", "--reply", "00 ff", dir.file("s.sock")]);
  await using conn = await connect(dir.file("s.sock"));
  await conn.closeWrite();
  assertEquals(await readAll(conn), Uint8Array.of(0, 255));
});

test("uds serve --reply --idle closes a connection on which nothing passes", async () => {
  await using dir = new TempDir();
  for (const framing of [[], ["--framing", "lines"]]) {
    await using server = await replying(
      [...framing, "--idle", "0.2", "--reply", "pong", dir.file("s.sock")],
    );
    await using conn = await connect(dir.file("s.sock"));
    assertEquals((await exchange(conn, "x\n"))?.trimEnd(), "pong");
    assertEquals(decode(await readAll(conn)), "");
    await server.stderr.until("nothing has passed for 0.2 s");
    server.kill("SIGTERM");
    await server.ended;
  }
});

test("uds serve --reply --framing ends a client without a request at once at a signal", async () => {
  await using dir = new TempDir();
  await using server = await replying(
    ["--framing", "lines", "--reply", "pong", dir.file("s.sock")],
  );
  await using conn = await connect(dir.file("s.sock"));
  assertEquals(await exchange(conn, "x\n"), "pong\n");
  const begin = performance.now();
  server.kill("SIGTERM");
  assertEquals((await server.ended).code, 0);
  // An open connection would have 5 seconds to finish.
  assertEquals(performance.now() - begin < 4000, true);
  assertEquals(decode(await readAll(conn)), "");
});

test("uds serve --reply works with the permissions that uds permissions prints", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("reply"), "pong");
  const args = ["--reply-file", dir.file("reply"), dir.file("s.sock")];
  const { stdout } = await uds(["permissions", "serve", ...args], { flags: [] });
  const flags = stdout.split(" ").filter((word) => word.startsWith("--allow"));
  assertEquals(flags.some((flag) => flag.startsWith("--allow-run")), false);
  await using _server = await replying(args, flags);
  assertEquals(await ask(dir.file("s.sock"), "ping"), "pong");
});

const HEX_MESSAGE = 'Cannot send "0g": --hex takes two hexadecimal digits a byte';

for (
  const [what, args, exit, message] of [
    ["a reply and a command", ["--reply", "x", "/tmp/x", "--", "cat"], 2, "do not go together"],
    ["two replies", ["--reply", "x", "--reply-file", "y", "/tmp/x"], 2, "do not go together"],
    ["a framing of a command", ["--framing", "nul", "/tmp/x", "--", "cat"], 2, "--framing and"],
    ["digits that are not hexadecimal", ["--hex", "--reply", "0g", "/tmp/x"], 2, HEX_MESSAGE],
    ["two lines in one", ["--framing", "lines", "--reply", "a\nb", "/tmp/x"], 2, "delimiter"],
    [
      "a missing file",
      ["--reply-file", "/nowhere", "/tmp/x"],
      3,
      'Cannot read "/nowhere": No such',
    ],
  ] as const
) {
  test(`uds serve refuses ${what}`, async () => {
    const { code, stderr } = await uds(["serve", ...args], { flags: ["-A"] });
    assertStringIncludes(stderr, message);
    assertEquals(code, exit);
  });
}

test("uds serve --reply-file names the permission that is missing", async () => {
  const args = ["serve", "--reply-file", "/etc/hostname", "/tmp/x"];
  const { code, stderr } = await uds(args, { flags: ["--allow-write=/tmp"] });
  assertEquals(code, 9);
  assertStringIncludes(stderr, "--allow-read=/etc/hostname");
});
