import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, listen, serve } from "@uds/uds";
import { Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, Program, readAll, TempDir, test } from "../_helpers.ts";

/** Starts a server that sends bytes back unchanged. */
function echo(path: string) {
  return serve(path, (conn) => conn.readable.pipeTo(conn.writable));
}

const ON_THE_WIRE: [framing: string, hex: string][] = [
  ["lines", "6869 0a 0a"],
  ["nul", "6869 00 00"],
  ["u32be", "00000002 6869 00000000"],
  ["u32le", "02000000 6869 00000000"],
  [
    "content-length",
    "436f6e74656e742d4c656e6774683a20320d0a0d0a 6869" +
    "436f6e74656e742d4c656e6774683a20300d0a0d0a",
  ],
];

for (const [framing, hex] of ON_THE_WIRE) {
  test(`uds connect --framing ${framing} frames each line, and prints each message`, async () => {
    await using dir = new TempDir();
    let seen = "";
    await using _server = await serve(dir.file("s.sock"), async (conn) => {
      const all = await readAll(conn);
      seen = all.toHex();
      await conn.write(all);
    });
    const input = "hi\n\n";
    const args = ["connect", "--framing", framing, dir.file("s.sock")];
    const { code, stdout, stderr } = await uds(args, { input });
    assertEquals([code, stdout, stderr], [0, input, ""]);
    assertEquals(seen, hex.replaceAll(" ", ""));
  });
}

const SHOWN: [options: string[], input: string, output: string][] = [
  [["--framing", "u32be", "--json"], 'a"b\n', '{"size":3,"text":"a\\"b"}\n'],
  [["--framing", "u32be", "--hex"], "00 ff:0A\n", "00ff0a\n"],
  [["--framing", "nul", "--hex", "--json"], "68 69", '{"size":2,"hex":"6869"}\n'],
  [["--framing", "lines", "--json"], "\xff\n", '{"size":2,"text":"\xff"}\n'],
  [["--framing", "u32be", "--json"], "a\r\n", '{"size":2,"text":"a\\r"}\n'],
  [
    ["--framing", "nul", "--json"],
    "a\r\n\r\n",
    '{"size":2,"text":"a\\r"}\n{"size":1,"text":"\\r"}\n',
  ],
  [["--framing", "lines", "--json"], "a\r\n", '{"size":1,"text":"a"}\n'],
  [["--hex"], "ff00", "ff00\n"],
  [["--framing", "lines"], "no end", "no end\n"],
];

for (const [options, input, output] of SHOWN) {
  test(`uds connect ${options.join(" ")} sends and prints ${JSON.stringify(input)}`, async () => {
    await using dir = new TempDir();
    await using _server = await echo(dir.file("s.sock"));
    const { stdout, stderr } = await uds(["connect", ...options, dir.file("s.sock")], { input });
    assertEquals([stdout, stderr], [output, ""]);
  });
}

test("uds connect --framing names no option of the library if a message is too large", async () => {
  await using dir = new TempDir();
  await using _server = await serve(
    dir.file("s.sock"),
    (conn) => conn.write(new Uint8Array(4).fill(0xff)).then(() => readAll(conn)).then(() => {}),
  );
  const args = ["connect", "--framing", "u32be", dir.file("s.sock")];
  const { code, stderr } = await uds(args);
  assertEquals([code, stderr], [
    1,
    `uds: Cannot decode a message from "${
      dir.file("s.sock")
    }": it announces 4294967295 bytes, and ` +
    "the limit is 16777216. No option raises it\n",
  ]);
});

test("uds connect --framing lines sends lines of every size between others, whole", async () => {
  await using dir = new TempDir();
  await using _server = await echo(dir.file("s.sock"));
  const sizes = [0, 1, 65_535, 65_536, 262_143, 262_144, 262_145, 700_000, 3, 5_000_000, 0, 9];
  const input = sizes.map((size, i) => `${String.fromCharCode(97 + i).repeat(size)}\n`).join("");
  const args = ["connect", "--framing", "lines", dir.file("s.sock")];
  const { code, stdout, stderr } = await uds(args, { input });
  assertEquals([code, stderr, stdout.length], [0, "", input.length]);
  assertEquals(stdout === input, true);
});

test("uds send --json prints bytes that are not text in hexadecimal", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await readAll(conn);
    await conn.write(new Uint8Array([0xff, 0x0a, 0x68, 0x69]));
  });
  const args = ["send", "--framing", "lines", "--json", dir.file("s.sock"), "x"];
  assertEquals(
    (await uds(args)).stdout,
    '{"size":1,"hex":"ff"}\n{"size":2,"text":"hi"}\n',
  );
});

test("uds send --expect ends with the answer of a server that waits for more", async () => {
  await using dir = new TempDir();
  let ended = false;
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    const buffer = new Uint8Array(100);
    const count = await conn.read(buffer);
    // The end of file comes only after the client has got its messages.
    const rest = conn.read(new Uint8Array(1)).then(() => ended = true, () => ended = true);
    await new Promise((resolve) => setTimeout(resolve));
    await conn.write(encode(ended ? "ended\n" : "not ended\n"));
    await conn.write(buffer.subarray(0, count!));
    await rest;
  });
  const args = ["send", "--framing", "lines", "--expect", "2", dir.file("s.sock"), "hello"];
  const { code, stdout } = await uds(args);
  assertEquals([code, stdout], [0, "not ended\nhello\n"]);
});

test("uds send --expect fails where fewer messages come", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await conn.read(new Uint8Array(1));
    await conn.write(encode("one\n"));
  });
  const args = ["send", "--framing", "lines", "--expect", "2", dir.file("s.sock"), ""];
  const { code, stdout, stderr } = await uds(args);
  assertEquals([code, stdout], [1, "one\n"]);
  assertStringIncludes(stderr, "Got 1 of 2 messages");
});

test("uds send --expect --timeout times out with exit code 8", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), (conn) => readAll(conn));
  const options = ["--framing", "nul", "--expect", "1", "--timeout", "0.2"];
  const { code, stderr } = await uds(["send", ...options, dir.file("s.sock"), "x"]);
  assertEquals(code, 8);
  assertStringIncludes(stderr, "Got 0 of 1 messages within 0.2 s");
});

test("uds listen --timeout times out with exit code 8, with the path removed", async () => {
  await using dir = new TempDir();
  const { code, stderr } = await uds(["listen", "--timeout", "0.1", dir.file("s.sock")]);
  assertEquals(code, 8);
  assertStringIncludes(stderr, "no client within 0.1 s");
  assertEquals(dir.list(), []);
});

test("uds listen --keep --expect sends the lines that a client did not get to the next", async () => {
  await using dir = new TempDir();
  const options = ["--keep", "--framing", "u32be", "--expect", "1"];
  const command = udsCommand(["listen", ...options, dir.file("s.sock")]);
  await using server = new Process(command, { input: "open" });
  await server.stderr.until("listening");
  for (const word of ["one", "two"]) {
    await using conn = await connect(dir.file("s.sock"));
    await server.type(`${word}\n`);
    const buffer = new Uint8Array(7);
    assertEquals(await conn.read(buffer), 7);
    assertEquals(decode(buffer.subarray(4)), word);
    await conn.write(new Uint8Array([0, 0, 0, 1, 0x41]));
    assertEquals((await readAll(conn)).length, 0);
  }
  server.kill("SIGTERM");
  assertEquals(decode((await server.ended).stdout), "A\nA\n");
});

test("uds send asks ssh-agent for its keys", async () => {
  await using dir = new TempDir();
  await using _agent = new Program("ssh-agent", ["-D", "-a", dir.file("a.sock")]);
  const options = ["--wait", "--framing", "u32be", "--hex", "--expect", "1"];
  const { code, stdout } = await uds(["send", ...options, dir.file("a.sock"), "0b"]);
  assertEquals([code, stdout], [0, "0c00000000\n"]);
}, { needs: ["ssh-agent"] });

test("uds connect fails at bytes that are not a message", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("s.sock"));
  const command = udsCommand(["connect", "--framing", "u32be", dir.file("s.sock")]);
  await using client = new Process(command, { input: "open" });
  const conn = await listener.accept();
  await conn.write(new Uint8Array([0, 0, 0, 1, 0x41, 0xff, 0xff, 0xff, 0xff]));
  const { code, stdout, stderr } = await client.ended;
  conn.close();
  assertEquals([code, decode(stdout)], [1, "A\n"]);
  assertStringIncludes(stderr, "the limit is");
});

for (
  const [what, args, message] of [
    ["an unknown framing", ["--framing", "line"], "--framing must be one of lines, nul"],
    ["--expect of bytes", ["--expect", "1"], "--expect needs --framing"],
    ["--expect of raw reads", ["--framing", "raw", "--expect", "1"], "--expect needs --framing"],
    ["pieces of messages", ["--hex", "--piece", "1"], "--piece does not go with"],
    ["a message that is not hexadecimal", ["--hex"], "two hexadecimal digits"],
  ] as const
) {
  test(`uds send refuses ${what}`, async () => {
    const { code, stderr } = await uds(["send", ...args, "/tmp/no.sock", "x"]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, message);
  });
}

/** A message above the limit of the framings, 16 MiB. */
const TOO_LARGE = "a".repeat(17_000_000);
const REFUSED =
  /^uds: Cannot encode a message: it has 17000000 bytes, and the limit is 16777216[^\n]*\n$/;

for (
  const args of [
    ["send", "--framing", "lines", "--timeout", "30"],
    ["send", "--framing", "u32be", "--expect", "1"],
    ["connect", "--framing", "lines"],
  ]
) {
  test(`uds ${args.join(" ")} fails at once at a message that is too large`, async () => {
    await using dir = new TempDir();
    await using _server = await echo(dir.file("s.sock"));
    const { code, stderr } = await uds([...args, dir.file("s.sock")], { input: TOO_LARGE });
    assertEquals(code, 1);
    assertMatch(stderr, REFUSED);
  });
}

test("uds listen --framing closes a client at a message that is too large", async () => {
  await using dir = new TempDir();
  const args = ["listen", "--framing", "lines", dir.file("s.sock")];
  await using listening = new Process(udsCommand(args), { input: TOO_LARGE });
  await listening.stderr.until("listening");
  await using client = await connect(dir.file("s.sock"));
  assertEquals((await readAll(client)).length, 0);
  const { code, stderr } = await listening.ended;
  assertEquals(code, 1);
  assertMatch(stderr.split("\n").slice(1).join("\n"), REFUSED);
});

test("uds send --hex takes as many digits as a message may have", async () => {
  await using dir = new TempDir();
  await using _server = await echo(dir.file("s.sock"));
  const args = ["send", "--framing", "u32be", "--hex", "--expect", "1", dir.file("s.sock")];
  const input = "ab".repeat(16 * 1024 * 1024);
  const { code, stdout, stderr } = await uds(args, { input });
  assertEquals([code, stderr, stdout === `${input}\n`], [0, "", true]);
});
