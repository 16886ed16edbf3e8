/** `--type dgram` and `--type seqpacket` of the command line, against other programs. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { connect } from "@uds/uds";
import { UsageError } from "../../_cli/exit_codes.ts";
import { checkPackets } from "../../_cli/packets/stdio.ts";
import { Program, run, TempDir, test } from "../_helpers.ts";
import { FLAGS, Process, uds, udsCommand } from "../_cli.ts";
import { peer } from "../native/_paths.ts";

const WITH_FFI = [...FLAGS, "--allow-ffi"];

/** Runs the command line with FFI. */
function packets(
  args: string[],
  input?: string | Uint8Array<ArrayBuffer>,
): ReturnType<typeof uds> {
  return uds(args, { flags: WITH_FFI, ...(input !== undefined && { input }) });
}

/** Starts a server of the command line, and waits until it listens. */
async function serving(args: string[], input: "open" | "" = ""): Promise<Process> {
  const process = new Process(udsCommand(args, WITH_FFI), { input });
  await process.stderr.until("listening");
  return process;
}

test(
  "uds connect --type seqpacket sends each line as a packet, and prints packets as lines",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = peer("echo", path);
    assertEquals(await server.line(), "ready");
    const { code, stdout } = await packets(
      ["connect", "--type", "seqpacket", path],
      "one\nfour\nx",
    );
    assertEquals([code, stdout], [0, "one\nfour\nx\n"]);
    assertEquals(await server.output(), ["3", "4", "1"]);
  },
  { needs: ["python3"] },
);

test("uds connect --type seqpacket --framing raw passes bytes through socat", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _socat = new Program("socat", [`UNIX-LISTEN:${path},type=5`, "EXEC:cat"]);
  const input = "line\n".repeat(5000);
  const args = ["connect", "--wait", "--type", "seqpacket", "--framing", "raw", path];
  const { code, stdout } = await packets(args, input);
  assertEquals([code, stdout], [0, input]);
}, { needs: ["socat"] });

const SENDS: [args: string[], input: string | undefined, sizes: string, stdout: string][] = [
  [["--json", "--hex", "00 ff"], undefined, "2", '{"size":2,"hex":"00ff"}\n'],
  [[], "two\nlines\n", "10", "two\nlines\n\n"],
  [["--framing", "lines", "--expect", "2"], "two\nlines\n", "3 5", "two\nlines\n"],
];

for (const [[...options], input, sizes, expected] of SENDS) {
  test(
    `uds send --type seqpacket ${options.join(" ")} sends packets of ${sizes} bytes`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s.sock");
      await using server = peer("echo", path);
      assertEquals(await server.line(), "ready");
      const message = input === undefined ? [options.pop()!] : [];
      const args = ["send", "--type", "seqpacket", ...options, path, ...message];
      const { code, stdout, stderr } = await packets(args, input);
      assertEquals([code, stdout, stderr], [0, expected, ""]);
      assertEquals((await server.output()).join(" "), sizes);
    },
    { needs: ["python3"] },
  );
}

test("uds send --type dgram gets the answer of socat, and ends by itself", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _socat = new Program("socat", [`UNIX-RECVFROM:${path},fork`, "EXEC:cat"]);
  const args = ["send", "--wait", "--type", "dgram", path, "ping"];
  const { code, stdout } = await packets(args);
  assertEquals([code, stdout], [0, "ping\n"]);
}, { needs: ["socat"] });

test("uds send --type dgram --expect times out without an answer, with exit code 8", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = peer("hold", "dgram", path);
  assertEquals(await server.line(), "ready");
  const args = ["send", "--type", "dgram", "--expect", "1", "--timeout", "0.1", path, "ping"];
  const { code, stderr } = await packets(args);
  assertEquals([code, stderr], [8, "uds: Got 0 of 1 messages within 0.1 s\n"]);
}, { needs: ["python3"] });

test("uds listen --type seqpacket prints the packets of a client, and answers", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await serving(["listen", "--type", "seqpacket", "--json", path], "open");
  await using client = peer("client", path, "5", "7");
  await server.type("1\n22\n");
  assertEquals(await client.output(), ["1", "2"]);
  const { code, stdout } = await server.ended;
  assertEquals(code, 0);
  const sizes = new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(sizes.map(({ size }) => size), [5, 7]);
  assertEquals(dir.list(), []);
}, { needs: ["python3"] });

test("uds listen --type dgram prints what logger sends, until a signal", async () => {
  await using dir = new TempDir();
  const path = dir.file("log");
  await using server = await serving(["listen", "--type", "dgram", "--mode", "666", path]);
  for (const word of ["first", "second"]) {
    assertEquals((await run("logger", ["-u", path, "-t", "app", word])).code, 0);
  }
  await server.stdout.until("second");
  server.kill("SIGTERM");
  const { code, stdout } = await server.ended;
  assertEquals(code, 0);
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  assertEquals(lines.map((line) => line.replace(/.*app: /, "")), ["first", "second"]);
  assertEquals(dir.list(), []);
}, { needs: ["logger"] });

test("uds listen --type dgram answers the last sender", async () => {
  await using dir = new TempDir();
  const [path, name] = [dir.file("s.sock"), dir.file("c.sock")];
  await using server = await serving(
    ["listen", "--type", "dgram", "--framing", "raw", "--json", path],
    "open",
  );
  await server.type("answer\n");
  const socat = ["STDIO", `UNIX-SENDTO:${path},bind=${name}`];
  await using client = new Program("socat", socat, { stdin: "piped" });
  const writer = client.stdin.getWriter();
  await writer.write(new TextEncoder().encode("request"));
  assertEquals(await client.line(), "answer");
  await writer.close();
  await client.status;
  server.kill("SIGTERM");
  const { stdout } = await server.ended;
  const [line] = new TextDecoder().decode(stdout).split("\n");
  assertEquals(JSON.parse(line!), { size: 7, text: "request", from: name });
}, { needs: ["socat"] });

test("uds echo --type seqpacket serves several clients at once, and ends at a signal", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await serving(["echo", "--type", "seqpacket", path]);
  const clients = [peer("client", path, "1", "70000"), peer("client", path, "200000", "2")];
  assertEquals(await Promise.all(clients.map((client) => client.output())), [
    ["1", "70000"],
    ["200000", "2"],
  ]);
  for (const client of clients) await client[Symbol.asyncDispose]();
  server.kill("SIGTERM");
  assertEquals((await server.ended).code, 0);
  assertEquals(dir.list(), []);
}, { needs: ["python3"] });

test("uds echo --type dgram answers nc", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await serving(["echo", "--type", "dgram", path]);
  // nc names its own end, waits for a second after its input, and ends.
  const name = dir.file("nc.sock");
  const { stdout } = await run("nc", ["-u", "-U", "-s", name, "-w", "1", path], "hello\n");
  assertEquals(stdout, "hello\n");
}, { needs: ["nc"] });

const CHILD = `import socket, sys
own = socket.socket(fileno=3)
for _ in range(2): own.send(b"<" + own.recv(100) + b">")
print("printed")
sys.exit(3)`;

for (const type of ["dgram", "seqpacket"]) {
  test(`uds run --type ${type} has the exit code of its command`, async () => {
    const args = ["run", "--type", type, "--", "python3", "-c", CHILD];
    const flags = [...WITH_FFI, "--allow-run", "--allow-env"];
    const { code, stdout, stderr } = await uds(args, { flags, input: "one\ntwo\n" });
    assertEquals([code, stdout, stderr], [3, "<one>\n<two>\n", "printed\n"]);
  }, { needs: ["python3"] });
}

for (const type of ["dgram", "seqpacket"]) {
  test(`uds --type ${type} fails at once at a packet that is too large`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using _server = await serving(["echo", "--type", type, path]);
    const input = "a".repeat(10_000_000);
    const refused = /^uds: Cannot send a packet.*: it has 10000000 bytes, and [^\n]*\n$/;
    for (const args of [["connect"], ["send", "--framing", "lines", "--timeout", "30"]]) {
      const { code, stderr } = await packets([...args, "--type", type, path], input);
      assertEquals(code, 1, stderr);
      assertMatch(stderr, refused);
    }
    const flags = [...WITH_FFI, "--allow-run", "--allow-env"];
    const { code, stderr } = await uds(["run", "--type", type, "--", "sleep", "60"], {
      flags,
      input,
    });
    assertEquals(code, 1, stderr);
    assertMatch(stderr, refused);
  });
}

test("uds connect --type dgram ends at the first packet after its server has gone", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await serving(["echo", "--type", "dgram", path]);
  const args = ["connect", "--type", "dgram", path];
  await using client = new Process(udsCommand(args, WITH_FFI), { input: "open" });
  await client.type("first\n");
  await client.stdout.until("first");
  server.kill("SIGKILL");
  await server.ended;
  await client.type("second\n");
  const { code, stderr } = await client.ended;
  assertEquals(code, 1);
  assertMatch(stderr, /^uds: Cannot send a packet to .*: connection refused\n$/);
});

test("uds --type refuses options that do not go with packets", () => {
  const wrong: [flags: Parameters<typeof checkPackets>[0], message: string][] = [
    [{ type: "dgram", framing: "nul" }, "--framing nul does not go with --type dgram"],
    [{ type: "seqpacket", piece: 5 }, "--piece does not go with --type seqpacket"],
  ];
  for (const [flags, message] of wrong) {
    assertThrows(() => checkPackets(flags), UsageError, message);
  }
  for (const framing of ["lines", "raw"] as const) checkPackets({ type: "dgram", framing });
});

test("uds without --type names the option where a program has a socket of packets", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = peer("hold", "seqpacket", path, "listening");
  assertEquals(await server.line(), "ready");
  for (const command of ["connect", "send"]) {
    const { code, stderr } = await uds([command, path]);
    assertEquals([code, stderr], [
      5,
      `uds: Cannot connect to "${path}": it is a datagram or sequenced-packet socket. ` +
      "Add --type seqpacket or --type dgram\n",
    ]);
  }
  const state = `Cannot connect to "${path}": it is a datagram or sequenced-packet socket. ` +
    "This command needs a stream socket. For packets, use uds connect --type or uds send --type\n";
  const recording = dir.file("r.jsonl");
  await Deno.writeTextFile(recording, '{"connection":1,"event":"open"}\n');
  for (
    const args of [
      ["call", path, "a"],
      ["bench", path],
      ["bench", "--send", "x", path],
      ["replay", recording, path],
    ]
  ) {
    const { code, stderr } = await uds(args);
    assertEquals([code, stderr], [5, `uds: ${state}`]);
  }
  const relayed = dir.file("relayed.sock");
  await using relay = new Process(udsCommand(["relay", "--timeout", "1", relayed, path]));
  await relay.stderr.until("listening on");
  using _client = await connect(relayed);
  await relay.stderr.until(state);
  const { code, stdout, stderr } = await uds(["probe", path]);
  assertEquals([code, stdout], [5, "other-type\n"]);
  assert(stderr.startsWith("a datagram or sequenced-packet socket, mode "), stderr);
}, { needs: ["python3"] });

for (
  const [server, type, remedy] of [
    ["seqpacket", "dgram", "Use --type seqpacket, or leave out --type"],
    ["stream", "dgram", "Use --type seqpacket, or leave out --type"],
    ["dgram", "seqpacket", "Use --type dgram"],
    ["stream", "seqpacket", "Leave out --type"],
  ] as const
) {
  test(`uds --type ${type} names the option for a ${server} socket`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a. b.sock");
    await using held = peer("hold", server, path, ...(server === "dgram" ? [] : ["listening"]));
    assertEquals(await held.line(), "ready");
    for (const args of [["connect", path], ["send", path, "hi"]]) {
      const { code, stderr } = await packets([...args, "--type", type]);
      assertEquals(code, 5);
      assert(stderr.startsWith(`uds: Cannot connect to "${path}": it is a `), stderr);
      assert(stderr.endsWith(` socket. ${remedy}\n`), stderr);
    }
  }, { needs: ["python3"] });
}

test("uds --type has the exit code of what is in the way", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = peer("hold", "dgram", path);
  assertEquals(await server.line(), "ready");
  const sent = await packets(["send", "--type", "seqpacket", path, "x"]);
  assertEquals(sent.code, 5);
  assert(sent.stderr.includes("it is a datagram socket"), sent.stderr);
  await Deno.writeTextFile(dir.file("file"), "");
  const toFile = await packets(["send", "--type", "seqpacket", dir.file("file"), "x"]);
  assertEquals(toFile.code, 7);
  const bound = await packets(["echo", "--type", "seqpacket", path]);
  assertEquals(bound.code, 5);
  assert(bound.stderr.includes("does not use its lock"), bound.stderr);
}, { needs: ["python3"] });

test(
  "uds --type names the flag of FFI where it is missing, and the line of uds permissions is enough",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const args = ["send", "--type", "seqpacket", path, "x"];
    const { code, stderr } = await uds(args);
    assertEquals(code, 9);
    assert(stderr.includes("Run again with --allow-ffi=/"), stderr);
    for (const all of [args, ["tap", "--peer", path, `${path}.other`]]) {
      const { stderr } = await uds(all, { flags: [] });
      for (const flag of ["read", "write", "net", "ffi"]) {
        assert(stderr.includes(` --allow-${flag}=`), stderr);
      }
    }
    await using server = peer("echo", path);
    assertEquals(await server.line(), "ready");
    const { stdout } = await uds(["permissions", "--json", ...args]);
    const { ffi, read, write, net } = JSON.parse(stdout);
    assertEquals([read, write, net], [[path], [path], [`unix:${path}`]]);
    const flags = [
      `--allow-read=${read}`,
      `--allow-write=${write}`,
      `--allow-net=${net}`,
      `--allow-ffi=${ffi}`,
    ];
    const sent = await uds(args, { flags });
    assertEquals([sent.code, sent.stdout], [0, "x\n"]);
  },
  { needs: ["python3"] },
);

test("uds loads nothing of native sockets without --type", async () => {
  const { stdout } = await run(Deno.execPath(), ["info", "--json", "cli.ts"]);
  interface Module {
    specifier: string;
    dependencies?: { code?: { specifier: string }; isDynamic?: boolean }[];
  }
  const modules = new Map<string, Module>(
    JSON.parse(stdout).modules.map((module: Module) => [module.specifier, module]),
  );
  for (const command of ["connect", "send", "listen", "echo", "run"]) {
    const start = [...modules.keys()].find((name) => name.endsWith(`_cli/commands/${command}.ts`))!;
    const seen = new Set([start]);
    for (const name of seen) {
      for (const { code, isDynamic } of modules.get(name)?.dependencies ?? []) {
        if (code !== undefined && isDynamic !== true) seen.add(code.specifier);
      }
    }
    assert(seen.size > 10);
    assertEquals([...seen].filter((name) => /\/native\b|_internal\/libc/.test(name)), []);
  }
});
