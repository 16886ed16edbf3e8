import { connect, type Connection, permissionFlags, permissions } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import {
  changing,
  denoArgs,
  encode,
  Program,
  readText,
  TempDir,
  test,
  testAlone,
} from "../_helpers.ts";
import { Stopwatch } from "../_stopwatch.ts";
import { delay } from "./_server.ts";

testAlone(
  "serve() survives descriptor exhaustion: 100 clients with 40 descriptors, no busy loop",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("e.sock");
    await using server = limited(path);
    assertEquals(await server.line(), "listening");

    const before = processorTime(server.pid);
    const start = performance.now();
    const greetings = await Promise.all(Array.from({ length: 100 }, async () => {
      await using conn = await connect(path);
      const greeting = await readText(conn);
      // The others wait while this client holds its descriptor.
      await delay(200);
      return greeting;
    }));
    const wall = performance.now() - start;
    const used = processorTime(server.pid) - before;

    assertEquals(greetings, Array.from({ length: 100 }, () => "\x01"));
    const stdin = server.stdin.getWriter();
    await stdin.write(encode("end\n"));
    const told = JSON.parse(await server.line());
    assertEquals(told.served, 100);
    assert(used < 0.3, `${used} s of processor time in ${wall} ms`);
    assert(wall > 600, "the descriptors sufficed");
    for (const { code, operation, info, message } of told.errors) {
      assertEquals([code, operation, info], ["EMFILE", "accept", false]);
      assertEquals(
        message,
        `Cannot accept on ${JSON.stringify(path)}: this process has too many open files. ` +
          `Raise its limit (ulimit -n)`,
      );
    }
    assert(told.errors.length >= 1, "there was no report");
    await stdin.close();
    assertEquals((await server.status).code, 0);
  },
);

test("serve() reports descriptor exhaustion once, also when clients leave one by one", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  await using server = limited(path);
  assertEquals(await server.line(), "listening");
  const before = sockets(server.pid);
  const clients: Connection[] = [];
  for (let i = 0; i < 60; i++) clients.push(await connect(path));
  const greetings = clients.map(readText);
  const places = await exhausted(server.pid) - before;
  for (const [i, client] of clients.entries()) {
    // Each client connects before the next one leaves, so a descriptor is never free.
    const last = Math.min(places + i, clients.length) - 1;
    assertEquals(await greetings[last], "\x01", `client ${last} of ${places} at a time`);
    client.close();
  }
  const stdin = server.stdin.getWriter();
  await stdin.write(encode("end\n"));
  const { served, errors } = JSON.parse(await server.line());
  assertEquals(served, 60);
  assert(errors.length >= 1 && errors.length <= 3, `${errors.length} reports`);
  await stdin.close();
  assertEquals((await server.status).code, 0);
});

testAlone(
  "serve() without free descriptors accepts the next client as soon as one leaves",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("w.sock");
    await using server = limited(path);
    assertEquals(await server.line(), "listening");
    const before = sockets(server.pid);
    const clients: Connection[] = [];
    for (let i = 0; i < 40; i++) clients.push(await connect(path));
    const greetings = clients.map(readText);
    const places = await exhausted(server.pid) - before;
    await greetings[places - 1];
    // By now the server retries every 640 ms.
    await delay(700);
    const stopwatch = new Stopwatch(server.pid);
    clients[0]?.close();
    assertEquals(await greetings[places], "\x01");
    const took = stopwatch.ms;
    assert(took < 250, `it took ${took} ms`);
    for (const [i, client] of clients.entries()) {
      await greetings[i];
      client.close();
    }
    const stdin = server.stdin.getWriter();
    await stdin.write(encode("end\n"));
    assertEquals(JSON.parse(await server.line()).served, clients.length);
    await stdin.close();
    assertEquals((await server.status).code, 0);
  },
);

/** Starts a server that may have at most 40 descriptors. */
function limited(path: string): Program {
  const flags = permissionFlags(permissions("serve", path));
  const args = denoArgs("server_until_line.ts", flags, [path]);
  return new Program("sh", ["-c", 'ulimit -n 40; exec "$0" "$@"', Deno.execPath(), ...args], {
    stdin: "piped",
  });
}

/** Returns what the descriptors of a process refer to. */
function descriptors(pid: number): string[] {
  const targets = [];
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      targets.push(Deno.readLinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // The descriptor was closed meanwhile.
    }
  }
  return targets;
}

/** Returns the number of sockets that a process has open. */
function sockets(pid: number): number {
  return descriptors(pid).filter((target) => target.startsWith("socket:")).length;
}

/** Waits until a process has all its 40 descriptors in use. Returns how many are sockets. */
async function exhausted(pid: number): Promise<number> {
  while (descriptors(pid).length < 40) await delay(1);
  return sockets(pid);
}

/** Returns the processor time that a process has used, in seconds: user time and system time. */
function processorTime(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // Fields 14 and 15 of proc(5), counted from the state, the third; 100 ticks a second.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Starts a server that fails at its first accept. */
function failingAccept(path: string, error: string): Program {
  const flags = permissionFlags(permissions("serve", path));
  const args = denoArgs("server_until_line.ts", flags, [path]);
  const inject = changing(`accept4:error=${error}:when=1`);
  return new Program("strace", [...inject, Deno.execPath(), ...args], { stdin: "piped" });
}

test("serve() goes on when a client closes before it is accepted", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using server = failingAccept(path, "ECONNABORTED");
  assertEquals(await server.line(), "listening");
  const conn = await connect(path);
  assertEquals(await readText(conn), "\x01");
  conn.close();
  const stdin = server.stdin.getWriter();
  await stdin.write(encode("end\n"));
  const { errors, served, finished } = JSON.parse(await server.line());
  assertEquals([errors.length, served, finished], [1, 1, null]);
  assertEquals([errors[0].code, errors[0].operation, errors[0].info], [
    "ECONNABORTED",
    "accept",
    false,
  ]);
  await stdin.close();
  assertEquals((await server.status).code, 0);
}, { needs: ["strace"] });

testAlone(
  "serve() rejects finished, and releases the path, when accepting fails for good",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("x.sock");
    await using server = failingAccept(path, "EINVAL");
    assertEquals(await server.line(), "listening");
    // The failure comes when there is something to accept.
    await connect(path).then((conn) => conn.close(), () => {});
    const start = performance.now();
    const { errors, finished } = JSON.parse(await server.line());
    // No client is connected, and none can be accepted, so there is nothing to wait for.
    const took = performance.now() - start;
    assert(took < 2500, `it took ${took} ms`);
    assertEquals(errors, []);
    assert(finished.includes(`Cannot accept on ${JSON.stringify(path)}: `), finished);
    await server.stdin.close();
    assertEquals((await server.status).code, 0);
    assertEquals(dir.list(), []);
  },
  { needs: ["strace"] },
);
