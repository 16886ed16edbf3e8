/** `bindPackets()`: datagrams to and from any path. */

import process from "node:process";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  ConnectionClosed,
  listen,
  MessageTooLarge,
  NotASocket,
  NothingListening,
  SocketInUse,
  SocketNotFound,
} from "@uds/uds";
import { bindPackets, type DatagramSocket, listenPackets } from "@uds/uds/native";
import {
  decode,
  encode,
  isPending,
  openDescriptors,
  Program,
  run,
  TempDir,
  test,
  turn,
} from "../_helpers.ts";
import { modeOf, peer } from "./_paths.ts";

/** Receives a packet, and returns its text and its sender. */
async function text(socket: DatagramSocket): Promise<[string, string | null]> {
  const { packet, from } = await socket.receive();
  return [decode(packet), from];
}

test("bindPackets() receives whole packets, with the name of the sender", async () => {
  await using dir = new TempDir();
  const [path, name] = [dir.file("s.sock"), dir.file("c.sock")];
  await using server = await bindPackets(path);
  assertEquals([server.addr.path, modeOf(path)], [path, 0o600]);
  await using named = await bindPackets(name);
  await using unnamed = await bindPackets();
  await using bound = await bindPackets({ autobind: true });
  assertEquals(unnamed.addr.path, null);
  assert(/^\0[0-9a-f]{5}$/.test(bound.addr.path!), bound.addr.path!);
  for (const socket of [named, unnamed, bound]) {
    await socket.send(encode("hello"), path);
    await socket.send(new Uint8Array(0), path);
    assertEquals(await text(server), ["hello", socket.addr.path]);
    assertEquals(await text(server), ["", socket.addr.path]);
  }
  for (const socket of [named, bound]) {
    await server.send(encode("answer"), socket.addr.path!);
    assertEquals(await text(socket), ["answer", path]);
  }
});

test("bindPackets() takes the name of a sender exactly, or not at all", async () => {
  await using dir = new TempDir();
  await using server = await bindPackets(dir.file("s.sock"));
  const program = `import ctypes, os, socket, sys
os.chdir(sys.argv[1])
def sender(bind):
  s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
  bind(s)
  s.sendto(b"x", "s.sock")
for name in b"bad\\xff", b"\\0bad\\xff" + os.urandom(8).hex().encode(), b"\\xef\\xbb\\xbfmarked":
  sender(lambda s: s.bind(name))
# As long as the structure: without a zero byte at its end.
longest = b"\\1\\0" + b"n" * 108
for _ in range(2):
  sender(lambda s: ctypes.CDLL(None).bind(s.fileno(), longest, 110))
  os.remove(b"n" * 108)
`;
  await run("python3", ["-c", program, dir.path]);
  const names = [null, null, "\uFEFFmarked", "n".repeat(108), "n".repeat(108)];
  for (const name of names) assertEquals(await text(server), ["x", name]);
}, { needs: ["python3"] });

test("bindPackets() is exclusive, and close() leaves nothing", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const before = openDescriptors();
  const socket = await bindPackets(path);
  for (const again of [bindPackets, listenPackets, listen]) {
    const error = await assertRejects(() => again(path) as Promise<unknown>, SocketInUse);
    assertEquals(error.holder, Deno.pid);
  }
  const pending = socket.receive();
  const loop = (async () => {
    for await (const _ of socket) assert(false);
    return "ended";
  })();
  assert(await isPending(pending));
  const rejected = assertRejects(() => pending, ConnectionClosed);
  await socket.close();
  await socket.close();
  await rejected;
  assertEquals(await loop, "ended");
  const late = await assertRejects(() => socket.send(encode("x"), path), ConnectionClosed);
  assertEquals([late.operation, late.path, late.unsent], ["send", path, encode("x")]);
  assertEquals(dir.list(), []);
  assertEquals(openDescriptors(), before);
});

test("bindPackets() waits for a full receiver, in order, and others need not wait", async () => {
  await using dir = new TempDir();
  const [slow, quick] = [dir.file("slow.sock"), dir.file("quick.sock")];
  await using receiver = await bindPackets(slow);
  await using other = await bindPackets(quick);
  await using sender = await bindPackets();
  const before = openDescriptors();
  const sends = Array.from({ length: 200 }, (_, i) => sender.send(Uint8Array.of(i), slow));
  assert(await isPending(sends[199]!));
  await sender.send(encode("quick"), quick);
  assertEquals((await text(other))[0], "quick");
  for (let i = 0; i < 200; i++) assertEquals((await receiver.receive()).packet, Uint8Array.of(i));
  await Promise.all(sends);
  assertEquals(openDescriptors(), before);
});

test("bindPackets() waits for room without keeping the processor busy", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using holder = peer("hold", "dgram", path);
  assertEquals(await holder.line(), "ready");
  await using sender = await bindPackets();
  const sends = Array.from({ length: 20 }, () => sender.send(encode("x"), path));
  const last = Promise.allSettled(sends);
  assert(await isPending(last));
  const { user, system } = process.cpuUsage();
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, 200);
  await promise;
  const used = process.cpuUsage();
  assert(used.user + used.system - user - system < 50_000, JSON.stringify(used));
  // The receiver ends: what it did not read is lost, and what waits is refused.
  await holder.stdin.close();
  const results = await last;
  assertEquals(results.map(({ status }) => status).lastIndexOf("fulfilled") + 1, 11);
  for (const result of results.slice(11)) {
    assert(result.status === "rejected");
    assertInstanceOf(result.reason, NothingListening);
    assertEquals([result.reason.operation, result.reason.path], ["send", path]);
  }
}, { needs: ["python3"] });

test("bindPackets(): await using sends what is queued, close() does not", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await bindPackets(path);
  const COUNT = 100;
  const received: number[] = [];
  const receiving = (async () => {
    while (received.length < COUNT) received.push((await server.receive()).packet[0]!);
  })();
  {
    await using sender = await bindPackets();
    for (let i = 0; i < COUNT; i++) sender.send(Uint8Array.of(i), path);
  }
  await receiving;
  assertEquals(received, Array.from({ length: COUNT }, (_, i) => i));

  const sender = await bindPackets();
  const sending = Array.from({ length: COUNT }, () => sender.send(new Uint8Array(1), path));
  await sender.close();
  const results = await Promise.allSettled(sending);
  const failed = results.filter((result) => result.status === "rejected");
  assert(failed.length > 0);
  for (const { reason } of failed) assertInstanceOf(reason, ConnectionClosed);
});

test("bindPackets() takes back a packet that waits when its signal aborts", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using receiver = await bindPackets(path);
  await using sender = await bindPackets();
  const before = openDescriptors();
  const sends = Array.from({ length: 11 }, (_, i) => sender.send(Uint8Array.of(i), path));
  await Promise.all(sends);
  const { signal, abort } = abortable();
  const [taken, kept] = [
    sender.send(encode("taken"), path, { signal }),
    sender.send(encode("kept"), path),
  ];
  assert(await isPending(taken));
  abort();
  assertEquals(await taken.catch((error) => error), "enough");
  for (let i = 0; i < 11; i++) assertEquals((await receiver.receive()).packet, Uint8Array.of(i));
  assertEquals((await text(receiver))[0], "kept");
  await kept;
  const receiving = abortable();
  const pending = receiver.receive({ signal: receiving.signal });
  receiving.abort();
  assertEquals(await pending.catch((error) => error), "enough");
  await sender.send(encode("next"), path);
  assertEquals((await text(receiver))[0], "next");
  assertEquals(openDescriptors(), before);
});

function abortable(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort("enough") };
}

test("bindPackets() names what is in the way of a packet", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using sender = await bindPackets();
  const packet = encode("x");
  async function refused(): Promise<unknown[]> {
    const error = await sender.send(packet, path).catch((error) => error);
    assertEquals([error.operation, error.path, error.unsent], ["send", path, packet]);
    const state = error.message.replace(`Cannot send a packet to "${path}": `, "");
    return [error.constructor, error.code, state];
  }
  const absent = "there is no such file. Start the server first";
  assertEquals(await refused(), [SocketNotFound, "ENOENT", absent]);
  {
    await using _listener = await listenPackets(path);
    assertEquals(await refused(), [
      NotASocket,
      "EPROTOTYPE",
      "it is a stream or sequenced-packet socket, not a datagram socket. Connect to it with " +
      "connect() or connectPackets()",
    ]);
  }
  Deno.writeTextFileSync(path, "");
  assertEquals(await refused(), [
    NotASocket,
    "ECONNREFUSED",
    "it is a regular file. Choose the path of a socket",
  ]);
  Deno.removeSync(path);
  await using receiver = await bindPackets(path);
  const large = new Uint8Array(sender.maxPacketBytes + 1);
  const error = await assertRejects(() => sender.send(large, path), MessageTooLarge);
  assertEquals([error.size, error.limit, error.code], [
    large.length,
    sender.maxPacketBytes,
    "EMSGSIZE",
  ]);
  await sender.send(large.subarray(1), path);
  assertEquals((await receiver.receive()).packet.length, sender.maxPacketBytes);
});

test("bindPackets() refuses a packet that is larger than its limit, and goes on", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using receiver = await bindPackets({ path, maxPacketBytes: 1000 });
  await using sender = await bindPackets();
  for (const size of [1000, 1001, 5]) await sender.send(new Uint8Array(size), path);
  assertEquals((await receiver.receive()).packet.length, 1000);
  const error = await assertRejects(() => receiver.receive(), MessageTooLarge);
  assertEquals([error.size, error.limit], [1001, 1000]);
  assertEquals((await receiver.receive()).packet.length, 5);
});

test("bindPackets() exchanges packets with Python", async () => {
  await using dir = new TempDir();
  const [path, own] = [dir.file("s.sock"), dir.file("own.sock")];
  await using receiver = peer("receive", path);
  assertEquals(await receiver.line(), "ready");
  await using socket = await bindPackets(own);
  for (const size of [0, 1, 1000, 100_000]) await socket.send(new Uint8Array(size), path);
  await socket.send(encode("end"), path);
  assertEquals(await receiver.output(), [
    `0 ${own}`,
    `1 ${own}`,
    `1000 ${own}`,
    `100000 ${own}`,
  ]);
}, { needs: ["python3"] });

test("bindPackets() exchanges packets with socat", async () => {
  await using dir = new TempDir();
  const [path, own] = [dir.file("s.sock"), dir.file("own.sock")];
  await using socket = await bindPackets(path);
  await using client = new Program("socat", ["STDIO", `UNIX-SENDTO:${path},bind=${own}`], {
    stdin: "piped",
  });
  const writer = client.stdin.getWriter();
  await writer.write(encode("request\n"));
  assertEquals(await text(socket), ["request\n", own]);
  await socket.send(encode("answer\n"), own);
  assertEquals(await client.line(), "answer");
  await writer.close();
  await client.status;
  await using server = new Program("socat", [`UNIX-RECVFROM:${own}`, "EXEC:cat"]);
  await sendWhenThere(socket, own);
  assertEquals(await text(socket), ["hello", own]);
  await server.status;
}, { needs: ["socat"] });

/** Sends to a server that is starting. */
async function sendWhenThere(socket: DatagramSocket, path: string): Promise<void> {
  const { connectPackets } = await import("@uds/uds/native");
  (await connectPackets({ path, type: "dgram", wait: true })).close();
  await socket.send(encode("hello"), path);
}

test("bindPackets() is a /dev/log for logger", async () => {
  await using dir = new TempDir();
  const path = dir.file("log");
  await using log = await bindPackets({ path, mode: 0o666 });
  const { code } = await run("logger", ["-u", path, "-t", "app", "-p", "user.info", "It works"]);
  assertEquals(code, 0);
  const [line] = await text(log);
  // <14>: the facility user and the level info (RFC 3164).
  assert(/^<14>.* app: It works$/.test(line), line);
}, { needs: ["logger"] });

test("bindPackets() is a notify socket for systemd-notify", async () => {
  await using dir = new TempDir();
  const path = dir.file("notify");
  await using notify = await bindPackets(path);
  await using program = new Program("systemd-notify", ["--ready", "--status=up", "--no-block"], {
    env: { NOTIFY_SOCKET: path },
  });
  const [state] = await text(notify);
  assertEquals(state.split("\n").filter((line) => !line.startsWith("MAINPID")).sort(), [
    "READY=1",
    "STATUS=up",
  ]);
  assertEquals((await program.status).code, 0);
}, { needs: ["systemd-notify"] });

test("bindPackets() serves a control socket in the style of wpa_supplicant", async () => {
  await using dir = new TempDir();
  const [path, own] = [dir.file("wlan0"), dir.file("wpa_ctrl_1")];
  await using server = await bindPackets(path);
  await using client = peer("control", path, own);
  const answers: Record<string, string> = { PING: "PONG\n", ATTACH: "OK\n", DETACH: "OK\n" };
  for await (const { packet, from } of server) {
    const request = decode(packet);
    assertEquals(from, own);
    await server.send(encode(answers[request]!), from!);
    // An event that was not asked for goes to each client that has attached.
    if (request === "ATTACH") await server.send(encode("<2>CTRL-EVENT-SCAN-RESULTS"), own);
    if (request === "DETACH") break;
  }
  assertEquals(await client.output(), ["PONG", "OK", "<2>CTRL-EVENT-SCAN-RESULTS", "OK"]);
  const gone = await assertRejects(() => server.send(encode("<2>LATE"), own), SocketNotFound);
  assertEquals(gone.path, own);
}, { needs: ["python3"] });

test("bindPackets() checks its arguments", async () => {
  const wrong: [options: unknown, message: string][] = [
    [{ mode: 0o600 }, "Invalid mode: the socket has no path"],
    [{ existing: "fail" }, "Invalid existing: the socket has no path"],
    [{ path: "/tmp/never.sock", autobind: true }, "Invalid autobind: the socket has a path"],
    [{ path: "\0name", mode: 0o600 }, "Cannot bind"],
    [{ type: "dgram" }, 'Invalid option "type" of bindPackets()'],
  ];
  for (const [options, message] of wrong) {
    const error = await bindPackets(options as string).catch((error) => error);
    assertInstanceOf(error, TypeError);
    assert(error.message.startsWith(message), error.message);
  }
  await using socket = await bindPackets();
  await assertRejects(
    () => socket.send("x" as never, "/tmp/never.sock"),
    TypeError,
    "a Uint8Array",
  );
  await assertRejects(() => socket.send(encode("x"), ""), TypeError, "it is empty");
});

test("DatagramSocket.send() names the limit of the system, if it is lower than the option", async () => {
  await using dir = new TempDir();
  await using receiver = await bindPackets(dir.file("a"));
  const most = 2 * Number(await Deno.readTextFile("/proc/sys/net/core/wmem_max")) - 32;
  await using sender = await bindPackets({ maxPacketBytes: most + 2 });
  const large = new Uint8Array(most + 1);
  const error = await assertRejects(
    () => sender.send(large, receiver.addr.path!),
    MessageTooLarge,
    `it has ${large.length} bytes, and the limit is ${most}. The system allows no larger ones: ` +
      "raise net.core.wmem_max",
  );
  assertEquals([error.size, error.limit], [large.length, most]);
});

test("bindPackets(): send() of a packet that waits rejects if its buffer is detached", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await bindPackets(path);
  await using client = await bindPackets();
  let sent = 0;
  const sends = Array.from(
    { length: 1000 },
    (_, i) => client.send(Uint8Array.of(i), path).then(() => void sent++),
  );
  const packet = new Uint8Array(5);
  const sending = client.send(packet, path);
  while (sent === 0) await turn();
  assert(sent < 1000);
  packet.buffer.transfer();
  sending.catch(() => {});
  for (let i = 0; i < 1000; i++) assertEquals((await server.receive()).packet.length, 1);
  await Promise.all(sends);
  const message = "its buffer was detached or resized while it was written";
  await assertRejects(() => sending, TypeError, message);
});
