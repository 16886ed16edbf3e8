import { connect, delimited, messages, text } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { uds } from "../_cli.ts";
import { encode, test } from "../_helpers.ts";
import { checked, output, Relay, start, stop, UserDir } from "./_programs.ts";

/** The lines of memcached end with CR LF. */
const LINES = text(delimited(encode("\r\n")));

test(
  "redis-benchmark runs 200,000 commands through uds relay and beside it, with a pipeline and without",
  async () => {
    await using dir = new UserDir();
    const [path, relayed] = [dir.file("redis.sock"), dir.file("relayed.sock")];
    const command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""];
    await using server = await start(command, path, { cwd: dir.path });
    await using relay = await Relay.start(relayed, path);
    const cli = (...args: string[]) => output(["redis-cli", "-s", path, ...args]);
    await cli("config", "resetstat");
    for (const args of [["-t", "incr"], ["-t", "incr", "-P", "50"]]) {
      // 200 clients at once on each of the two paths.
      const printed = await Promise.all(
        [relayed, path].map((at) =>
          output(["redis-benchmark", "-s", at, "-q", "-c", "200", "-n", "50000", ...args])
        ),
      );
      for (const each of printed) assert(each.includes("requests per second"));
    }
    // Each command has changed the one counter.
    assertEquals(await cli("--raw", "get", "counter:__rand_int__"), "200000\n");
    await relay.end();
    await stop(server);
    const what =
      "100,000 `INCR` of 200 clients, pipelined and not, and as many beside it, all counted";
    await checked("Redis, `redis-benchmark`", ["redis-server", "-v"], "`uds relay`", what);
  },
  { needs: ["redis-server", "redis-benchmark", "redis-cli"], deadline: 120_000 },
);

test(
  "redis-cli sends 2,000 commands to Redis through uds tap, which records them",
  async () => {
    await using dir = new UserDir();
    const [path, relayed] = [dir.file("redis.sock"), dir.file("relayed.sock")];
    const command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""];
    await using server = await start(command, path, { cwd: dir.path });
    await using tap = await Relay.run("tap", "--output", dir.file("tap"), relayed, path);
    // redis-cli sends the commands of its input, and ends at the end of it.
    const commands = Array.from({ length: 2000 }, (_, i) => `RPUSH list ${i}\n`).join("");
    const answers = await output(["redis-cli", "-s", relayed], { input: commands });
    assertEquals(answers, Array.from({ length: 2000 }, (_, i) => `${i + 1}\n`).join(""));
    await tap.end();
    assert((await Deno.stat(dir.file("tap"))).size > commands.length);
    await stop(server);
    const what = "2,000 commands and their answers, recorded on the way";
    await checked("Redis, `redis-cli`", ["redis-server", "-v"], "`uds tap --output`", what);
  },
  { needs: ["redis-server", "redis-cli"], deadline: 60_000 },
);

test("uds replay plays what redis-cli sent to another Redis, which answers the same", async () => {
  await using dir = new UserDir();
  const [path, relayed] = [dir.file("redis.sock"), dir.file("relayed.sock")];
  const command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""];
  {
    await using server = await start(command, path, { cwd: dir.path });
    await using tap = await Relay.run("tap", "--output", dir.file("tap"), relayed, path);
    const commands = Array.from({ length: 2000 }, (_, i) => `RPUSH list ${i}\r\n`).join("");
    const printed = await output(["redis-cli", "-s", relayed, "--pipe"], { input: commands });
    assert(printed.includes("errors: 0, replies: 2000"), printed);
    await tap.end();
    await stop(server);
  }
  await using server = await start(command, path, { cwd: dir.path });
  const replay = () => uds(["replay", dir.file("tap"), path], { flags: ["-A"] });
  const same = { code: 0, stdout: "", stderr: "connections: 1, differences: 0\n" };
  assertEquals(await replay(), same);
  // The list has elements now, so its length is another.
  const { code, stdout } = await replay();
  assertEquals(code, 1);
  assert(stdout.startsWith('connection 1, byte 1: expected "1'), stdout);
  await stop(server);
  const what = "2,000 commands recorded, and played to another server, which answers the same";
  const way = "`uds tap --output`, `uds replay`";
  await checked("Redis, `redis-cli --pipe`", ["redis-server", "-v"], way, what);
}, { needs: ["redis-server", "redis-cli"], deadline: 60_000 });

test("messages() and delimited() use Redis, and hear what is published", async () => {
  await using dir = new UserDir();
  const path = dir.file("redis.sock");
  const command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""];
  await using server = await start(command, path, { cwd: dir.path });
  await using subscriber = messages(await connect(path), LINES);
  /** Receives the parts of an array of three, each after its length. */
  const published = async () => {
    assertEquals(await subscriber.receive(), "*3");
    const parts = [];
    for (let i = 0; i < 3; i++) {
      const head = (await subscriber.receive())!;
      parts.push(head.startsWith("$") ? await subscriber.receive() : head);
    }
    return parts;
  };
  await subscriber.send("SUBSCRIBE news");
  assertEquals(await published(), ["subscribe", "news", ":1"]);
  await using session = messages(await connect(path), LINES);
  // All are sent before an answer is read.
  for (let i = 0; i < 10_000; i++) session.send("INCR n");
  for (let i = 0; i < 1000; i++) session.send(`PUBLISH news ${i}`);
  session.send("LPUSH n 1");
  await session.send("QUIT");
  for (let i = 1; i <= 10_000; i++) assertEquals(await session.receive(), `:${i}`);
  for (let i = 0; i < 1000; i++) assertEquals(await session.receive(), ":1");
  const error = "-WRONGTYPE Operation against a key holding the wrong kind of value";
  assertEquals([await session.receive(), await session.receive()], [error, "+OK"]);
  assertEquals(await session.receive(), undefined);
  for (let i = 0; i < 1000; i++) assertEquals(await published(), ["message", "news", `${i}`]);
  await stop(server);
  const what = "10,000 commands in a pipeline, 1,000 messages published and received, an error";
  const way = "`messages()` with `delimited()`";
  await checked("Redis", ["redis-server", "-v"], way, what);
}, { needs: ["redis-server"], deadline: 30_000 });

test("messages() and delimited() use memcached", async () => {
  await using dir = new UserDir();
  const path = dir.file("m.sock");
  await using server = await start(["memcached", "-s", path, "-a", "700", "-t", "2"], path);
  await using session = messages(await connect(path), LINES);
  const values = Array.from({ length: 1000 }, (_, i) => String(i).repeat(300));
  // All are sent before an answer is read.
  for (const [i, value] of values.entries()) {
    session.send(`set k${i} 0 0 ${value.length}`);
    session.send(value);
  }
  for (const _ of values) assertEquals(await session.receive(), "STORED");
  for (const i of values.keys()) session.send(`get k${i}`);
  for (const [i, value] of values.entries()) {
    assertEquals(await session.receive(), `VALUE k${i} 0 ${value.length}`);
    assertEquals(await session.receive(), value);
    assertEquals(await session.receive(), "END");
  }
  await session.send("quit");
  assertEquals(await session.receive(), undefined);
  await stop(server);
  const what = "1,000 values stored and read in a pipeline, `quit`";
  await checked("memcached", ["memcached", "-V"], "`messages()` with `delimited()`", what);
}, { needs: ["memcached"] });

test("memcached keeps the order of 20 clients at once through uds relay", async () => {
  await using dir = new UserDir();
  const [path, relayed] = [dir.file("m.sock"), dir.file("relayed.sock")];
  await using server = await start(["memcached", "-s", path, "-a", "700", "-t", "2"], path);
  await using relay = await Relay.start(relayed, path);
  const clients = await Promise.all(Array.from({ length: 20 }, async () => {
    return messages(await connect(relayed), LINES);
  }));
  await clients[0]!.send("set n 0 0 1");
  await clients[0]!.send("0");
  assertEquals(await clients[0]!.receive(), "STORED");
  await Promise.all(clients.map(async (client) => {
    for (let i = 0, last = 0; i < 500; i++) {
      await client.send("incr n 1");
      const next = Number(await client.receive());
      assert(next > last);
      last = next;
    }
  }));
  await clients[0]!.send("get n");
  assertEquals(await clients[0]!.receive(), "VALUE n 0 5");
  assertEquals(await clients[0]!.receive(), "10000");
  for (const client of clients) client.close();
  await relay.end();
  await stop(server);
  const what = "10,000 `incr` of 20 clients at once, all counted, each in order";
  await checked("memcached", ["memcached", "-V"], "`uds relay`", what);
}, { needs: ["memcached"], deadline: 30_000 });
