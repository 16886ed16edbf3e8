import {
  connect,
  type Connection,
  ConnectionClosed,
  lengthPrefixed,
  messages,
  pair,
  serve,
  socketpair,
} from "@uds/uds";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { encode, readAll, readText, TempDir, test, testAlone } from "../_helpers.ts";

/** Peers that do not read: a write without progress times out, and frees its slot. */

const LARGE = 4 * 1024 * 1024;

type TimedOut = Error & { unsent: Uint8Array; operation: string; path: string; code: string };

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Returns the error of a promise, and asserts that it is `TimedOut`. */
async function timedOut(promise: Promise<unknown>): Promise<TimedOut> {
  return await assertRejects(() => promise, Deno.errors.TimedOut) as TimedOut;
}

test("serve() with writeTimeout rejects a write to a client that does not read, and frees its slot", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const { promise: told, resolve: tell } = Promise.withResolvers<unknown>();
  let isFirst = true;
  await using _server = await serve(
    { path, maxConnections: 1, writeTimeout: 100, onError: tell },
    async (conn) => {
      await conn.write(isFirst ? new Uint8Array(LARGE) : encode("served"));
      isFirst = false;
    },
  );
  await using stalled = await connect(path);
  const error = await told as TimedOut;
  isFirst = false;
  await using next = await connect(path);
  assertEquals(await readText(next), "served");

  assert(error instanceof Deno.errors.TimedOut);
  assertEquals([error.operation, error.path, error.code], ["write", path, "ETIMEDOUT"]);
  assertMatch(error.message, /^Cannot write to a client of ".*": the peer did not read for 100 ms/);
  assertMatch(error.message, new RegExp(`, and ${error.unsent.length} bytes were not sent$`));
  assertEquals((await readAll(stalled)).length + error.unsent.length, LARGE);
});

test("serve() with writeTimeout rejects all pending calls, and accounts for every byte", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const { promise: ended, resolve: end } = Promise.withResolvers<unknown[]>();
  await using _server = await serve({ path, writeTimeout: 100 }, async (conn) => {
    const jobs = [
      conn.write(new Uint8Array(LARGE)),
      conn.write(new Uint8Array(1000)),
      conn.closeWrite(),
      conn.read(new Uint8Array(10)),
    ];
    const failures = await Promise.all(jobs.map((job) => timedOut(job)));
    failures.push(await timedOut(conn.write(new Uint8Array(1))));
    await conn.closed;
    end(failures);
  });
  await using client = await connect(path);
  const failures = await ended as TimedOut[];
  const operations = failures.map(({ operation }) => operation);
  assertEquals(operations, ["write", "write", "closeWrite", "read", "write"]);
  const unsent = failures.map((error) => error.unsent?.length);
  assertEquals(unsent.slice(1), [1000, undefined, undefined, 1]);
  assertEquals((await readAll(client)).length + (unsent[0] ?? 0), LARGE);
});

test("serve() with writeTimeout does not close a slow client", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const told: unknown[] = [];
  const options = { path, writeTimeout: 250, onError: (error: unknown) => void told.push(error) };
  await using _server = await serve(options, (conn) => conn.write(new Uint8Array(LARGE / 4)));
  await using client = await connect(path);
  const buffer = new Uint8Array(128 * 1024);
  let total = 0;
  for (let count; (count = await client.read(buffer)) !== null; total += count) await pause(60);
  assertEquals([total, told], [LARGE / 4, []]);
});

test("serve() with writeTimeout ends a pipe to a client that does not read", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const { promise: told, resolve: tell } = Promise.withResolvers<unknown>();
  const chunks = function* () {
    for (;;) yield new Uint8Array(65536);
  };
  let isCancelled = false;
  await using _server = await serve({ path, writeTimeout: 100, onError: tell }, async (conn) => {
    const source = ReadableStream.from(chunks()).pipeThrough(
      new TransformStream({
        cancel() {
          isCancelled = true;
        },
      }),
    );
    await source.pipeTo(conn.writable);
  });
  await using _client = await connect(path);
  assert(await told instanceof Deno.errors.TimedOut);
  assert(isCancelled);
});

for (
  const [where, limits, own] of [
    ["serve()", { writeTimeout: 150 }, {}],
    ["messages()", {}, { writeTimeout: 150 }],
  ] as const
) {
  testAlone(
    `clients that ask and never read do not hold maxConnections, with writeTimeout of ${where}`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s");
      const told: unknown[] = [];
      const onError = (error: unknown) => void told.push(error);
      await using _server = await serve(
        { path, maxConnections: 10, idleTimeout: 1000, ...limits, onError },
        async (conn) => {
          await using channel = messages(conn, lengthPrefixed(), { frameTimeout: 1000, ...own });
          for await (const message of channel) await channel.send(message);
        },
      );
      const request = new Uint8Array(4 + 4096);
      request[2] = 0x10;
      const hostile = await Promise.all(Array.from({ length: 10 }, () => connect(path)));
      const asking = hostile.map(async (conn) => {
        for (;;) await conn.write(request);
      });
      const ended = Promise.allSettled(asking);
      await using good = messages(await connect(path), lengthPrefixed());
      await good.send(encode("hi"));
      assertEquals(await good.receive(), encode("hi"));
      await ended;
      assertEquals(told.length, 10);
      for (const error of told) assert(error instanceof Deno.errors.TimedOut, String(error));
      for (const conn of hostile) conn.close();
    },
  );
}

test("messages() with writeTimeout fails in both directions, and closes the connection", async () => {
  const [a, b] = await socketpair();
  const channel = messages(a, lengthPrefixed(), { writeTimeout: 100 });
  const receiving = timedOut(channel.receive());
  const error = await timedOut(channel.send(new Uint8Array(LARGE)));
  assertEquals([error.operation, error.code], ["send", "ETIMEDOUT"]);
  assertMatch(
    error.message,
    /^Cannot send to the peer: the peer did not read for 100 ms, and \d+ bytes of messages were not/,
  );
  await receiving;
  await timedOut(channel.send(new Uint8Array(1)));
  await a.closed;
  assertEquals((await readAll(b)).length + error.unsent.length, LARGE + 4);
  channel.close();
  b.close();
});

test("messages() with writeTimeout sends a large message to a slow peer", async () => {
  const [a, b] = await socketpair();
  await using channel = messages(a, lengthPrefixed(), { writeTimeout: 250 });
  const sent = channel.send(new Uint8Array(LARGE / 4)).then(() => channel.closeWrite());
  const buffer = new Uint8Array(128 * 1024);
  let total = 0;
  for (let count; (count = await b.read(buffer)) !== null; total += count) await pause(60);
  await sent;
  assertEquals(total, LARGE / 4 + 4);
  b.close();
});

test("messages() with writeTimeout rejects sends to a child that does not read", async () => {
  await using child = await pair("sleep", { args: ["30"], grace: 0 });
  const channel = messages(child.conn, lengthPrefixed(), { writeTimeout: 100 });
  const error = await timedOut(channel.send(new Uint8Array(LARGE)));
  assert(error.unsent.length > LARGE / 2);
  await child.conn.closed;
  channel.close();
});

test("messages() with writeTimeout counts what was read while the process was blocked", async () => {
  const script = "sleep 0.1; exec cat <&3 >/dev/null";
  await using child = await pair("sh", { args: ["-c", script], grace: 0 });
  await using channel = messages(child.conn, lengthPrefixed(), { writeTimeout: 300 });
  const sent = channel.send(new Uint8Array(256 * 1024));
  await pause(1);
  const end = performance.now() + 500;
  while (performance.now() < end);
  await sent;
});

test("messages() without writeTimeout waits for a peer that does not read", async () => {
  const [a, b] = await socketpair();
  const channel = messages(a, lengthPrefixed());
  const sending = channel.send(new Uint8Array(LARGE));
  assertEquals(await Promise.race([sending, pause(300).then(() => "waits")]), "waits");
  channel.close();
  await assertRejects(() => sending, ConnectionClosed);
  b.close();
});

for (const value of [0, -1, 2 ** 31]) {
  test(`serve() and messages() refuse a writeTimeout of ${value}`, async () => {
    await assertRejects(
      () => serve({ path: "/tmp/never", writeTimeout: value }, async () => {}),
      RangeError,
      "writeTimeout",
    );
    const conn = {} as Connection;
    Object.assign(conn, { read() {}, write() {} });
    assertThrows(
      () => messages(conn, lengthPrefixed(), { writeTimeout: value }),
      RangeError,
      "writeTimeout",
    );
  });
}

test("messages() refuses a socket of node:net by name", async () => {
  const { Socket } = await import("node:net");
  const socket = new Socket();
  assertThrows(
    () => messages(socket as unknown as Connection, lengthPrefixed()),
    TypeError,
    "got a stream of Node.js (an object (Socket))",
  );
  socket.destroy();
});
