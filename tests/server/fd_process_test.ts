import { connect, type Connection } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import {
  denoArgs,
  encode,
  fixturePath,
  Program,
  readText,
  TempDir,
  test,
  testAlone,
} from "../_helpers.ts";
import { Stopwatch } from "../_stopwatch.ts";
import { delay } from "./_server.ts";

/** Starts a program without any permission, with descriptors of some kinds. */
function start(kinds: string[], dir: TempDir, args: string[], prefix: string[] = []): Program {
  const launch = [...prefix, "python3", fixturePath("fd_launch.py"), dir.path, ...kinds, "--"];
  const [command, ...rest] = [...launch, Deno.execPath(), ...args];
  return new Program(command!, rest, { stdin: "piped" });
}

/** Starts a server at a listening descriptor 3. */
function startServer(dir: TempDir, prefix: string[] = []): Program {
  return start(["a listener"], dir, denoArgs("fd_server.ts", ["--deny-env"]), prefix);
}

/** Ends the server, and returns what it reports. */
async function end(
  server: Program,
): Promise<{ errors: [string, string, string, boolean][]; served: number }> {
  const stdin = server.stdin.getWriter();
  await stdin.write(encode("end\n"));
  const report = JSON.parse(await server.line());
  await stdin.close();
  assertEquals((await server.status).code, 0);
  return report;
}

const NEEDS = { needs: ["python3"] };

test("serve({ fd }) needs no permission, and leaves the path of the socket", async () => {
  await using dir = new TempDir();
  await using server = startServer(dir);
  assertEquals(await server.line(), "listening");
  const client = await connect(dir.file("given.sock0"));
  assertEquals(await readText(client), "\x01");
  client.close();
  assertEquals((await end(server)).errors, []);
  assertEquals(dir.list(), ["given.sock0"]);
}, NEEDS);

const REFUSED = [
  "a closed descriptor",
  "a file",
  "a device",
  "a pipe",
  "a connected Unix socket",
  "an unbound Unix socket",
  "a Unix datagram socket",
  "a Unix seqpacket listener",
  "a TCP listener",
  "a UDP socket",
];

test(`listen({ fd }) refuses, and leaves open, ${REFUSED.join(", ")}`, async () => {
  await using dir = new TempDir();
  const args = denoArgs("fd_refused.ts", ["--deny-env"], [`${REFUSED.length}`]);
  await using program = start(REFUSED, dir, args);
  for (const [i, kind] of REFUSED.entries()) {
    const refused = JSON.parse(await program.line());
    assertEquals(refused, {
      name: "NotASocket",
      message: `Cannot listen on descriptor ${3 + i}: no listening Unix stream socket is open ` +
        "there. Pass the descriptor that the parent has agreed on",
      operation: "listen",
      path: null,
      code: "ENOTSOCK",
    }, kind);
  }
  // Node's files of its own may have the other numbers.
  for (const [i, kind] of REFUSED.entries()) {
    if (Deno.build.os !== "linux" || !/socket|listener|pipe/.test(kind)) continue;
    const target = await Deno.readLink(`/proc/${program.pid}/fd/${3 + i}`).catch(() => "nothing");
    assert(/^(socket|pipe):/.test(target), `${kind}: ${target}`);
  }
  await program.stdin.close();
}, NEEDS);

/** A prefix that limits the number of descriptors. */
const LIMITED = ["sh", "-c", 'ulimit -n 40; exec "$0" "$@"'];

const EXHAUSTED = [
  "EMFILE",
  "accept",
  "Cannot accept on descriptor 3: this process has too many open files. Raise its limit (ulimit -n)",
  false,
];

testAlone(
  "serve({ fd }) survives descriptor exhaustion: 100 clients with 40 descriptors",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("given.sock0");
    await using server = startServer(dir, LIMITED);
    assertEquals(await server.line(), "listening");
    const begin = performance.now();
    const greetings = await Promise.all(Array.from({ length: 100 }, async () => {
      await using conn = await connect(path);
      const greeting = await readText(conn);
      // The others wait while this client holds its descriptor.
      await delay(200);
      return greeting;
    }));
    assert(performance.now() - begin > 600, "the descriptors sufficed");
    assertEquals(greetings, Array.from({ length: 100 }, () => "\x01"));
    const { errors, served } = await end(server);
    assertEquals(served, 100);
    assert(errors.length >= 1, "there was no report");
    for (const error of errors) assertEquals(error, EXHAUSTED);
  },
  NEEDS,
);

testAlone(
  "serve({ fd }) without free descriptors accepts the next client soon after one leaves",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("given.sock0");
    await using server = startServer(dir, LIMITED);
    assertEquals(await server.line(), "listening");
    const clients: Connection[] = [];
    const greeted = new Set<number>();
    for (let i = 0; i < 40; i++) {
      const client = await connect(path);
      clients.push(client);
      readText(client).then((text) => text !== null && greeted.add(i));
    }
    for (let seen = -1; seen !== greeted.size || seen === 0; await delay(300)) seen = greeted.size;
    const places = greeted.size;
    assert(places < 40, "the descriptors sufficed");
    for (let i = 0; i < 40; i++) {
      const stopwatch = new Stopwatch(server.pid);
      clients[i]!.close();
      while (greeted.size < Math.min(places + i + 1, 40)) await delay(1);
      const took = stopwatch.ms;
      assert(took < 400, `client ${i} of ${places}: it took ${took} ms`);
    }
    assertEquals((await end(server)).served, 40);
  },
  NEEDS,
);

for (const error of ["EMFILE", "ECONNABORTED"]) {
  test(`serve({ fd }) goes on after accept4 has failed with ${error}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("given.sock0");
    const trace = [
      "strace",
      "-D",
      "-f",
      "-qq",
      "-o",
      "/dev/null",
      "--seccomp-bpf",
      "-e",
      "trace=accept4",
    ];
    const inject = ["-e", `inject=accept4:error=${error}:when=1..9+3`];
    await using server = startServer(dir, [...trace, ...inject]);
    assertEquals(await server.line(), "listening");
    for (let i = 0; i < 10; i++) {
      const client = await connect(path);
      assertEquals(await readText(client), "\x01");
      client.close();
    }
    assertEquals((await end(server)).served, 10);
  }, { needs: ["python3", "strace"] });
}

test("the children of a process do not inherit the descriptors of listen({ fd })", async () => {
  await using dir = new TempDir();
  const kinds = ["a listener", "a listener", "a listener"];
  await using program = start(kinds, dir, denoArgs("fd_children.ts", ["-A"]));
  for (let i = 0; i < 2; i++) {
    assertEquals(JSON.parse(await program.line()), [false, false, false]);
  }
  assertEquals(JSON.parse(await program.line()), [null, null, null]);
  await program.stdin.close();
}, NEEDS);
