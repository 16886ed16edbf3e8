/** The behaviors of tokio's tests of datagrams (`uds_datagram`, `uds_socket`). */

import { listen, NotASocket } from "@uds/uds";
import { bindPackets, connectPackets, type DatagramSocket, socketpair } from "@uds/uds/native";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { decode, encode, isPending, TempDir } from "../_helpers.ts";
import { fill } from "../native/_packets.ts";
import { follows } from "./_follows.ts";

/** Sends each packet back to its sender, if that has a name. */
function echo(socket: DatagramSocket): void {
  (async () => {
    for await (const { packet, from } of socket) {
      if (from !== null) await socket.send(packet, from);
    }
  })().catch(() => {});
}

/** Defines a test with a server and a client, each at a path of its own. */
function exchanges(
  name: string,
  behavior: string,
  fn: (server: DatagramSocket, client: DatagramSocket) => Promise<void>,
): void {
  follows(`tokio uds_datagram: ${name}`, behavior, async () => {
    await using dir = new TempDir();
    await using server = await bindPackets(dir.file("server.sock"));
    await using client = await bindPackets(dir.file("client.sock"));
    await fn(server, client);
  });
}

exchanges("echo", "bindPackets(): a named client gets its packet back", async (server, client) => {
  echo(server);
  await client.send(encode("ECHO"), server.addr.path!);
  assertEquals(decode((await client.receive()).packet), "ECHO");
});

exchanges(
  "echo_from",
  "bindPackets(): the answer has the server's name",
  async (server, client) => {
    echo(server);
    await client.send(encode("ECHO"), server.addr.path!);
    assertEquals(await client.receive(), { packet: encode("ECHO"), from: server.addr.path });
  },
);

follows(
  "tokio uds_datagram: echo",
  "connectPackets({ autobind }) gets its packet back, and needs no file",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("server.sock");
    await using server = await bindPackets(path);
    echo(server);
    using client = await connectPackets({ path, type: "dgram", autobind: true });
    await client.send(encode("ECHO"));
    assertEquals(decode((await client.receive())!), "ECHO");
    assertEquals(dir.list(), ["server.sock", "server.sock.lock"]);
  },
);

follows(
  "tokio uds_datagram: try_send_recv_never_block",
  "send() waits once the queue is full, all arrive, and then receive() waits",
  async () => {
    const [a, b] = socketpair({ type: "dgram" });
    const { count, waiting } = await fill(a, encode("PAYLOAD"));
    assert(count > 0);
    for (let i = 0; i <= count; i++) assertEquals(decode((await b.receive())!), "PAYLOAD");
    await waiting;
    const receiving = b.receive().catch(() => "closed");
    assert(await isPending(receiving));
    a.close();
    b.close();
    assertEquals(await receiving, "closed");
  },
);

follows(
  "tokio uds_datagram: split",
  "bindPackets() sends to itself while it receives",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("split.sock");
    await using socket = await bindPackets(path);
    const [received] = await Promise.all([socket.receive(), socket.send(encode("hello"), path)]);
    assertEquals(received, { packet: encode("hello"), from: path });
  },
);

exchanges(
  "send_to_recv_from_poll",
  "send() and receive() at paths: the receiver knows the sender",
  async (server, client) => {
    await client.send(encode("hello"), server.addr.path!);
    assertEquals(await server.receive(), { packet: encode("hello"), from: client.addr.path });
  },
);

exchanges(
  "send_recv_poll",
  "connectPackets() to a path receives from this one only",
  async (server, client) => {
    using connected = await connectPackets({
      path: server.addr.path!,
      type: "dgram",
      autobind: true,
    });
    await assertRejects(
      () => client.send(encode("unknown"), connected.localAddr.path!),
      Deno.errors.PermissionDenied,
    );
    await server.send(encode("known"), connected.localAddr.path!);
    assertEquals(decode((await connected.receive())!), "known");
  },
);

exchanges(
  "try_send_to_recv_from",
  "send() and receive() by turns keep each packet with its sender",
  async (server, client) => {
    for (let i = 0; i < 5; i++) {
      await client.send(encode(`hello ${i}`), server.addr.path!);
      assertEquals(await server.receive(), {
        packet: encode(`hello ${i}`),
        from: client.addr.path,
      });
    }
  },
);

exchanges(
  "recv_buf_from",
  "receive() returns a packet in memory of its own, of its exact size",
  async (server, client) => {
    await client.send(encode("first"), server.addr.path!);
    await client.send(encode("another"), server.addr.path!);
    const [first, second] = [await server.receive(), await server.receive()];
    first.packet.fill(0);
    assertEquals([first.packet.buffer.byteLength, second.packet.buffer.byteLength], [5, 7]);
    assertEquals(decode(second.packet), "another");
  },
);

follows(
  "tokio uds_datagram: recv_buf",
  "socketpair({ type: dgram }) passes a packet to its other end",
  async () => {
    const [a, b] = socketpair({ type: "dgram" });
    await a.send(encode("hello world"));
    assertEquals(decode((await b.receive())!), "hello world");
    a.close();
    b.close();
  },
);

exchanges(
  "poll_ready",
  "receive() that waits gets the packet of a later send()",
  async (server, client) => {
    const receiving = server.receive();
    assert(await isPending(receiving));
    await client.send(encode("late"), server.addr.path!);
    assertEquals(decode((await receiving).packet), "late");
  },
);

follows(
  "tokio uds_socket: datagram_echo_server",
  "bindPackets() echoes to a hundred senders at once",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("server.sock");
    await using server = await bindPackets(path);
    echo(server);
    await Promise.all(Array.from({ length: 100 }, async (_, i) => {
      await using client = await bindPackets({ autobind: true });
      await client.send(encode(String(i)), path);
      assertEquals(decode((await client.receive()).packet), String(i));
    }));
  },
);

follows(
  "tokio uds_socket: assert_usage",
  "A socket of the wrong type is named: streams and datagrams do not mix",
  async () => {
    await using dir = new TempDir();
    const [stream, datagram] = [dir.file("stream.sock"), dir.file("datagram.sock")];
    await using _listener = await listen(stream);
    await using sender = await bindPackets(datagram);
    const wrong = await assertRejects(
      () => connectPackets({ path: stream, type: "dgram", timeout: 0 }),
      NotASocket,
    );
    assert(wrong.message.includes("stream"), wrong.message);
    await assertRejects(() => sender.send(encode("x"), stream), NotASocket);
    await assertRejects(() => connectPackets({ path: datagram, timeout: 0 }), NotASocket);
  },
);
