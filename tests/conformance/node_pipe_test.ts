import { closeSync, openSync } from "node:fs";
import { connect, listen, NotASocket, relay, serve } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  decode,
  encode,
  gate,
  IS_ROOT,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
} from "../_helpers.ts";
import { GivenSocket } from "../server/_given.ts";
import { follows } from "./_follows.ts";
import { failureOf, line } from "./_streams.ts";

const noop = async () => {};

follows("node: test-pipe-address", "addr of a server and of a listener is its path", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  for (const open of [() => serve(path, noop), () => listen(path)]) {
    await using owner = await open();
    assertEquals(owner.addr, { transport: "unix", path });
  }
});

follows(
  "node: test-net-local-address-port",
  "localAddr of an accepted connection is the server's path",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    await using listener = await listen(path);
    await using client = await connect(path);
    await using conn = await listener.accept();
    assertEquals([conn.localAddr.path, client.remoteAddr.path], [path, path]);
    assertEquals([conn.remoteAddr.path, client.localAddr.path], [null, null]);
  },
);

for (const way of ["methods", "streams"]) {
  follows(
    "node: test-pipe-stream",
    `a question and its answer go through a path, by ${way}`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s");
      const { opened: asked, open: ask } = gate<string | null>();
      await using _server = await serve(path, async (conn) => {
        ask(await readText(conn));
        if (way === "methods") await conn.write(encode("PONG"));
        else await ReadableStream.from([encode("PONG")]).pipeTo(conn.writable);
      });
      await using client = await connect(path);
      await client.write(encode("PING"));
      const answer = way === "methods"
        ? await readText(client)
        : await new Response(client.readable).text();
      assertEquals([await asked, answer], ["PING", "PONG"]);
    },
  );
}

follows(
  "node: test-pipe-writev",
  "writes that are queued together arrive as one text",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    await using _server = await serve(path, async (conn) => {
      conn.write(encode("pi"));
      conn.write(encode("ng"));
      await conn.closeWrite();
    });
    await using client = await connect(path);
    assertEquals(decode(await readAll(client)), "ping");
  },
);

follows("node: test-pipe", "5 MiB through two servers arrive whole, and are answered", async () => {
  await using dir = new TempDir();
  const data = pseudoRandom(5 * 1024 * 1024, 5);
  const { opened: received, open: receive } = gate<Uint8Array>();
  await using _target = await serve(dir.file("target"), async (conn) => {
    receive(await readAll(conn));
    await conn.write(encode("thanks"));
  });
  await using _between = await serve(dir.file("between"), async (conn) => {
    await using target = await connect(dir.file("target"));
    await relay(conn, target);
  });
  await using client = await connect(dir.file("between"));
  await client.write(data);
  await client.closeWrite();
  assertEquals(await readText(client), "thanks");
  const got = await received;
  assert(got.length === data.length && got.every((byte, i) => byte === data[i]));
});

follows(
  "node: test-pipe-return-val",
  "pipeThrough() returns its readable, so that pipes chain",
  async () => {
    using parts = await line();
    const { source, target, sender, receiver } = parts;
    const transform = new TransformStream<Uint8Array, Uint8Array>();
    const result = source.readable.pipeThrough(transform);
    assert(result === transform.readable);
    const piping = result.pipeTo(target.writable);
    await sender.write(encode("x"));
    await sender.closeWrite();
    await piping;
    assertEquals(decode(await readAll(receiver)), "x");
  },
);

for (const mode of [0o666, 0o660]) {
  follows(
    "node: test-pipe-abstract-socket",
    `an abstract name refuses the mode 0${mode.toString(8)}`,
    async () => {
      const path = `\0uds-${crypto.randomUUID()}`;
      const error = await failureOf(serve({ path, mode }, noop)) as Error;
      assert(/abstract/.test(error.message), `${error}`);
    },
  );
}

follows(
  "node: test-pipe-abstract-socket-http",
  "fetch() over a socket gets the answer of an HTTP server",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const server = Deno.serve(
      { transport: "unix", path, onListen() {} },
      () => new Response("hello from a path"),
    );
    await using conn = await connect(path);
    await conn.write(encode("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    const answer = decode(await readAll(conn));
    assert(answer.startsWith("HTTP/1.1 200") && answer.endsWith("hello from a path"), answer);
    await server.shutdown();
  },
);

follows(
  "node: test-net-pipe-connect-errors",
  "a path without any mode rejects, except for root",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    await using _server = await serve({ path, mode: 0o600 }, noop);
    await Deno.chmod(path, 0);
    // Root may connect to any path.
    const error = await failureOf(connect(path).then((conn) => conn.close()));
    if (IS_ROOT) assertEquals(error, "it has resolved");
    else assert(error instanceof Deno.errors.PermissionDenied);
  },
);

// Descriptors -------------------------------------------------------------------------------------

follows(
  "node: test-net-server-listen-handle",
  "listen() takes the descriptor of a bound socket",
  async () => {
    await using dir = new TempDir();
    using given = new GivenSocket(dir.file("s"));
    await using listener = await listen({ fd: given.descriptor() });
    await using client = await connect(given.path);
    await using conn = await listener.accept();
    await conn.write(encode("x"));
    assertEquals(await readText(client), "x");
  },
);

follows(
  "node: test-listen-fd-server",
  "serve() takes the descriptor of a bound socket",
  async () => {
    await using dir = new TempDir();
    using given = new GivenSocket(dir.file("s"));
    await using _server = await serve({ fd: given.descriptor() }, async (conn) => {
      await conn.write(encode("hello from a descriptor"));
    });
    for (let i = 0; i < 3; i++) {
      await using client = await connect(given.path);
      assertEquals(await readText(client), "hello from a descriptor");
    }
  },
);

follows(
  "node: test-net-server-listen-handle",
  "listen() refuses a descriptor that is not a socket",
  async () => {
    const fd = openSync("/dev/null", "r");
    await assertRejects(() => listen({ fd }), NotASocket, `descriptor ${fd}`);
    closeSync(fd);
  },
);

follows(
  "node: test-listen-fd-ebadf",
  "listen() refuses a descriptor that is not open",
  async () => {
    const error = await assertRejects(
      () => listen({ fd: 999_999 }),
      NotASocket,
      "descriptor 999999",
    );
    assertEquals(error.code, "ENOTSOCK");
  },
);

for (const fd of [-1, 1.5, NaN, Infinity, "3", {}]) {
  follows(
    "node: test-net-server-listen-handle",
    `listen() refuses ${fd} (${typeof fd}) for a descriptor`,
    async () => {
      const error = await failureOf(listen({ fd: fd as number }));
      assert(error instanceof (typeof fd === "number" ? RangeError : TypeError), `${error}`);
    },
  );
}
