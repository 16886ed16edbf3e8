import { connect, type Connection, listen, serve, SocketInUse, SocketNotFound } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { encode, fixture, gate, readText, TempDir } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { failureOf } from "./_streams.ts";

const noop = async () => {};

// Listening ---------------------------------------------------------------------------------------

follows(
  "node: test-net-server-listen-path",
  "a server takes its path as a string, or in options",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    for (const options of [path, { path }, { path, mode: 0o666 }]) {
      await using server = await serve(
        options,
        async (conn) => void await conn.write(encode("hi")),
      );
      assertEquals(server.addr, { transport: "unix", path });
      await using client = await connect(path);
      assertEquals(await readText(client), "hi");
    }
    assertEquals(dir.list(), []);
  },
);

follows("node: test-net-server-listen-path", "a mode for all admits all users", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  await using _server = await serve({ path, mode: 0o666 }, noop);
  assertEquals((await Deno.stat(path)).mode! & 0o777, 0o666);
});

for (const how of ["serve", "listen"] as const) {
  follows(
    "node: test-net-eaddrinuse",
    `${how}() at a path that is in use rejects, and the first goes on`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s");
      await using _server = await serve(path, async (conn) => void await conn.write(encode("hi")));
      const start = () => how === "serve" ? serve(path, noop) : listen(path);
      const error = await assertRejects(start, SocketInUse, path);
      assertEquals([error.code, error.path, error.operation], ["EADDRINUSE", path, how]);
      await using client = await connect(path);
      assertEquals(await readText(client), "hi");
    },
  );
}

follows(
  "node: test-net-server-call-listen-multiple-times",
  "a path is free again after a server was shut down",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    for (let i = 0; i < 5; i++) {
      const server = await serve(path, noop);
      await server.shutdown();
    }
    assertEquals(dir.list(), []);
  },
);

follows(
  "node: test-net-server-call-listen-multiple-times",
  "a server that lost to another one starts after it",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const first = await serve(path, noop);
    await assertRejects(() => serve(path, noop), SocketInUse);
    await first.shutdown();
    await using second = await serve(path, noop);
    assertEquals(second.addr.path, path);
  },
);

follows(
  "node: test-net-better-error-messages-listen-path",
  "a path in a missing directory is named in the error",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("missing/s");
    const error = await failureOf(serve(path, noop)) as Error & { path: string; code: string };
    assert(error instanceof Deno.errors.NotFound);
    assertEquals([error.path, error.code], [path, "ENOENT"]);
    assert(error.message.includes(`"${path}"`), error.message);
  },
);

follows(
  "node: test-net-pipe-with-long-path",
  "a path that is too long is refused, with its length and the limit",
  async () => {
    await using dir = new TempDir();
    const path = dir.file(`${"x".repeat(10_000)}.sock`);
    for (const start of [() => serve(path, noop), () => connect(path)]) {
      const error = await failureOf(start());
      assert(error instanceof RangeError, `${error}`);
      assert(/10,?0\d\d/.test(error.message), error.message);
    }
  },
);

for (const signal of ["INVALID_SIGNAL", null, {}]) {
  follows(
    "node: test-net-server-listen-options-signal",
    `serve() refuses ${JSON.stringify(signal)} for its signal`,
    async () => {
      await using dir = new TempDir();
      const options = { path: dir.file("s"), signal: signal as never };
      await assertRejects(() => serve(options, noop), TypeError, "signal");
      assertEquals(dir.list(), []);
    },
  );
}

follows(
  "node: test-net-server-listen-options-signal",
  "an abort shuts a server down, and an aborted signal opens none",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const control = new AbortController();
    const server = await serve({ path, signal: control.signal }, noop);
    control.abort();
    await server.finished;
    const reason = new Error("before");
    const late = serve({ path, signal: AbortSignal.abort(reason) }, noop);
    assertStrictEquals(await failureOf(late), reason);
    assertEquals(dir.list(), []);
  },
);

follows(
  "node: test-net-listen-close-server",
  "a server that is shut down at once calls nothing",
  async () => {
    await using dir = new TempDir();
    let calls = 0;
    const onError = () => void calls++;
    const server = await serve({ path: dir.file("s"), onError }, async () => {
      calls++;
      await undefined;
    });
    assertEquals(await server.shutdown(), { completed: 0, aborted: 0 });
    assertEquals([calls, dir.list()], [0, []]);
  },
);

follows(
  "node: test-net-server-async-dispose",
  "disposal shuts a server down, and removes its path",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    {
      await using _server = await serve(path, noop);
      assert(dir.list().includes("s"));
    }
    assertEquals(dir.list(), []);
    await assertRejects(() => connect(path), SocketNotFound);
  },
);

for (const what of ["unref", "ref"]) {
  follows(
    "node: test-net-server-unref",
    `a process with a server after ${what}() ${what === "ref" ? "stays" : "ends"}`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s");
      const files = `${path},${path}.lock`;
      const flags = [`--allow-read=${files}`, `--allow-write=${files}`, `--allow-net=unix:${path}`];
      await using program = fixture("server_ref.ts", flags, [path, "serve", what]);
      assertEquals(await program.line(), "listening");
      if (what === "unref") {
        assertEquals([await program.output(), (await program.status).code], [[], 0]);
      } else assertEquals(await program.line(), "still there");
    },
  );
}

// Connections of a server -------------------------------------------------------------------------

follows(
  "node: test-net-server-close",
  "shutdown() resolves when the last connection is over",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const conns: Connection[] = [];
    const both = gate();
    const server = await serve(path, async (conn) => {
      if (conns.push(conn) === 2) both.open();
      await conn.closed;
    });
    await using _one = await connect(path);
    await using _two = await connect(path);
    await both.opened;
    const ending = server.shutdown({ timeout: Infinity });
    for (const conn of conns) conn.close();
    assertEquals(await ending, { completed: 2, aborted: 0 });
    await server.finished;
    assertEquals(server.connections, 0);
  },
);

follows(
  "node: test-net-server-max-connections",
  "clients beyond maxConnections wait, and are served in turn",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const gates = Array.from({ length: 10 }, () => gate());
    const full = gate();
    let started = 0;
    let most = 0;
    await using server = await serve({ path, maxConnections: 5 }, async (conn) => {
      const index = started++;
      most = Math.max(most, server.connections);
      if (started === 5) full.open();
      await gates[index]!.opened;
      await conn.write(encode("hello"));
    });
    const clients = await Promise.all(gates.map(() => connect(path)));
    await full.opened;
    assertEquals([started, server.connections], [5, 5]);
    for (const { open } of gates) open();
    assertEquals(await Promise.all(clients.map(readText)), gates.map(() => "hello"));
    assertEquals(most, 5);
    for (const client of clients) client.close();
  },
);

follows(
  "node: test-net-server-max-connections-close-makes-more-available",
  "the end of a connection makes room for the next one",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const received: string[] = [];
    await using _server = await serve({ path, maxConnections: 1 }, async (conn) => {
      for (let text; (text = await readText(conn)) !== null;) {
        received.push(text);
        await conn.write(encode("acknowledged"));
      }
    });
    for (const text of ["0", "1", "2"]) {
      await using client = await connect(path);
      await client.write(encode(text));
      assertEquals(await readText(client), "acknowledged");
    }
    assertEquals(received, ["0", "1", "2"]);
  },
);

follows(
  "node: test-net-server-drop-connections",
  "overflow: refuse closes the clients that are too many, and reports each",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const first = gate<Connection>();
    let dropped = 0;
    await using _server = await serve({
      path,
      maxConnections: 1,
      overflow: "refuse",
      onRefuse: () => void dropped++,
    }, async (conn) => {
      first.open(conn);
      await conn.closed;
    });
    await using one = await connect(path);
    const conn = await first.opened;
    await using two = await connect(path);
    assertEquals([await readText(two), dropped], [null, 1]);
    await conn.write(encode("still here"));
    assertEquals(await readText(one), "still here");
  },
);

follows(
  "node: test-net-server-capture-rejection",
  "a handler that rejects closes its connection, and the server goes on",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const errors: unknown[] = [];
    const boom = new Error("boom");
    await using _server = await serve(
      { path, onError: (error) => void errors.push(error) },
      async (conn) => {
        if (await readText(conn) === "bad") throw boom;
        await conn.write(encode("ok"));
      },
    );
    for (const [request, answer] of [["bad", null], ["good", "ok"]] as const) {
      await using client = await connect(path);
      await client.write(encode(request));
      assertEquals(await readText(client), answer);
    }
    assertEquals(errors, [boom]);
  },
);

follows("node: test-net-settimeout", "idleTimeout ends a connection that is silent", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const { opened: failure, open: fail } = gate<unknown>();
  await using _server = await serve({ path, idleTimeout: 20, onError: fail }, async (conn) => {
    await readText(conn);
  });
  await using client = await connect(path);
  assert(await failure instanceof Deno.errors.TimedOut);
  assertEquals(await readText(client), null);
});

for (
  const [value, kind] of [
    ["100", TypeError],
    [true, TypeError],
    [{}, TypeError],
    [-1, RangeError],
    [
      NaN,
      RangeError,
    ],
  ] as [unknown, typeof TypeError | typeof RangeError][]
) {
  follows(
    "node: test-net-socket-timeout",
    `serve() refuses the idleTimeout ${JSON.stringify(value)}`,
    async () => {
      await using dir = new TempDir();
      const options = { path: dir.file("s"), idleTimeout: value as number };
      const error = await failureOf(serve(options, noop)) as Error;
      assert(error instanceof kind, `${error}`);
      assert(error.message.includes("idleTimeout"), error.message);
      assertEquals(dir.list(), []);
    },
  );
}
