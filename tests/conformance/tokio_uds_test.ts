/** The behaviors of tokio's tests of streams, halves, credentials and sockets (`uds_*`). */

import {
  connect,
  type Connection,
  listen,
  NothingListening,
  serve,
  socketpair,
  type UnixListener,
} from "@uds/uds";
import { peerCredentials, socketpair as nativePair } from "@uds/uds/native";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { assertSameBytes, errorOf } from "../connection/_connection.ts";
import {
  decode,
  encode,
  isPending,
  KIB,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  untilFull,
} from "../_helpers.ts";
import { libcIfGranted } from "../../_internal/libc/library.ts";
import { follows } from "./_follows.ts";

// It stays open. Opened here, it does not count as a leak of the first test.
libcIfGranted();

/** A listener, with one client that it has accepted. */
class Accepted implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly listener: UnixListener;
  readonly client: Connection;
  readonly server: Connection;

  private constructor(dir: TempDir, listener: UnixListener, [client, server]: Connection[]) {
    this.#dir = dir;
    this.listener = listener;
    this.client = client!;
    this.server = server!;
  }

  static async open(path?: string): Promise<Accepted> {
    const dir = new TempDir();
    const listener = await listen(path ?? dir.file("s.sock"));
    const ends = await Promise.all([connect(listener.addr.path!), listener.accept()]);
    return new Accepted(dir, listener, ends);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    this.server.close();
    await this.listener.close();
    await this.#dir[Symbol.asyncDispose]();
  }
}

follows(
  "tokio uds_stream: accept_read_write",
  "listen(): what a client wrote before it closed is read to the end, again and again null",
  async () => {
    await using ends = await Accepted.open();
    await ends.client.write(encode("hello"));
    ends.client.close();
    assertEquals(decode(await readAll(ends.server)), "hello");
    assertEquals(await ends.server.read(new Uint8Array(1)), null);
  },
);

follows(
  "tokio uds_stream: accept_read_write_socketaddr",
  "listen() and connect() take an address as an object or as a URL",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using listener = await listen({ path });
    const [client, server] = await Promise.all([
      connect({ path: new URL(`file://${path}`) }),
      listener.accept(),
    ]);
    await client.write(encode("hello"));
    client.close();
    assertEquals(decode(await readAll(server)), "hello");
    server.close();
  },
);

follows(
  "tokio uds_stream: shutdown",
  "closeWrite() of a client is the end of file for the server",
  async () => {
    await using ends = await Accepted.open();
    await ends.client.closeWrite();
    assertEquals(await ends.server.read(new Uint8Array(1)), null);
  },
);

follows(
  "tokio uds_stream: try_read_write",
  "write() fills the kernel, waits, and goes on as soon as the peer reads",
  async () => {
    await using ends = await Accepted.open();
    const { client, server } = ends;
    const waiting = readText(server);
    assert(await isPending(waiting));
    await client.write(encode("hello world"));
    assertEquals(await waiting, "hello world");
    const data = pseudoRandom(MIB, 3);
    const writing = client.write(data);
    await untilFull(client);
    assert(await isPending(writing));
    const received = readAll(server);
    assertEquals(await writing, data.length);
    client.close();
    assertSameBytes(await received, data);
  },
);

follows(
  "tokio uds_stream: try_read_buf",
  "read() appends to one buffer, part by part",
  async () => {
    await using ends = await Accepted.open();
    const data = pseudoRandom(100 * KIB, 4);
    const writing = ends.client.write(data);
    const buffer = new Uint8Array(data.length);
    for (let at = 0; at < buffer.length;) {
      at += await ends.server.read(buffer.subarray(at, at + 7000)) ?? 0;
    }
    await writing;
    assertSameBytes(buffer, data);
  },
);

follows(
  "tokio uds_stream: poll_read_ready",
  "read() waits until something comes, again after everything was read, and ends with the peer",
  async () => {
    await using ends = await Accepted.open();
    const buffer = new Uint8Array(4);
    let reading = ends.server.read(buffer);
    assert(await isPending(reading));
    await ends.client.write(encode("ping"));
    assertEquals([await reading, decode(buffer)], [4, "ping"]);
    reading = ends.server.read(buffer);
    assert(await isPending(reading));
    ends.client.close();
    assertEquals(await reading, null);
  },
);

follows(
  "tokio uds_stream: poll_write_ready",
  "write() that waits rejects when the peer closes, with what was not sent",
  async () => {
    await using ends = await Accepted.open();
    const data = pseudoRandom(MIB, 5);
    const writing = errorOf(ends.client.write(data));
    await untilFull(ends.client);
    const before = ends.client.bytesWritten;
    ends.server.close();
    const error = await writing as Error & { unsent: Uint8Array };
    assertInstanceOf(error, Deno.errors.BrokenPipe);
    assertSameBytes(error.unsent, data.subarray(before));
  },
);

follows(
  "tokio uds_stream: epollhup",
  "connect() to a listener that has closed meanwhile is refused, and does not hang",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const listener = Deno.listen({ transport: "unix", path });
    Deno.renameSync(path, `${path}.kept`);
    listener.close();
    await assertRejects(() => connect({ path: `${path}.kept`, timeout: 0 }), NothingListening);
  },
);

follows(
  "tokio uds_stream: abstract_socket_name",
  "listen() on an abstract name has exactly this name, at both ends",
  async () => {
    const path = `\0${crypto.randomUUID()}`;
    await using ends = await Accepted.open(path);
    const { listener, client, server } = ends;
    assertEquals([listener.addr, client.remoteAddr, server.localAddr].map((a) => a.path), [
      path,
      path,
      path,
    ]);
  },
);

/** Writes a text and the end of file, then reads to the end. */
async function sendAndReceive(
  { readable, writable }: Pick<Connection, "readable" | "writable">,
  text: string,
): Promise<string> {
  const writer = writable.getWriter();
  await writer.write(encode(text));
  await writer.close();
  return await new Response(readable).text();
}

for (
  const [kind, open] of Object.entries({
    "socketpair()": () => socketpair(),
    "socketpair() of the native module": () => Promise.resolve(nativePair()),
  })
) {
  follows(
    "tokio uds_split: split",
    `readable and writable of ${kind} are used apart: both ends send, end, and read to the end`,
    async () => {
      const [a, b] = await open();
      assertEquals(
        await Promise.all([sendAndReceive(a, "A"), sendAndReceive(b, "B")]),
        ["B", "A"],
      );
      await Promise.all([a.closed, b.closed]);
    },
  );
}

follows(
  "tokio uds_cred: test_socket_pair",
  "peerCredentials() of both ends of a socket pair are those of this process",
  () => {
    const [a, b] = nativePair();
    const [ofA, ofB] = [peerCredentials(a), peerCredentials(b)];
    assertEquals(ofA, ofB);
    assertEquals([ofA.pid, ofA.uid, ofA.gid], [Deno.pid, Deno.uid(), Deno.gid()]);
    a.close();
    b.close();
  },
);

follows(
  "tokio net::unix::UCred: pid, uid and gid",
  "peerCredentials() are known at both ends of a connection until it closes",
  async () => {
    await using ends = await Accepted.open();
    const { client, server } = ends;
    for (const end of [client, server]) assertEquals(peerCredentials(end).pid, Deno.pid);
    await client.closeWrite();
    assertEquals(await server.read(new Uint8Array(1)), null);
    assertEquals(peerCredentials(server).uid, Deno.uid());
    server.close();
    assertThrows(() => peerCredentials(server), Deno.errors.BadResource);
  },
);

follows(
  "tokio uds_socket: listen_and_stream",
  "connect() has no name of its own, decided otherwise",
  async () => {
    await using ends = await Accepted.open();
    // A bound client would need a file, with a mode, a lock and a removal. Nothing reads its name.
    assertEquals(ends.server.remoteAddr.path, null);
    await assertRejects(
      () => connect({ path: ends.listener.addr.path!, bind: "x" } as { path: string }),
      TypeError,
      "bind",
    );
  },
);

follows(
  "tokio net::UnixListener: drop, then bind",
  "listen() replaces a file that its listener left behind, and a running one is in use",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const left = Deno.listen({ transport: "unix", path: `${path}.first` });
    Deno.renameSync(`${path}.first`, path);
    left.close();
    assert(Deno.lstatSync(path).isSocket);
    await using _listener = await listen(path);
    await assertRejects(() => listen(path), Deno.errors.AddrInUse);
  },
);

follows(
  "tokio net::UnixStream: into_split, drop of a write half",
  "serve(): a handler that only ends its writes goes on reading",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const { promise, resolve } = Promise.withResolvers<string>();
    await using _server = await serve(path, async (conn) => {
      await conn.writable.close();
      resolve(await new Response(conn.readable).text());
    });
    await using conn = await connect(path);
    assertEquals(await conn.read(new Uint8Array(1)), null);
    await conn.write(encode("after your end"));
    await conn.closeWrite();
    assertEquals(await promise, "after your end");
  },
);
