import { assert, assertEquals, assertMatch } from "@std/assert";
import { denoArgs, fixture, IS_ROOT, ROOT, run, TempDir, test } from "./_helpers.ts";

test("examples/echo_server.ts and echo_client.ts print the classic transcripts", async () => {
  await using dir = new TempDir();
  const path = dir.file("uds_socket");
  await using server = fixture("./examples/echo_server.ts", ["-RWN"], [path]);
  assertEquals(await server.line(), `starting up on ${path}`);
  assertEquals(await server.line(), "waiting for a connection");

  const client = await run(
    Deno.execPath(),
    denoArgs("./examples/echo_client.ts", ["-RWN"], [path]),
  );
  assertEquals(client, {
    code: 0,
    stderr: "",
    stdout: [
      `connecting to ${path}`,
      'sending "This is the message. It will be repeated."',
      'received "This is the mess"',
      'received "age. It will be "',
      'received "repeated."',
      "closing socket\n",
    ].join("\n"),
  });

  const transcript = [
    "connection from an unnamed client",
    'received "This is the mess"',
    "sending data back to the client",
    'received "age. It will be "',
    "sending data back to the client",
    'received "repeated."',
    "sending data back to the client",
    "no more data from an unnamed client",
    "waiting for a connection",
  ];
  for (const line of transcript) assertEquals(await server.line(), line);
  server.kill("SIGTERM");
  assertEquals(await server.output(), []);
  assertEquals([(await server.status).code, await server.stderr()], [0, ""]);
  assertEquals(dir.list(), []);
});

test("examples/socketpair.ts prints the classic transcript", async () => {
  const flags = ["--allow-run", "--allow-env", "--allow-read"];
  const { code, stdout, stderr } = await run(
    Deno.execPath(),
    denoArgs("./examples/socketpair.ts", flags),
  );
  assertEquals([code, stderr], [0, ""]);
  const lines = stdout.trimEnd().split("\n");
  // Each process has an order of its own; between them only the messages make one.
  const inParent = ["in parent, sending message", "response from child: pong"];
  const inChild = ["in child, waiting for message", "message from parent: ping"];
  assertEquals(lines.filter((line) => inParent.includes(line)), inParent);
  assertEquals(lines.filter((line) => inChild.includes(line)), inChild);
  assertEquals(lines.length, 4);
  assertEquals(lines.at(-1), "response from child: pong");
  assert(lines.indexOf(inParent[0]!) < lines.indexOf(inChild[1]!));
});

test("examples/sandbox.ts stays in control of a module that nobody trusts", async () => {
  const flags = ["--allow-run", "--allow-env", "--allow-read"];
  const { code, stdout, stderr } = await run(
    Deno.execPath(),
    denoArgs("./examples/sandbox.ts", flags),
  );
  assertEquals([code, stderr], [0, ""]);
  assertEquals(stdout.trimEnd().split("\n"), [
    "6 * 7: 42",
    "throw: no answer, it ended with exit code 1",
    "loop: no answer, it did not answer within 2000 ms",
    "flood: no answer, it sent more than 65536 bytes",
    "secret: I may not: NotCapable",
    "2 + 2: 4",
  ]);
});

test("the demo shows the main job in under 10 s and leaves nothing behind", async () => {
  await using dir = new TempDir(0o755);
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "demo"],
    cwd: ROOT,
    env: { TMPDIR: dir.path, NO_COLOR: "1" },
    stderr: "inherit",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0);
  assertMatch(text, /\n {2}srw------- \S+ \S+ \S+echo\.sock\n/);
  for (const piece of ["This is the mess", "age. It will be ", "repeated."]) {
    assert(text.includes(`client  | received "${piece}"`), piece);
  }
  assert(text.includes("client  | This is the message. It will be repeated."));
  assert(text.includes("pair    | response from child: pong"));
  assertMatch(text, IS_ROOT ? /nobody {2}\| ConnectDenied: .* mode 0600 / : /needs root/);
  assertEquals(dir.list(), []);
  // No process still has the directory in its arguments.
  const processes = [...Deno.readDirSync("/proc")].filter((e) => /^\d+$/.test(e.name)).filter(
    (e) => {
      try {
        return Deno.readTextFileSync(`/proc/${e.name}/cmdline`).includes(dir.path);
      } catch {
        return false;
      }
    },
  );
  assertEquals(processes, []);
}, { deadline: 10_000 });
