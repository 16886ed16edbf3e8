import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { lines, messages, permissionFlags, permissions, serve, type UnixServer } from "@uds/uds";
import { Process, uds, udsCommand } from "../_cli.ts";
import { encode, readAll, TempDir, test } from "../_helpers.ts";
import { echoServer } from "./_echo_server.ts";

const MESSAGE = "This is the message. It will be repeated.";

test("uds echo and uds send pass a message in pieces, with the permissions named", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  await using server = new Process(
    udsCommand(
      ["echo", path, "--mode", "640", "--piece", "16"],
      permissionFlags(permissions("serve", path, { mode: 0o640 })),
    ),
  );
  const reply = await uds(["send", "--wait", path, MESSAGE, "--piece", "16"], {
    flags: permissionFlags(permissions("connect", path)),
  });
  assertEquals(reply, {
    code: 0,
    stdout: MESSAGE,
    stderr: 'received "This is the mess"\nreceived "age. It will be "\nreceived "repeated."\n',
  });
  assertEquals((await Deno.lstat(path)).mode! & 0o777, 0o640);
  server.kill("SIGTERM");
  const { code, stdout, stderr } = await server.ended;
  assertEquals([code, stdout.length], [0, 0]);
  assertEquals(dir.list(), []);
  assertEquals(stderr.split("\n"), [
    `listening on ${path}`,
    'received "This is the mess", sending it back',
    'received "age. It will be ", sending it back',
    'received "repeated.", sending it back',
    "ending",
    "",
  ]);
});

test("uds echo and uds send show a piece that is not UTF-8 in hexadecimal", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  for (const json of [[], ["--json"]]) {
    await using server = new Process(udsCommand(["echo", path, "--piece", "1", ...json]));
    const { stdout, stderr } = await uds(["send", "--wait", "--piece", "1", ...json, path, "é."]);
    server.kill("SIGTERM");
    const served = (await server.ended).stderr;
    assertEquals(stdout, "é.");
    if (json.length === 0) {
      assertEquals(stderr, 'received c3\nreceived a9\nreceived "."\n');
      assertStringIncludes(served, "\nreceived a9, sending it back\n");
    } else {
      const events = stderr.trim().split("\n").map((line) => JSON.parse(line));
      assertEquals(events, [
        { event: "received", size: 1, hex: "c3" },
        { event: "received", size: 1, hex: "a9" },
        { event: "received", size: 1, text: "." },
      ]);
      assertStringIncludes(served, '\n{"event":"received","size":1,"hex":"a9"}\n');
    }
  }
});

test("uds echo serves an abstract name as @name, and reports events as JSON", async () => {
  const name = `@uds-test-${crypto.randomUUID()}`;
  await using server = new Process(udsCommand(["echo", "--json", name], ["--allow-net"]));
  const reply = await uds(["send", "--wait", name, "hello"], { flags: ["--allow-net"] });
  assertEquals(reply.stdout, "hello");
  server.kill("SIGTERM");
  const { code, stderr } = await server.ended;
  assertEquals(code, 0);
  assertEquals(stderr.trimEnd().split("\n").map((line) => JSON.parse(line)), [
    { event: "listening", path: name },
    { event: "ending" },
  ]);
}, { needs: Deno.build.os === "linux" ? [] : ["abstract names"] });

test("uds send takes a message that looks like an option after --", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("s.sock"));
  const { code, stdout } = await uds(["send", dir.file("s.sock"), "--", "--help"]);
  assertEquals([code, stdout], [0, "--help"]);
});

for (const dash of [[], ["-"]]) {
  test(`uds send PATH ${dash} sends standard input`, async () => {
    await using dir = new TempDir();
    await using _server = await echoServer(dir.file("s.sock"));
    const { code, stdout, stderr } = await uds(["send", dir.file("s.sock"), ...dash], {
      input: "hello\n",
    });
    assertEquals([code, stdout, stderr], [0, "hello\n", ""]);
  });
}

test("uds send sends an empty message, and then the end of file", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    const count = await conn.read(new Uint8Array(1));
    await conn.write(new TextEncoder().encode(`${count}`));
  });
  assertEquals((await uds(["send", dir.file("s.sock"), ""])).stdout, "null");
});

/** Answers each line. A text without a newline is not answered. */
function lineServer(path: string): Promise<UnixServer> {
  return serve(path, async (conn) => {
    for await (const line of messages(conn, lines())) await conn.write(encode(`got ${line}\n`));
  });
}

test("uds send --line ends the message with a newline", async () => {
  await using dir = new TempDir();
  await using _server = await lineServer(dir.file("s.sock"));
  const reply = await uds(["send", "--line", dir.file("s.sock"), "PING"]);
  assertEquals(reply, { code: 0, stdout: "got PING\n", stderr: "" });
});

test("uds send reports that the server sent nothing, and names --line", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => void await readAll(conn));
  const send = (...args: string[]) => uds(["send", ...args, dir.file("s.sock")], { input: "x" });
  const message = await uds(["send", dir.file("s.sock"), "PING"]);
  const said = "the server sent nothing. If it reads lines, add --line\n";
  assertEquals(message, { code: 0, stdout: "", stderr: said });
  assertEquals((await send()).stderr, "the server sent nothing\n");
  assertEquals((await send("--quiet")).stderr, "");
  assertEquals((await send("--json")).stderr, '{"event":"nothing"}\n');
});

for (
  const args of [["-"], ["--hex", "68"], ["--framing", "lines", "x"], ["--type", "dgram", "x"]]
) {
  test(`uds send --line ${args.join(" ")} ends with exit code 2`, async () => {
    const { code, stderr } = await uds(["send", "--line", "/nowhere.sock", ...args]);
    assertEquals(code, 2);
    assertMatch(stderr, /--line (needs MESSAGE|does not go with)/);
  });
}

test("uds send fails where the server does not read the message", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await conn.write(new TextEncoder().encode("no, thanks\n"));
  });
  const input = "x".repeat(1_000_000);
  const { code, stdout, stderr } = await uds(["send", dir.file("s.sock")], { input });
  assertEquals([code, stdout], [1, "no, thanks\n"]);
  assertMatch(
    stderr,
    /^uds: Cannot (read from|write to) .*(the peer (has )?closed|both directions have ended)/,
  );
});
