/** `connectPackets()`: what it reaches, and how it is refused. */

import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  ConnectTimeout,
  InsecurePath,
  listen,
  NotASocket,
  NothingListening,
  SocketNotFound,
} from "@uds/uds";
import { bindPackets, connectPackets, listenPackets } from "@uds/uds/native";
import { decode, encode, isPending, openDescriptors, Program, TempDir, test } from "../_helpers.ts";
import { pathsUse, peer } from "./_paths.ts";

test("connectPackets() exchanges packets of every size with a server in Python", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = peer("echo", path);
  assertEquals(await server.line(), "ready");
  await using conn = await connectPackets({ path, maxPacketBytes: 200_000 });
  for (const size of [1, 1000, 65_536, 200_000]) {
    await conn.send(new Uint8Array(size).fill(7));
    assertEquals((await conn.receive())!.length, size);
    assertEquals(await server.line(), String(size));
  }
  await conn.closeWrite();
  assertEquals(await conn.receive(), null);
}, { needs: ["python3"] });

test("listenPackets() exchanges packets of every size with a client in Python", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listenPackets(path);
  await using client = peer("client", path, "1", "1000", "65536", "200000");
  await using conn = await listener.accept();
  for await (const packet of conn) await conn.send(packet);
  assertEquals(await client.output(), ["1", "1000", "65536", "200000"]);
}, { needs: ["python3"] });

test("connectPackets() and listenPackets() exchange packets with socat", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  {
    await using listener = await listenPackets(path);
    await using socat = new Program("socat", ["STDIO", `UNIX-CONNECT:${path},type=5`], {
      stdin: "piped",
    });
    await using conn = await listener.accept();
    const writer = socat.stdin.getWriter();
    await writer.write(encode("from socat\n"));
    assertEquals(decode((await conn.receive())!), "from socat\n");
    await conn.send(encode("to socat\n"));
    assertEquals(await socat.line(), "to socat");
    await writer.close();
    assertEquals(await conn.receive(), null);
  }
  await using socat = new Program("socat", [`UNIX-LISTEN:${path},type=5`, "EXEC:cat"]);
  await using conn = await connectPackets({ path, wait: true });
  await conn.send(encode("echo"));
  assertEquals(decode((await conn.receive())!), "echo");
  conn.close();
  await socat.status;
}, { needs: ["socat"] });

test("connectPackets() names what is in the way", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const before = openDescriptors();
  const refusals: [Class: new () => Error, code: string, state: string][] = [];
  async function refused(type: "seqpacket" | "dgram" = "seqpacket"): Promise<void> {
    const error = await connectPackets({ path, type }).catch((error) => error);
    const { operation, path: where, code, message } = error;
    assertEquals([operation, where], ["connectPackets", path]);
    refusals.push([error.constructor, code, message.replace(`Cannot connect to "${path}": `, "")]);
  }
  await refused();
  await refused("dgram");
  Deno.writeTextFileSync(path, "");
  await refused();
  Deno.removeSync(path);
  {
    await using _stream = await listen(path);
    await refused();
    await refused("dgram");
  }
  {
    await using _packets = await listenPackets(path);
    await refused("dgram");
  }
  {
    await using _datagrams = await bindPackets(path);
    await refused();
  }
  const absent = "there is no such file. Start the server first";
  const wrong = "it is a stream or sequenced-packet socket, not a datagram socket. " +
    "Connect to it with connect() or connectPackets()";
  assertEquals(
    refusals,
    [
      [SocketNotFound, "ENOENT", absent],
      [SocketNotFound, "ENOENT", absent],
      [NotASocket, "ECONNREFUSED", "it is a regular file. Choose the path of a socket"],
      [
        NotASocket,
        "EPROTOTYPE",
        "it is a stream socket, not a sequenced-packet socket. Connect to it with connect()",
      ],
      [NotASocket, "EPROTOTYPE", wrong],
      [NotASocket, "EPROTOTYPE", wrong],
      [
        NotASocket,
        "EPROTOTYPE",
        "it is a datagram socket, not a sequenced-packet socket. Send to it with bindPackets()",
      ],
    ] as unknown as typeof refusals,
  );
  assertEquals(openDescriptors(), before);
});

test("connectPackets() reports a stale socket", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  {
    await using holder = peer("hold", "seqpacket", path);
    assertEquals(await holder.line(), "ready");
    // It is bound, and does not listen.
    await assertRejects(() => connectPackets(path), NothingListening);
  }
  const error = await assertRejects(() => connectPackets(path), NothingListening);
  assertEquals(error.code, "ECONNREFUSED");
  assert(error.message.includes("was left behind by a server that has ended"), error.message);
}, { needs: ["python3"] });

test("connectPackets() with wait waits for the server; without a server it times out", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const late = await assertRejects(
    () => connectPackets({ path, wait: true, timeout: 20 }),
    ConnectTimeout,
  );
  assertInstanceOf(late.cause, SocketNotFound);
  const connecting = connectPackets({ path, wait: true });
  assert(await isPending(connecting));
  await using listener = await listenPackets(path);
  using _served = await listener.accept();
  using _client = await connecting;
});

test("connectPackets() stops with the reason of its signal", async () => {
  await using dir = new TempDir();
  const controller = new AbortController();
  const { signal } = controller;
  const connecting = connectPackets({ path: dir.file("s.sock"), wait: true, signal });
  connecting.catch(() => {});
  controller.abort("enough");
  assertEquals(await connecting.catch((error) => error), "enough");
});

test("connectPackets() checks the owner of the file", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listenPackets(path);
  using _client = await connectPackets({ path, owner: Deno.uid()! });
  using _served = await listener.accept();
  await assertRejects(() => connectPackets({ path, owner: Deno.uid()! + 1 }), InsecurePath);
});

test("connectPackets() is denied by the mode of the file", async () => {
  await using dir = new TempDir(0o755);
  const path = dir.file("s.sock");
  await using _listener = await listenPackets({ path: `${path}.seqpacket`, mode: 0o640 });
  await using _datagrams = await bindPackets({ path: `${path}.dgram`, mode: 0o640 });
  await using program = pathsUse(":", ["-A"], "nobody", path);
  const denied = JSON.stringify(["ConnectDenied", "EACCES", 0o640, 0]);
  assertEquals(await program.output(), [denied, denied]);
}, { root: true });

test("connectPackets() with autobind gets answers of a datagram socket", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await bindPackets(path);
  await using client = await connectPackets({ path, type: "dgram", autobind: true });
  await using other = await bindPackets({ autobind: true });
  await client.send(encode("ping"));
  const { packet, from } = await server.receive();
  assertEquals([decode(packet), from], ["ping", client.localAddr.path]);
  // The kernel accepts packets of the server only.
  const denied = await assertRejects(
    () => other.send(encode("forged"), from!),
    Deno.errors.PermissionDenied,
  );
  assert(denied.message.endsWith("it is connected to another socket, and receives only from it"));
  await server.send(encode("pong"), from!);
  assertEquals(decode((await client.receive())!), "pong");
});

test("connectPackets() without a name sends, and cannot be answered", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await bindPackets(path);
  await using client = await connectPackets({ path, type: "dgram" });
  await client.send(encode("ping"));
  assertEquals((await server.receive()).from, null);
  await server.close();
  await assertRejects(() => client.send(encode("late")), Deno.errors.ConnectionRefused);
});

test("connectPackets() checks its options", async () => {
  const path = "/tmp/never.sock";
  const wrong: [options: unknown, message: string][] = [
    [{ path, autobind: true }, 'Invalid autobind: it needs type: "dgram"'],
    [{ path, type: "stream" }, 'Invalid type: expected "seqpacket" or "dgram"'],
    [{ path, mode: 0o600 }, 'Invalid option "mode" of connectPackets()'],
    [{ path: "" }, "Invalid socket path: it is empty"],
  ];
  for (const [options, message] of wrong) {
    const error = await connectPackets(options as string).catch((error) => error);
    assertInstanceOf(error, Error);
    assert(error.message.startsWith(message), error.message);
  }
});
