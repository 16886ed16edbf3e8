/** The behaviors of the tests of Unix sockets in Go's packages `net` and `syscall`. */

import { closeSync } from "node:fs";
import { connect, listen, serve } from "@uds/uds";
import {
  bindPackets,
  connectPackets,
  peerCredentials,
  receiveDescriptors,
  sendDescriptors,
} from "@uds/uds/native";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { contentOf, openFile, receive, TestPair } from "../native/_descriptors.ts";
import { decode, encode, readAll, readText, run, TempDir } from "../_helpers.ts";
import { GivenSocket } from "../server/_given.ts";
import { follows } from "./_follows.ts";

const NET = "Go net";

follows(
  `${NET}: TestReadUnixgramWithUnnamedSocket`,
  "DatagramSocket.receive() has no address for a sender without a name",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = await bindPackets(path);
    await using sender = await bindPackets();
    await sender.send(Uint8Array.of(1, 2, 3, 4, 5), path);
    assertEquals(await server.receive(), { packet: Uint8Array.of(1, 2, 3, 4, 5), from: null });
  },
);

follows(
  `${NET}: TestUnixgramZeroBytePayload`,
  "DatagramSocket.receive() returns a packet of no bytes",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = await bindPackets(path);
    using client = await connectPackets({ path, type: "dgram" });
    for (let i = 0; i < 2; i++) {
      await client.send(new Uint8Array());
      assertEquals(await server.receive(), { packet: new Uint8Array(), from: null });
    }
  },
);

follows(
  `${NET}: TestUnixgramZeroByteBuffer`,
  "DatagramSocket.receive() needs no buffer, so no size of one can cut a packet",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = await bindPackets(path);
    using client = await connectPackets({ path, type: "dgram" });
    const packets = [1, 100, 100_000].map((size) => new Uint8Array(size).fill(size % 251));
    for (const packet of packets) await client.send(packet);
    for (const packet of packets) assertEquals((await server.receive()).packet, packet);
  },
);

follows(
  `${NET}: TestUnixgramAutobind`,
  "bindPackets({ autobind }) has a name of the system, which others can connect to",
  async () => {
    await using server = await bindPackets({ autobind: true });
    const { path } = server.addr;
    assert(path !== null && path.startsWith("\0") && path.length > 1);
    using client = await connectPackets({ path, type: "dgram" });
    assertEquals(client.remoteAddr, server.addr);
    await client.send(encode("found"));
    assertEquals(decode((await server.receive()).packet), "found");
  },
);

follows(
  `${NET}: TestUnixAutobindClose`,
  "bindPackets({ autobind }) can be closed, and its name ends with it",
  async () => {
    const server = await bindPackets({ autobind: true });
    await server.close();
    await assertRejects(
      () => connectPackets({ path: server.addr.path!, type: "dgram", timeout: 0 }),
      Deno.errors.ConnectionRefused,
    );
  },
);

follows(
  `${NET}: TestUnixgramLinuxAbstractLongName`,
  "bindPackets() takes an abstract name as long as the system's structure",
  async () => {
    const path = `\0${crypto.randomUUID()}`.padEnd(108, "x");
    await using server = await bindPackets(path);
    await using sender = await bindPackets();
    await sender.send(encode("far"), path);
    assertEquals(await server.receive(), { packet: encode("far"), from: null });
  },
);

follows(
  `${NET}: TestUnixgramWrite`,
  "A connected datagram socket sends to its peer alone, an unconnected one to any path",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = await bindPackets(path);
    using connected = await connectPackets({ path, type: "dgram" });
    // Go refuses an address at run time. Here no parameter takes one, and a call with one is wrong.
    await assertRejects(
      () => connected.send(encode("x"), path as unknown as { signal: AbortSignal }),
      TypeError,
    );
    await connected.send(encode("connected"));
    await using free = await bindPackets();
    await assertRejects(
      () => (free.send as (packet: Uint8Array) => Promise<void>)(encode("x")),
      TypeError,
    );
    await free.send(encode("free"), path);
    for (const text of ["connected", "free"]) {
      assertEquals(decode((await server.receive()).packet), text);
    }
  },
);

follows(
  `${NET}: TestUnixConnLocalAndRemoteNames`,
  "A connection has the path of its server, and a client has no name of its own",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using listener = await listen(path);
    using client = await connect(path);
    using server = await listener.accept();
    const [named, unnamed] = [{ transport: "unix", path }, { transport: "unix", path: null }];
    assertEquals(listener.addr as unknown, named);
    assertEquals([client.localAddr, client.remoteAddr] as unknown, [unnamed, named]);
    assertEquals([server.localAddr, server.remoteAddr] as unknown, [named, unnamed]);
  },
);

follows(
  `${NET}: TestUnixgramConnLocalAndRemoteNames`,
  "A datagram socket has its own name, and that of its peer if it is connected",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = await bindPackets(path);
    assertEquals(server.addr, { transport: "unix", path });
    using unnamed = await connectPackets({ path, type: "dgram" });
    assertEquals([unnamed.localAddr.path, unnamed.remoteAddr.path], [null, path]);
    using named = await connectPackets({ path, type: "dgram", autobind: true });
    await named.send(encode("me"));
    assertEquals((await server.receive()).from, named.localAddr.path);
    assertEquals(named.remoteAddr.path, path);
  },
);

follows(
  `${NET}: TestUnixUnlink`,
  "listen() removes its socket file when it closes, and listen({ fd }) leaves it to its owner",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("own.sock");
    const listener = await listen(path);
    assert(Deno.lstatSync(path).isSocket);
    await listener.close();
    assertEquals(dir.list(), []);
    using given = new GivenSocket(path);
    for (let i = 0; i < 2; i++) {
      await (await listen({ fd: given.descriptor() })).close();
      assert(Deno.lstatSync(path).isSocket);
    }
  },
);

follows(
  `${NET}: TestUnixConnReadMsgUnixSCMRightsCloseOnExec`,
  "receiveDescriptors() returns descriptors that no started program inherits",
  async () => {
    await using dir = new TempDir();
    await using pair = await TestPair.open();
    const fd = openFile(dir, "secret");
    await sendDescriptors(pair.client, encode("x"), [fd]);
    using received = await receive(pair.server);
    const number = received.descriptors[0]!.fd;
    const script = `test -e /proc/self/fd/${number} && readlink /proc/self/fd/${number}; true`;
    assertEquals((await run("sh", ["-c", script])).stdout.includes(dir.path), false);
    assertEquals(await contentOf(received.descriptors[0]), "secret");
    closeSync(fd);
  },
);

follows(
  "Go syscall: TestPassFD",
  "A file of another process is passed by descriptor, and read here",
  async () => {
    await using dir = new TempDir();
    await using pair = await TestPair.open();
    const fd = openFile(dir, "Hello from child process");
    await sendDescriptors(pair.client, encode("x"), [fd]);
    // The sender needs its own no more once the call has returned its promise.
    closeSync(fd);
    using received = await receive(pair.server);
    assertEquals(await contentOf(received.descriptors[0]), "Hello from child process");
  },
);

follows(
  "Go syscall: TestUnixRightsRoundtrip",
  "Descriptors arrive in the order in which they were sent, for lists of any length",
  async () => {
    await using dir = new TempDir();
    await using pair = await TestPair.open();
    const fds = Array.from({ length: 7 }, (_, i) => openFile(dir, String(i)));
    for (const order of [[0], [1, 2, 3], [6, 5, 4, 3, 2, 1, 0], [2, 2]]) {
      await sendDescriptors(pair.client, encode("x"), order.map((i) => fds[i]!));
      using received = await receive(pair.server);
      assertEquals(received.descriptors.length, order.length);
      const inodes = received.descriptors.map(({ fd }) => Deno.statSync(`/proc/self/fd/${fd}`).ino);
      const sent = order.map((i) => Deno.statSync(`/proc/self/fd/${fds[i]}`).ino);
      assertEquals(inodes, sent);
    }
    for (const fd of fds) closeSync(fd);
  },
);

follows(
  "Go syscall: TestSCMCredentials",
  "peerCredentials() returns the process, user and group of the peer, from the kernel",
  async () => {
    await using pair = await TestPair.open();
    for (const end of [pair.client, pair.server]) {
      const { pid, uid, gid } = peerCredentials(end);
      assertEquals([pid, uid, gid], [Deno.pid, Deno.uid(), Deno.gid()]);
    }
  },
);

follows(
  `${NET}: TestUnixAndUnixpacketServer`,
  "serve() serves many clients that connect one after the other, and at once",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using _server = await serve(path, async (conn) => {
      await conn.write(encode(await readText(conn) ?? ""));
    });
    const ask = async (text: string) => {
      using conn = await connect(path);
      await conn.write(encode(text));
      return decode(await readAll(conn));
    };
    for (let i = 0; i < 10; i++) assertEquals(await ask(`one ${i}`), `one ${i}`);
    const texts = Array.from({ length: 50 }, (_, i) => `many ${i}`);
    assertEquals(await Promise.all(texts.map(ask)), texts);
  },
);

follows(
  `${NET}: TestUnixgramServer`,
  "bindPackets() answers each sender by its name",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = await bindPackets(path);
    const clients = await Promise.all(
      Array.from({ length: 5 }, (_, i) => bindPackets(dir.file(`c${i}.sock`))),
    );
    const serving = (async () => {
      for (let i = 0; i < clients.length; i++) {
        const { packet, from } = await server.receive();
        await server.send(packet, from!);
      }
    })();
    for (const [i, client] of clients.entries()) {
      await client.send(Uint8Array.of(i), path);
      assertEquals(await client.receive(), { packet: Uint8Array.of(i), from: path });
    }
    await serving;
    for (const client of clients) await client.close();
  },
);

follows(
  `${NET}: TestCloseWrite`,
  "closeWrite() at one end, then at the other: each gets what was sent, and the end",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using _server = await serve(path, async (conn) => {
      assertEquals(decode(await readAll(conn)), "question");
      await conn.write(encode("answer"));
      await conn.closeWrite();
      assertEquals(await conn.read(new Uint8Array(1)), null);
    });
    using conn = await connect(path);
    await conn.write(encode("question"));
    await conn.closeWrite();
    assertEquals(decode(await readAll(conn)), "answer");
    assertEquals(await conn.read(new Uint8Array(1)), null);
    await assertRejects(() => conn.write(new Uint8Array(1)), Deno.errors.BadResource);
  },
);

follows(
  `${NET}: TestCloseRead`,
  "readable.cancel() ends reading, and the connection once writing has ended too",
  async () => {
    await using pair = await TestPair.open();
    const { client, server } = pair;
    await client.readable.cancel();
    await client.write(encode("still writing"));
    assertEquals(await readText(server), "still writing");
    await client.closeWrite();
    await client.closed;
    await assertRejects(() => client.read(new Uint8Array(1)), Deno.errors.BadResource);
  },
);

follows(
  `${NET}: TestConnClose`,
  "close() can be called again, and a read after it rejects",
  async () => {
    await using dir = new TempDir();
    await using listener = await listen(dir.file("s.sock"));
    const conn = await connect(dir.file("s.sock"));
    (await listener.accept()).close();
    conn.close();
    // Go fails the second call. Ours are idempotent, as disposal must be.
    conn.close();
    await assertRejects(() => conn.read(new Uint8Array(1)), Deno.errors.BadResource);
  },
);

follows(
  `${NET}: TestListenerClose`,
  "close() of a listener ends accept(), refuses new clients, and can be called again",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const listener = await listen(path);
    const accepting = assertRejects(() => listener.accept(), Deno.errors.BadResource);
    await listener.close();
    await listener.close();
    await accepting;
    await assertRejects(() => connect({ path, timeout: 0 }), Deno.errors.NotFound);
  },
);

follows(
  `${NET}: TestPacketConnClose`,
  "close() of a datagram socket ends its receives, and can be called again",
  async () => {
    const socket = await bindPackets({ autobind: true });
    await socket.close();
    await socket.close();
    await assertRejects(() => socket.receive(), Deno.errors.BadResource);
  },
);

follows(
  `${NET}: TestListenCloseListen`,
  "listen() takes a path again as soon as its listener has closed",
  async () => {
    await using dir = new TempDir();
    for (let i = 0; i < 10; i++) await (await listen(dir.file("s.sock"))).close();
    assertEquals(dir.list(), []);
  },
);

follows(
  `${NET}: TestZeroByteRead`,
  "read() into no bytes returns 0 at once, before and after data have come",
  async () => {
    await using pair = await TestPair.open();
    const none = new Uint8Array();
    assertEquals(await pair.client.read(none), 0);
    await pair.server.write(encode("data"));
    assertEquals(await pair.client.read(none), 0);
    assertEquals(await readText(pair.client), "data");
    // With descriptors, at least one byte is needed.
    await assertRejects(() => receiveDescriptors(pair.client, none), RangeError);
  },
);
