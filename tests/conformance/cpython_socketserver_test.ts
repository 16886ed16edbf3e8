/** The behaviors of CPython's `test_socketserver` for Unix sockets. */

import { connect, type Connection, serve, type ServeOptions } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { decode, encode, gate, isPending, readAll, readText, TempDir } from "../_helpers.ts";
import { follows } from "./_follows.ts";

const TEXT = "hello world\n";

/** Defines a test that serves a path, and leaves nothing there. */
function serving(name: string, behavior: string, fn: (path: string) => Promise<void>): void {
  follows(`CPython test_socketserver: ${name}`, behavior, async () => {
    await using dir = new TempDir();
    await fn(dir.file("s.sock"));
    assertEquals(dir.list(), []);
  });
}

/** Answers what comes first, and ends. */
async function echo(conn: Connection): Promise<void> {
  const text = await readText(conn);
  if (text !== null) await conn.write(encode(text));
}

async function ask(path: string, text = TEXT): Promise<string> {
  using conn = await connect(path);
  await conn.write(encode(text));
  return decode(await readAll(conn));
}

serving("test_UnixStreamServer", "serve() serves one client after the other", async (path) => {
  await using server = await serve({ path, maxConnections: 1 }, echo);
  assertEquals(server.addr, { transport: "unix", path });
  for (let i = 0; i < 3; i++) assertEquals(await ask(path), TEXT);
});

serving(
  "test_ThreadingUnixStreamServer, test_ForkingUnixStreamServer",
  "serve() serves clients at the same time, and one that is slow delays no other",
  async (path) => {
    const last = gate();
    let running = 0;
    await using _server = await serve(path, async (conn) => {
      if (++running === 3) last.open();
      await last.opened;
      await echo(conn);
    });
    using _silent = await connect(path);
    assertEquals(await Promise.all([ask(path, "one"), ask(path, "two")]), ["one", "two"]);
  },
);

serving("test_shutdown", "shutdown() right after the start ends, many times", async (path) => {
  for (let i = 0; i < 20; i++) {
    const server = await serve(path, echo);
    await server.shutdown();
    await server.finished;
  }
});

/** Serves with a handler that throws, and returns what was reported. */
async function reportsOf(
  path: string,
  failures: unknown[],
  options: Partial<ServeOptions> = {},
): Promise<unknown[]> {
  const errors: unknown[] = [];
  const onError = (error: unknown) => void errors.push(error);
  await using _server = await serve({ path, onError, ...options }, async (conn) => {
    const text = await readText(conn);
    if (text?.startsWith("fail")) throw failures[Number(text.slice(4))];
    await conn.write(encode(text ?? ""));
  });
  for (const i of failures.keys()) assertEquals(await ask(path, `fail${i}`), "");
  // The next client is served.
  assertEquals(await ask(path, "go on"), "go on");
  return errors;
}

for (const [name, maxConnections] of [["sync", 1], ["threading", 10]] as const) {
  serving(
    `ErrorHandlerTest.test_${name}_handled`,
    `serve() of ${maxConnections} clients reports a handler that throws, and serves the next one`,
    async (path) => {
      const failure = new Error("handler");
      assertEquals(await reportsOf(path, [failure], { maxConnections }), [failure]);
    },
  );
}

serving(
  "ErrorHandlerTest.test_sync_not_handled",
  "serve() goes on whatever a handler throws, decided otherwise",
  async (path) => {
    // In Python, a SystemExit of a handler ends the server. A client could bring that about.
    const failures = [undefined, null, "text", { code: 1 }, new DOMException("", "AbortError")];
    assertEquals(await reportsOf(path, failures), failures);
  },
);

serving(
  "MiscTestCase.test_shutdown_request_called_if_verify_request_false",
  "serve({ authorize }) closes a client that is refused, and the handler does not run",
  async (path) => {
    let handled = 0;
    await using server = await serve({ path, authorize: () => false }, async (conn) => {
      handled++;
      await echo(conn);
    });
    using conn = await connect(path);
    assertEquals(await conn.read(new Uint8Array(1)), null);
    assertEquals([handled, server.connections], [0, 0]);
  },
);

serving(
  "MiscTestCase.test_threads_reaped",
  "serve() keeps nothing of the connections that have ended",
  async (path) => {
    await using server = await serve(path, echo);
    for (let i = 0; i < 10; i++) {
      assertEquals(await ask(path), TEXT);
      assert(server.connections <= 1);
    }
    assertEquals(await server.shutdown(), { completed: 0, aborted: 0 });
  },
);

serving(
  "SocketWriterTest.test_basics, test_write",
  "conn.writable of a handler writes all of each chunk, in order",
  async (path) => {
    await using _server = await serve(path, async (conn) => {
      const writer = conn.writable.getWriter();
      for (const size of [1, 100_000, 10]) await writer.write(new Uint8Array(size).fill(size % 7));
      writer.releaseLock();
    });
    using conn = await connect(path);
    const bytes = await readAll(conn);
    assertEquals(bytes.length, 100_011);
    assertEquals([bytes[0], bytes[1], bytes.at(-1)], [1, 100_000 % 7, 3]);
  },
);

serving(
  "SocketServerTest.test_close_immediately, test_context_manager",
  "Disposing of a server that has just started leaves nothing",
  async (path) => {
    await using _server = await serve(path, echo);
  },
);

serving(
  "SocketServerTest.test_ThreadingUnixStreamServer, block_on_close",
  "shutdown() waits for the handlers that run, and they finish",
  async (path) => {
    const [reached, go] = [gate(), gate()];
    const server = await serve(path, async (conn) => {
      reached.open();
      await go.opened;
      await conn.write(encode(TEXT));
    });
    using conn = await connect(path);
    await reached.opened;
    const shutdown = server.shutdown();
    assert(await isPending(shutdown));
    go.open();
    assertEquals(decode(await readAll(conn)), TEXT);
    assertEquals(await shutdown, { completed: 1, aborted: 0 });
  },
);
