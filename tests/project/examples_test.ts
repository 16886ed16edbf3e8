import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect, lines, type Messages, messages } from "@uds/uds";
import {
  denoArgs,
  fixture,
  IS_ROOT,
  MIB,
  Program,
  readAll,
  ROOT,
  run,
  TempDir,
  test,
} from "../_helpers.ts";
import { flagsOf } from "./_examples.ts";

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
  const stdout = await ran("socketpair.ts", await flagsOf("socketpair.ts", "/tmp"));
  const lines = stdout.trimEnd().split("\n");
  // Each process prints in order. Between the two only the messages set an order.
  const inParent = ["in parent, sending message", "response from child: pong"];
  const inChild = ["in child, waiting for message", "message from parent: ping"];
  assertEquals(lines.filter((line) => inParent.includes(line)), inParent);
  assertEquals(lines.filter((line) => inChild.includes(line)), inChild);
  assertEquals(lines.length, 4);
  assertEquals(lines.at(-1), "response from child: pong");
  assert(lines.indexOf(inParent[0]!) < lines.indexOf(inChild[1]!));
});

test("examples/sandbox.ts stays in control of an untrusted module", async () => {
  const stdout = await ran("sandbox.ts", await flagsOf("sandbox.ts", "/tmp"));
  assertEquals(stdout.trimEnd().split("\n"), [
    "6 * 7: 42",
    "throw: no answer, it ended with exit code 1",
    "loop: no answer, it did not answer within 2000 ms",
    "flood: no answer, it sent more than 65536 bytes",
    "secret: denied: NotCapable",
    "2 + 2: 4",
  ]);
});

/** Starts an example that listens on a path, and waits until it is ready. */
async function started(script: string, path: string): Promise<Program> {
  const server = fixture(`./examples/${script}`, ["-RWN"], [path]);
  assertEquals(await server.line(), `listening on ${path}`);
  return server;
}

/** Runs an example to its end. */
async function ran(script: string, flags: string[], args: string[] = []): Promise<string> {
  const command = denoArgs(`./examples/${script}`, flags, args);
  const { code, stdout, stderr } = await run(Deno.execPath(), command);
  assertEquals([code, stderr], [0, ""]);
  return stdout;
}

/** Stops a server with a signal, and asserts that it leaves no file. */
async function stopped(server: Program, dir: TempDir): Promise<void> {
  server.kill("SIGTERM");
  assertEquals(await server.output(), []);
  assertEquals([(await server.status).code, await server.stderr()], [0, ""]);
  assertEquals(dir.list(), []);
}

test("examples/chat_server.ts sends each line to all others", async () => {
  await using dir = new TempDir();
  const path = dir.file("chat.sock");
  await using server = await started("chat_server.ts", path);
  const enter = async (name: string) => {
    const guest = messages(await connect(path), lines());
    assertEquals(await guest.receive(), "What is your name?");
    await guest.send(name);
    return guest;
  };
  await using ada = await enter("Ada");
  assertEquals(await ada.receive(), "Hello Ada, here: no others yet");
  {
    await using bob = await enter("Bob");
    assertEquals(await bob.receive(), "Hello Bob, here: Ada");
    assertEquals(await ada.receive(), "* Bob has joined");
    await ada.send("hello");
    assertEquals(await bob.receive(), "Ada: hello");
    await bob.send("bye");
  }
  assertEquals(await ada.receive(), "Bob: bye");
  assertEquals(await ada.receive(), "* Bob has left");
  await stopped(server, dir);
  assertEquals(await ada.receive(), undefined);
});

test("examples/chat_server.ts closes a guest that never reads, and delays none of 99 others", async () => {
  await using dir = new TempDir();
  const path = dir.file("chat.sock");
  await using server = await started("chat_server.ts", path);
  await using open = new AsyncDisposableStack();
  const enter = async (name: string) => {
    const conn = open.use(await connect(path));
    const channel = messages(conn, lines());
    assertEquals(await channel.receive(), "What is your name?");
    await channel.send(name);
    return { conn, channel };
  };
  const others: Messages<string>[] = [];
  for (let i = 1; i < 100; i++) {
    const { channel } = await enter(`guest number ${i}`);
    assertMatch(await channel.receive() ?? "", new RegExp(`^Hello guest number ${i}, here: `));
    for (const other of others) {
      assertEquals(await other.receive(), `* guest number ${i} has joined`);
    }
    others.push(channel);
  }
  const { conn: deaf } = await enter("deaf");
  for (const other of others) assertEquals(await other.receive(), "* deaf has joined");

  // A round ends when all others have its lines. Meanwhile the deaf guest has not read any.
  const [speaker, ...listeners] = others;
  let bytes = 0;
  let hasLeft = false;
  for (let round = 1; !hasLeft; round++) {
    assert(bytes < 3 * MIB, `the deaf guest has not left after ${bytes} bytes`);
    // The longest lines that the server accepts.
    const said = Array.from({ length: 50 }, (_, i) => `${round}.${i} `.padEnd(1000, "x"));
    for (const line of said) speaker!.send(line);
    const expected = said.map((line) => `guest number 1: ${line}`);
    await Promise.all(listeners.map(async (listener) => {
      for (const line of expected) {
        let found = await listener.receive();
        if (found === "* deaf has left") {
          hasLeft = true;
          found = await listener.receive();
        }
        assertEquals(found, line);
      }
    }));
    bytes += expected.join("\n").length + 1;
  }
  assertEquals(await speaker!.receive(), "* deaf has left");

  // What the kernel took before is still there. The server has kept the rest for it.
  const kept = bytes - (await readAll(deaf)).length;
  assert(kept > MIB / 2 && kept < 1.2 * MIB, `${kept}`);
  await stopped(server, dir);
});

test("examples/json_server.ts answers json_client.ts when each answer is ready", async () => {
  await using dir = new TempDir();
  const path = dir.file("json.sock");
  await using server = await started("json_server.ts", path);
  assertEquals(
    await ran("json_client.ts", ["-RWN"], [path]),
    "1 + 2 + 3 = 6\n-32602 sum() takes numbers\nslept 100 ms\n",
  );
  await stopped(server, dir);
});

test("examples/http_server.ts answers fetch", async () => {
  await using dir = new TempDir();
  const path = dir.file("http.sock");
  await using server = await started("http_server.ts", path);
  {
    using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
    const response = await fetch("http://localhost/hello", { client });
    assertEquals(await response.text(), "GET /hello\n");
  }
  assertEquals((await Deno.stat(path)).mode! & 0o777, 0o660);
  await stopped(server, dir);
});

test("examples/docker.ts lists the containers of docker_stand_in.ts", async () => {
  await using dir = new TempDir();
  const path = dir.file("docker.sock");
  const absent = await run(Deno.execPath(), denoArgs("./examples/docker.ts", ["-RWN"], [path]));
  assertEquals([absent.code, absent.stderr], [1, `There is no Docker at ${path}: free\n`]);
  await using server = await started("docker_stand_in.ts", path);
  assertEquals(
    await ran("docker.ts", ["-RWN"], [path]),
    "Docker 0.0-stand-in, API 1.44\nc0ffee123456 alpine:3 Up 5 minutes\n",
  );
  await stopped(server, dir);
});

test("examples/ssh_agent.ts lists the keys of ssh-agent", async () => {
  await using dir = new TempDir();
  const path = dir.file("agent.sock");
  await using _agent = new Program("ssh-agent", ["-D", "-a", path]);
  assertEquals(await ran("ssh_agent.ts", ["-RWN"], [path]), "no keys\n");
  const key = dir.file("key");
  const args = ["-q", "-t", "ed25519", "-N", "", "-C", "a key to try", "-f", key];
  assertEquals((await run("ssh-keygen", args)).code, 0);
  await using adding = new Program("ssh-add", ["-q", key], { env: { SSH_AUTH_SOCK: path } });
  assertEquals((await adding.status).code, 0);
  assertEquals(await ran("ssh_agent.ts", ["-RWN"], [path]), "ssh-ed25519 a key to try\n");
}, { needs: ["ssh-agent", "ssh-add", "ssh-keygen"] });

test("examples/pool.ts replaces a child that crashes, and loses no answer", async () => {
  const text = await ran("pool.ts", await flagsOf("pool.ts", "/tmp"));
  // The times depend on the load of the machine.
  assertEquals(text.replace(/in \d+ ms/g, "in N ms").replace(/\d+\.\d\d/, "N").split("\n"), [
    "pool of 1: 78498 primes in N ms",
    "pool of 2: 78498 primes in N ms",
    "speed-up: N",
    "after a child was killed: still 41538 primes",
    "no answer: exit code 1",
    "at the end: 25 primes below 100",
    "",
  ]);
});

test("examples/restart.ts takes over from itself, and no client is refused", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using old = fixture("./examples/restart.ts", ["-RWN"], [path, "version 1"]);
  assertEquals(await old.line(), `version 1 listens on ${path}`);

  // These clients never pause. Each of them must get an answer.
  const answers: Record<string, number> = {};
  const stop = new AbortController();
  const clients = (async () => {
    while (!stop.signal.aborted) {
      await using conn = await connect(path);
      const answer = await new Response(conn.readable).text();
      answers[answer] = (answers[answer] ?? 0) + 1;
    }
  })();
  await using successor = fixture("./examples/restart.ts", ["-RWN"], [path, "version 2"]);
  assertEquals(await successor.line(), `version 2 listens on ${path}`);
  assertEquals(await old.line(), "version 1 was replaced");
  assertEquals(await old.line(), `version 1 served ${answers["version 1\n"]} clients and exits`);
  assertEquals((await old.status).code, 0);
  stop.abort();
  await clients;
  assertEquals(Object.keys(answers), ["version 1\n", "version 2\n"]);

  successor.kill("SIGTERM");
  const rest = `version 2 served ${answers["version 2\n"]} clients and exits`;
  assertEquals([await successor.output(), await successor.stderr()], [[rest], ""]);
  assertEquals(dir.list(), []);
});

test("every example begins with its command", async () => {
  for (const { name, isFile } of Deno.readDirSync(`${ROOT}/examples`)) {
    if (!isFile) continue;
    const text = await Deno.readTextFile(`${ROOT}/examples/${name}`);
    assertMatch(text, /^\/\*\*\n[^]*? \* Terminal(?: 1)?: [^]*?\*\//, name);
    assert(text.split("*/")[0]!.includes(name), name);
  }
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
  // Once while the server runs, and once after it was killed.
  assertEquals(text.match(/\n {2}ls -l {3}\| srw------- \S+ \S+ \S+echo\.sock\n/g)?.length, 2);
  assertMatch(text, /second {2}\| uds: Cannot serve on .*: it is in use by process \d+/);
  assertMatch(text, /\n {2}next {4}\| listening on \S+echo\.sock\n/);
  for (const piece of ["This is the mess", "age. It will be ", "repeated."]) {
    assert(text.includes(`client  | received "${piece}"`), piece);
  }
  assert(text.includes("client  | This is the message. It will be repeated."));
  assert(text.includes("pair    | response from child: pong"));
  assertMatch(text, IS_ROOT ? /nobody {2}\| ConnectDenied: .* mode 0600 / : /Only root/);
  assertEquals(dir.list(), []);
  // No process has the directory in its arguments any more.
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
