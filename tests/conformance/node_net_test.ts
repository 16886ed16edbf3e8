import { connect, type Connection, ConnectionClosed, isSocketError, serve } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { gate, isPending, TempDir, turn, untilFull } from "../_helpers.ts";
import { decode, encode, readAll, readText } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { failureOf, LARGE } from "./_streams.ts";

/** A client, and the connection that the server's handler has for it. */
interface Served extends AsyncDisposable {
  path: string;
  client: Connection;
  conn: Connection;
}

/** Connects a client to a server. The handler ends when the connection has closed. */
async function served(): Promise<Served> {
  const dir = new TempDir();
  const path = dir.file("s");
  const { opened, open } = gate<Connection>();
  const server = await serve(path, async (conn) => {
    open(conn);
    await conn.closed;
  });
  const client = await connect(path);
  const conn = await opened;
  return {
    path,
    client,
    conn,
    async [Symbol.asyncDispose]() {
      client.close();
      conn.close();
      await server.shutdown();
      await dir[Symbol.asyncDispose]();
    },
  };
}

// The ends of a connection ------------------------------------------------------------------------

follows(
  "node: test-net-allow-half-open",
  "a client reads on after the server's end, and answers",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    await conn.write(new Uint8Array(1024));
    await conn.closeWrite();
    assertEquals((await readAll(client)).length, 1024);
    await client.write(encode("asd"));
    await client.closeWrite();
    assertEquals(decode(await readAll(conn)), "asd");
    await Promise.all([client.closed, conn.closed]);
  },
);

follows(
  "node: test-net-allow-half-open",
  "both ends may end first, and none closes early",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    await Promise.all([client.write(encode("a")), conn.write(encode("b"))]);
    await Promise.all([client.closeWrite(), conn.closeWrite()]);
    assertEquals([await readText(client), await readText(conn)], ["b", "a"]);
    assertEquals([await readText(client), await readText(conn)], [null, null]);
    await Promise.all([client.closed, conn.closed]);
  },
);

follows(
  "node: test-net-end-close",
  "closed resolves once both directions have ended, and not before",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    await client.closeWrite();
    assertEquals(await readText(conn), null);
    assert(await isPending(client.closed));
    await conn.closeWrite();
    assertEquals(await readText(client), null);
    await Promise.all([client.closed, conn.closed]);
  },
);

follows(
  "node: test-net-socket-end-callback",
  "closeWrite() resolves with and without bytes before it",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    client.write(encode("foo"));
    assertEquals(await client.closeWrite(), undefined);
    assertEquals(await conn.closeWrite(), undefined);
    assertEquals([await readText(conn), await readText(client)], ["foo", null]);
  },
);

follows(
  "node: test-net-socket-close-after-end",
  "bytes and their end stay there until they are read",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    await client.write(encode("foo"));
    await client.closeWrite();
    await conn.closeWrite();
    assertEquals(await readText(client), null);
    await client.closed;
    // The peer is gone. What it sent is not.
    assertEquals([await readText(conn), await readText(conn)], ["foo", null]);
    await conn.closed;
  },
);

follows(
  "node: test-net-write-after-close",
  "a write to a client that has closed rejects",
  async () => {
    await using both = await served();
    both.client.close();
    const error = await failureOf(both.conn.write(encode("test")));
    assert(error instanceof Deno.errors.BrokenPipe);
    assertEquals(decode((error as unknown as { unsent: Uint8Array }).unsent), "test");
  },
);

follows(
  "node: test-net-write-after-end-nt",
  "a write to a peer that only ended its direction arrives",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    await conn.closeWrite();
    assertEquals(await readText(client), null);
    assertEquals(await client.write(encode("hello")), 5);
    assertEquals(await readText(conn), "hello");
  },
);

follows(
  "node: test-net-after-close",
  "every property and method is usable after the end",
  async () => {
    await using both = await served();
    const { client, conn, path } = both;
    await Promise.all([client.closeWrite(), conn.closeWrite()]);
    await Promise.all([readAll(client), readAll(conn)]);
    await client.closed;
    client.ref();
    client.unref();
    client.close();
    assertEquals([client.bytesRead, client.bytesWritten], [0, 0]);
    assertEquals(client.remoteAddr, { transport: "unix", path });
    assert(client.readable instanceof ReadableStream && client.writable instanceof WritableStream);
    await client.closeWrite();
  },
);

// close() -----------------------------------------------------------------------------------------

follows("node: test-net-socket-destroy-twice", "close() twice closes once", async () => {
  await using both = await served();
  const { client, conn } = both;
  client.close();
  client.close();
  await client.closed;
  assertEquals(await readText(conn), null);
});

follows(
  "node: test-net-socket-destroy-send",
  "write() after close() rejects with the bytes",
  async () => {
    await using both = await served();
    both.client.close();
    const error = await failureOf(both.client.write(encode("kaboom")));
    assert(error instanceof ConnectionClosed);
    assertEquals(decode(error.unsent!), "kaboom");
  },
);

follows(
  "node: test-net-socket-write-after-close",
  "a write that nothing awaits, after close(), ends nothing",
  async () => {
    await using both = await served();
    both.client.close();
    both.client.write(encode("foo"));
    assert(await failureOf(both.client.read(new Uint8Array(1))) instanceof ConnectionClosed);
  },
);

follows(
  "node: test-net-error-twice",
  "the failure of one write rejects each write with its own bytes",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    const first = failureOf(conn.write(new Uint8Array(LARGE)));
    const second = failureOf(conn.write(encode("second")));
    await untilFull(conn);
    client.close();
    const [one, two] = await Promise.all([first, second]) as { unsent: Uint8Array }[];
    assert(one !== two);
    assertEquals(one!.unsent.length, LARGE - conn.bytesWritten);
    assertEquals(decode(two!.unsent), "second");
  },
);

follows(
  "node: test-net-stream",
  "a client that leaves in the middle rejects the server's writes",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    const writes = Array.from({ length: 5 }, () => failureOf(conn.write(new Uint8Array(LARGE))));
    await readText(client);
    client.close();
    const errors = await Promise.all(writes);
    for (const error of errors) assert(error instanceof Error && isSocketError(error), `${error}`);
    await conn.closed;
  },
);

follows(
  "node: test-net-server-reset",
  "close() with bytes unread resets the other end",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    await client.write(encode("unread"));
    conn.close();
    const error = await failureOf(client.read(new Uint8Array(8)));
    assert(error instanceof Deno.errors.ConnectionReset);
    assertEquals((error as { code?: string }).code, "ECONNRESET");
  },
);

// Bytes -------------------------------------------------------------------------------------------

follows("node: test-net-bytes-stats", "bytesRead and bytesWritten of both ends agree", async () => {
  await using both = await served();
  const { client, conn } = both;
  await client.write(encode("foo"));
  await client.write(encode("bar"));
  await client.closeWrite();
  await readAll(conn);
  assertEquals([client.bytesWritten, conn.bytesRead], [6, 6]);
  await conn.closeWrite();
  await readAll(client);
  await client.closed;
  assertEquals([client.bytesWritten, conn.bytesRead], [6, 6]);
});

follows(
  "node: test-net-bytes-written-large",
  "bytesWritten counts 10,000,000 bytes of one write",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    const reading = readAll(client);
    assertEquals(await conn.write(new Uint8Array(10_000_000)), 10_000_000);
    await conn.closeWrite();
    assertEquals((await reading).length, 10_000_000);
    assertEquals([conn.bytesWritten, client.bytesRead], [10_000_000, 10_000_000]);
  },
);

follows("node: test-net-connect-buffer", "bytes are counted, not characters", async () => {
  await using both = await served();
  const text = "L'été, c'est moi";
  assertEquals(await both.client.write(encode(text)), 18);
  assertEquals(both.client.bytesWritten, 18);
  assertEquals(await readText(both.conn), text);
});

follows(
  "node: test-net-buffersize",
  "bytesWritten of writes that are queued counts what the kernel took",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    const writing = client.write(new Uint8Array(LARGE));
    const queued = client.write(encode("a"));
    await untilFull(client);
    assert(client.bytesWritten > 0 && client.bytesWritten < LARGE);
    const reading = readAll(conn);
    await Promise.all([writing, queued, client.closeWrite()]);
    assertEquals([(await reading).length, client.bytesWritten], [LARGE + 1, LARGE + 1]);
  },
);

follows("node: test-net-binary", "each byte value arrives as it is, both ways", async () => {
  await using both = await served();
  const { client, conn } = both;
  const all = Uint8Array.from({ length: 256 }, (_, i) => 255 - i);
  await client.write(all);
  await client.closeWrite();
  const got = await readAll(conn);
  await conn.write(got.toReversed());
  await conn.closeWrite();
  assertEquals([got, await readAll(client)], [all, all.toReversed()]);
});

follows(
  "node: test-net-large-string",
  "characters of several bytes survive the splits of the kernel",
  async () => {
    await using both = await served();
    const text = "あ".repeat(200_000);
    const sending = both.client.write(encode(text)).then(() => both.client.closeWrite());
    let received = "";
    const reader = both.conn.readable.pipeThrough(new TextDecoderStream());
    for await (const chunk of reader) received += chunk;
    await sending;
    assert(received === text);
  },
);

follows(
  "node: test-net-sync-cork",
  "200 small writes that nothing awaits arrive in order",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    for (let i = 0; i < 200; i++) client.write(new Uint8Array([i]));
    await client.closeWrite();
    assertEquals(await readAll(conn), Uint8Array.from({ length: 200 }, (_, i) => i));
  },
);

follows(
  "node: test-net-throttle",
  "writes are held back by a reader that stops, and all arrive",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    let accepted = 0;
    const writes = Array.from(
      { length: 2048 },
      () => conn.write(new Uint8Array(1024)).then(() => accepted++),
    );
    const ending = conn.closeWrite();
    await untilFull(conn);
    assert(accepted > 0 && accepted < 2048, `${accepted} writes have resolved`);
    assert(await isPending(ending));
    assertEquals((await readAll(client)).length, 2048 * 1024);
    await Promise.all([...writes, ending]);
  },
);

follows(
  "node: test-net-write-slow",
  "a slow reader gets ten large writes and their end",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    for (let i = 0; i < 10; i++) conn.write(new Uint8Array(200_000).fill(i));
    const ending = conn.closeWrite();
    const counts = new Array(10).fill(0);
    const buffer = new Uint8Array(50_000);
    for (let count; (count = await client.read(buffer)) !== null;) {
      for (const byte of buffer.subarray(0, count)) counts[byte]++;
      await turn();
    }
    await ending;
    assertEquals(counts, new Array(10).fill(200_000));
  },
);

for (
  const value of [null, true, false, undefined, 1, Infinity, [], {}, "text", new Uint16Array(2)]
) {
  const name = value instanceof Uint16Array ? "a Uint16Array" : JSON.stringify(value) ?? `${value}`;
  follows(
    "node: test-net-write-arguments",
    `write() refuses ${name} with a TypeError`,
    async () => {
      await using both = await served();
      const writing = both.client.write(value as never);
      await assertRejects(() => writing, TypeError, "Uint8Array");
      await both.client.write(encode("x"));
      assertEquals(await readText(both.conn), "x");
    },
  );
}

follows(
  "node: test-net-socket-write-error",
  "close() works after a write was refused",
  async () => {
    await using both = await served();
    await assertRejects(() => both.client.write(1337 as never), TypeError);
    both.client.close();
    assertEquals(await readText(both.conn), null);
  },
);

follows("node: test-net-pingpong", "200 questions each get their answer", async () => {
  await using both = await served();
  const { client, conn } = both;
  const answering = (async () => {
    for (let text; (text = await readText(conn)) !== null;) {
      assertEquals(text, "PING");
      await conn.write(encode("PONG"));
    }
    await conn.closeWrite();
  })();
  for (let i = 0; i < 200; i++) {
    await client.write(encode("PING"));
    assertEquals(await readText(client), "PONG");
  }
  await client.closeWrite();
  assertEquals(await readText(client), null);
  await answering;
});

follows(
  "node: test-net-onread-static-buffer",
  "read() fills one buffer again and again",
  async () => {
    await using both = await served();
    const { client, conn } = both;
    const buffer = new Uint8Array(4);
    await conn.write(encode("abcdefghij"));
    await conn.closeWrite();
    const counts = [];
    let text = "";
    for (let count; (count = await client.read(buffer)) !== null;) {
      counts.push(count);
      text += decode(buffer.subarray(0, count));
    }
    assertEquals([counts, text], [[4, 4, 2], "abcdefghij"]);
  },
);
