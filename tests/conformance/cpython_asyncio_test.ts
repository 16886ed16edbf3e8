/**
 * The behaviors of CPython's `test_asyncio` for Unix sockets: `test_server`, `test_unix_events` and
 * `test_sock_lowlevel`.
 */

import {
  connect,
  listen,
  NotASocket,
  NothingListening,
  serve,
  SocketInUse,
  SocketNotFound,
  socketpair,
  type UnixServer,
} from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { assertSameBytes, errorOf } from "../connection/_connection.ts";
import {
  decode,
  encode,
  gate,
  isPending,
  makeStale,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  turn,
  untilFull,
} from "../_helpers.ts";
import { GivenSocket } from "../server/_given.ts";
import { follows } from "./_follows.ts";

/** Defines a test of a server that reads to the end of its clients. */
function servers(
  name: string,
  behavior: string,
  fn: (server: UnixServer, path: string, dir: TempDir) => Promise<void>,
): void {
  follows(`CPython test_asyncio.test_server: ${name}`, behavior, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = await serve(path, (conn) => readAll(conn));
    await fn(server, path, dir);
  });
}

follows(
  "CPython test_asyncio.test_server: test_start_unix_server_1",
  "shutdown() within a handler: its client is answered, and then the server is closed",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const ended = gate<Promise<unknown>>();
    const server = await serve(path, async (conn) => {
      assertEquals((await readText(conn))?.length, 5 * 1024 + 1);
      ended.open(server.shutdown());
      await conn.write(encode("1"));
    });
    using client = await connect(path);
    await client.write(encode("1".repeat(5 * 1024) + "\n"));
    assertEquals(decode(await readAll(client)), "1");
    await Promise.all([await ended.opened, server.finished]);
    await assertRejects(() => connect({ path, timeout: 0 }), SocketNotFound);
    assertEquals(server.connections, 0);
  },
);

servers(
  "test_wait_closed_basic",
  "finished waits for the shutdown, and then for the last connection",
  async (server, path) => {
    const { finished } = server;
    assert(await isPending(finished));
    const client = await connect(path);
    assert(await isPending(finished));
    const shutdown = server.shutdown();
    assert(await isPending(finished));
    client.close();
    await finished;
    assertEquals(await shutdown, { completed: 1, aborted: 0 });
    await server.finished;
  },
);

servers(
  "test_wait_closed_race",
  "shutdown() and the close of the last client at once: finished resolves",
  async (server, path) => {
    const client = await connect(path);
    queueMicrotask(() => server.shutdown());
    queueMicrotask(() => client.close());
    await server.finished;
  },
);

servers(
  "test_close_clients",
  "shutdown({ timeout: 0 }) ends the clients that are left",
  async (server, path) => {
    using client = await connect(path);
    while (server.connections === 0) await turn();
    assertEquals(await server.shutdown({ timeout: 0 }), { completed: 0, aborted: 1 });
    await server.finished;
    assertEquals(await client.read(new Uint8Array(1)), null);
  },
);

follows(
  "CPython test_asyncio.test_server: test_abort_clients",
  "shutdown({ timeout: 0 }) ends a client that does not read what is being written to it",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const full = gate();
    const failure = gate<Error>();
    const server = await serve(path, async (conn) => {
      const writing = errorOf(conn.write(new Uint8Array(MIB)));
      await untilFull(conn);
      full.open();
      failure.open(await writing);
    });
    using _client = await connect(path);
    await full.opened;
    assertEquals(await server.shutdown({ timeout: 0 }), { completed: 0, aborted: 1 });
    assertEquals((await failure.opened).name, "ConnectionClosed");
  },
);

servers(
  "test_close_race",
  "shutdown() while clients connect: each is served, or refused",
  async (server, path) => {
    const clients = Array.from({ length: 20 }, () => connect({ path, timeout: 0 }));
    const shutdown = server.shutdown();
    for (const result of await Promise.allSettled(clients)) {
      if (result.status === "fulfilled") result.value.close();
      else assert(result.reason instanceof Deno.errors.NotFound, String(result.reason));
    }
    assertEquals((await shutdown).aborted, 0);
  },
);

// The socket file -------------------------------------------------------------------------------

servers(
  "test_unix_server_addr_cleanup",
  "shutdown() removes the socket file",
  async (server, path, dir) => {
    assert(Deno.lstatSync(path).isSocket);
    await server.shutdown();
    assertEquals(dir.list(), []);
  },
);

follows(
  "CPython test_asyncio.test_server: test_unix_server_sock_cleanup",
  "serve({ fd }) leaves the socket file to the process that bound it, decided otherwise",
  async () => {
    await using dir = new TempDir();
    using given = new GivenSocket(dir.file("s.sock"));
    // asyncio removes it. A manager such as systemd keeps it, for the next start.
    await (await serve({ fd: given.descriptor() }, async () => {})).shutdown();
    assert(Deno.lstatSync(given.path).isSocket);
  },
);

servers(
  "test_unix_server_cleanup_gone",
  "shutdown() does not mind that the socket file was removed",
  async (server, path, dir) => {
    Deno.removeSync(path);
    assertEquals(await server.shutdown(), { completed: 0, aborted: 0 });
    assertEquals(dir.list(), []);
  },
);

servers(
  "test_unix_server_cleanup_replaced",
  "shutdown() leaves the socket of another program that took the place of its own",
  async (server, path) => {
    Deno.removeSync(path);
    using _other = Deno.listen({ transport: "unix", path });
    await server.shutdown();
    assert(Deno.lstatSync(path).isSocket);
  },
);

servers(
  "test_unix_server_cleanup_prevented",
  "serve() has no option to leave its socket file, decided otherwise",
  async (_server, _path, dir) => {
    // A file that nothing listens on is what stale files are. Use a descriptor to keep a socket.
    const path = dir.file("kept.sock");
    await assertRejects(
      () => serve({ path, cleanup: false } as { path: string }, async () => {}),
      TypeError,
      "cleanup",
    );
  },
);

// The arguments ---------------------------------------------------------------------------------

const EVENTS = "CPython test_asyncio.test_unix_events";

follows(
  `${EVENTS}: test_create_unix_server_existing_path_sock`,
  "listen() refuses the path of a running server, and replaces a stale file, decided otherwise",
  async () => {
    await using dir = new TempDir();
    const [running, stale] = [dir.file("running.sock"), dir.file("stale.sock")];
    using _other = Deno.listen({ transport: "unix", path: running });
    await assertRejects(() => listen(running), SocketInUse);
    await makeStale(stale);
    await assertRejects(() => listen({ path: stale, existing: "fail" }), SocketInUse);
    // asyncio refuses this one, too. After each crash, a person then has to remove the file.
    await using _listener = await listen(stale);
  },
);

follows(
  `${EVENTS}: test_create_unix_server_existing_path_nonsock`,
  "listen() refuses the path of a file, and leaves it as it is",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("file");
    Deno.writeTextFileSync(path, "content");
    await assertRejects(() => listen(path), NotASocket);
    assertEquals(Deno.readTextFileSync(path), "content");
  },
);

follows(
  `${EVENTS}: test_create_unix_server_nopath_nosock`,
  "listen(), serve() and connect() without a path or a descriptor are refused",
  async () => {
    const nothing = {} as { path: string };
    await assertRejects(() => listen(nothing), TypeError, "path");
    await assertRejects(() => serve(nothing, async () => {}), TypeError, "path");
    await assertRejects(() => connect(nothing), TypeError, "path");
  },
);

follows(
  `${EVENTS}: test_create_unix_server_path_inetsock`,
  "listen({ fd }) refuses a descriptor that is not a Unix socket, and leaves it open",
  async () => {
    await using dir = new TempDir();
    using file = await Deno.open(dir.file("file"), { write: true, create: true });
    const [fd] = [...Deno.readDirSync("/dev/fd")].map(({ name }) => Number(name)).filter((fd) => {
      try {
        return Deno.readLinkSync(`/dev/fd/${fd}`) === dir.file("file");
      } catch {
        return false;
      }
    });
    await assertRejects(() => listen({ fd: fd! }), Error, `descriptor ${fd}`);
    assertEquals((await file.stat()).size, 0);
  },
);

follows(
  `${EVENTS}: test_create_unix_connection_path_sock`,
  "listen() with a path and a descriptor is refused before anything is opened",
  async () => {
    await using dir = new TempDir();
    const both = { path: dir.file("s.sock"), fd: 0 } as unknown as { path: string };
    await assertRejects(() => listen(both), TypeError, "fd");
    assertEquals(dir.list(), []);
  },
);

follows(
  `${EVENTS}: test_create_unix_connection_nossl_serverhost`,
  "connect() refuses options that it does not have, such as those of TLS",
  async () => {
    const options = { path: "/nowhere.sock", hostname: "spam" };
    await assertRejects(() => connect(options), TypeError, "hostname");
  },
);

// Reads and writes that are given up ------------------------------------------------------------

const LOWLEVEL = "CPython test_asyncio.test_sock_lowlevel";

follows(
  `${LOWLEVEL}: test_unix_sock_client_ops`,
  "connect(), write(), read() and close() are all that a client needs",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using _server = await serve(path, async (conn) => {
      assertEquals(await readText(conn), "GET / HTTP/1.0\r\n\r\n");
      await conn.write(encode("HTTP/1.0 200 OK\r\n\r\n"));
    });
    using conn = await connect(path);
    await conn.write(encode("GET / HTTP/1.0\r\n\r\n"));
    assertEquals(await readText(conn), "HTTP/1.0 200 OK\r\n\r\n");
    assertEquals(await readText(conn), null);
  },
);

for (const when of ["before anything has come", "when it has come already"]) {
  follows(
    `${LOWLEVEL}: test_sock_client_racing, receiving`,
    `read() that is aborted ${when} leaves the bytes to the next one`,
    async () => {
      const [a, b] = await socketpair();
      if (when.startsWith("when")) await b.write(encode("response"));
      const controller = new AbortController();
      const aborted = a.read(new Uint8Array(1024), { signal: controller.signal });
      controller.abort(new Error("given up"));
      await assertRejects(() => aborted, Error, "given up");
      if (when.startsWith("before")) await b.write(encode("response"));
      assertEquals(await readText(a), "response");
      a.close();
      b.close();
    },
  );
}

follows(
  `${LOWLEVEL}: test_sock_client_racing, sending`,
  "write() cannot be given up alone: what follows it comes behind it, decided otherwise",
  async () => {
    const [a, b] = await socketpair();
    const filling = a.write(new Uint8Array(MIB).fill(32));
    const hello = a.write(encode("hello"));
    await untilFull(a);
    // asyncio may send a part of a canceled write. No peer could make sense of that.
    const world = a.write(encode("world"));
    const received = readAll(b);
    await Promise.all([filling, hello, world]);
    await a.closeWrite();
    assertEquals(decode(await received).trim(), "helloworld");
    a.close();
    b.close();
  },
);

follows(
  `${LOWLEVEL}: test_sock_client_connect_racing`,
  "connect() that is aborted leaves nothing, and a later one connects",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = connect({ path, wait: true, timeout: Infinity, signal });
    assert(await isPending(waiting));
    controller.abort(new Error("given up"));
    await assertRejects(() => waiting, Error, "given up");
    await makeStale(path);
    await assertRejects(() => connect({ path, timeout: 0 }), NothingListening);
    await using listener = await listen(path);
    const [client, server] = await Promise.all([connect(path), listener.accept()]);
    client.close();
    assertEquals(await server.read(new Uint8Array(1)), null);
    server.close();
  },
);

follows(
  `${LOWLEVEL}: test_huge_content`,
  "write() and read() at once: a mebibyte there and back",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using _server = await serve(path, (conn) => conn.readable.pipeTo(conn.writable));
    using conn = await connect(path);
    const data = pseudoRandom(MIB, 7);
    const writing = conn.write(data).then(() => conn.closeWrite());
    assertSameBytes(await readAll(conn), data);
    await writing;
  },
);

follows(
  `${LOWLEVEL}: test_huge_content_recvinto`,
  "read() fills one array of the whole size, part by part",
  async () => {
    const [a, b] = await socketpair();
    const data = pseudoRandom(MIB, 8);
    const writing = a.write(data);
    const array = new Uint8Array(MIB);
    for (let at = 0; at < MIB;) at += await b.read(array.subarray(at)) ?? 0;
    await writing;
    assertSameBytes(array, data);
    a.close();
    b.close();
  },
);

follows(
  `${LOWLEVEL}: test_sock_accept`,
  "accept() waits for a client, and gets it",
  async () => {
    await using dir = new TempDir();
    await using listener = await listen(dir.file("s.sock"));
    const accepting = listener.accept();
    assert(await isPending(accepting));
    using _client = await connect(dir.file("s.sock"));
    using server = await accepting;
    assertEquals(server.localAddr, listener.addr);
  },
);
