import { closeSync, openSync } from "node:fs";
import { lines, messages, serve } from "@uds/uds";
import { connect } from "@uds/uds";
import { receiveDescriptors, sendDescriptors } from "@uds/uds/native";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encode, gate, isPending, openDescriptors, readText, TempDir, test } from "../_helpers.ts";
import { transportOf } from "../../_internal/connection/socket_connection.ts";
import { SOL_SOCKET } from "../../_internal/libc/constants.ts";
import { libcIfGranted } from "../../_internal/libc/library.ts";
import type { DescriptorTransport } from "../../_internal/native/descriptor_transport.ts";
import { contentOf, openFile, receive, TestPair, untilOpen } from "./_descriptors.ts";

/** `include/uapi/asm-generic/socket.h`. */
const SO_PASSPIDFD = 76;

test("receiveDescriptors() keeps descriptors in order with the bytes around them", async () => {
  await using dir = new TempDir();
  await using pair = await TestPair.open();
  const fds = ["one", "two", "three"].map((text) => openFile(dir, text));
  const before = openDescriptors();
  await pair.client.write(encode("before "));
  await sendDescriptors(pair.client, encode("FDS"), fds.slice(0, 2));
  await sendDescriptors(pair.client, encode("MORE"), fds.slice(2));
  await pair.client.write(encode(" after"));
  {
    // The kernel joins bytes that were sent earlier, and ends the read with the message.
    using first = await receive(pair.server);
    assertEquals(first.text, "before FDS");
    assertEquals(await Promise.all(first.descriptors.map(contentOf)), ["one", "two"]);
    using second = await receive(pair.server);
    assertEquals(second.text, "MORE");
    assertEquals(await Promise.all(second.descriptors.map(contentOf)), ["three"]);
    using last = await receive(pair.server);
    assertEquals([last.text, last.descriptors], [" after", []]);
  }
  assertEquals(openDescriptors(), before);
  pair.client.close();
  assertEquals(await receiveDescriptors(pair.server, new Uint8Array(1)), null);
  fds.forEach(closeSync);
});

test("sendDescriptors() sends 253 descriptors, which are close-on-exec", async () => {
  await using pair = await TestPair.open();
  const fds = Array.from({ length: 253 }, () => openSync("/dev/null", "r"));
  const before = openDescriptors();
  await sendDescriptors(pair.client, encode("x"), fds);
  {
    using received = await receive(pair.server);
    assertEquals(received.descriptors.length, 253);
    for (const { fd } of received.descriptors) {
      const info = await Deno.readTextFile(`/proc/self/fdinfo/${fd}`);
      const flags = Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)?.[1] ?? "", 8);
      assertEquals(flags & 0o2000000, 0o2000000);
    }
  }
  assertEquals(openDescriptors(), before);
  fds.forEach(closeSync);
});

test("sendDescriptors() waits for a slow reader, and sends everything in order", async () => {
  await using pair = await TestPair.open();
  const [client, server] = [pair.client, pair.server];
  const fd = openSync("/dev/null", "r");
  const before = openDescriptors();
  const size = 4000;
  const count = 300;
  const sent = Promise.all(Array.from({ length: count }, async (_, i) => {
    const data = new Uint8Array(size).fill(i);
    await (i % 3 === 0 ? client.write(data) : sendDescriptors(client, data, [fd, fd]));
  }));
  // The writes in the queue have duplicates.
  closeSync(fd);
  assert(await isPending(sent));
  let descriptors = 0;
  for (let at = 0; at < size * count;) {
    const buffer = new Uint8Array(100_000);
    const received = await receiveDescriptors(server, buffer);
    assert(received !== null);
    for (let i = 0; i < received.count; i++) {
      if (buffer[i] !== Math.floor((at + i) / size) % 256) throw new Error(`at ${at + i}`);
    }
    at += received.count;
    for (const each of received.descriptors) each.close();
    descriptors += received.descriptors.length;
  }
  await sent;
  assertEquals(descriptors, 2 * count * 2 / 3);
  assertEquals(openDescriptors(), before - 1);
});

for (
  const [how, pass] of [
    ["a read", (pair) => readText(pair.server)],
    ["a stream", async ({ server }) => {
      const reader = server.readable.getReader();
      await reader.read();
      reader.releaseLock();
    }],
    ["messages()", async ({ server }) => {
      const channel = messages(server, lines());
      await channel.receive();
      channel.detach();
    }],
    ["close()", ({ server }) => server.close()],
    ["close() after reading ahead", async (pair) => {
      const before = openDescriptors();
      void pair.server.closed;
      await untilOpen(before + 2);
      pair.server.close();
    }],
  ] as [string, (pair: TestPair) => unknown][]
) {
  test(`Descriptors that ${how} passes are closed`, async () => {
    await using pair = await TestPair.open();
    const before = openDescriptors();
    await sendDescriptors(pair.client, encode("text\n"), [0, 1]);
    await pass(pair);
    await untilOpen(how.startsWith("close") ? before - 1 : before);
  });
}

test("Descriptors of the sender's process, which another holder asks for, are closed", async () => {
  await using pair = await TestPair.open();
  await pair.server.write(encode("x"));
  await readText(pair.client);
  const libc = libcIfGranted()!;
  const fd = (transportOf(pair.server) as DescriptorTransport).fd!;
  // Before Linux 6.5, the kernel refuses the option, and sends none.
  libc.setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, new Int32Array([1]), 4);
  const before = openDescriptors();
  for (let i = 0; i < 10; i++) {
    await pair.client.write(encode("x"));
    assertEquals(await receive(pair.server).then(({ descriptors }) => descriptors), []);
  }
  await sendDescriptors(pair.client, encode("x"), [0, 1]);
  {
    using received = await receive(pair.server);
    assertEquals(received.descriptors.length, 2);
  }
  assertEquals(openDescriptors(), before);
});

test("An aborted read keeps the descriptors for the next call", async () => {
  await using dir = new TempDir();
  await using pair = await TestPair.open();
  const fd = openFile(dir, "kept");
  const before = openDescriptors();
  for (const isAhead of [true, false]) {
    const aborter = new AbortController();
    const { signal } = aborter;
    const read = receiveDescriptors(pair.server, new Uint8Array(10), { signal });
    aborter.abort(new Error("enough"));
    await assertRejects(() => read, Error, "enough");
    await sendDescriptors(pair.client, encode("abcd"), [fd]);
    if (isAhead) await untilOpen(before + 1);
    // The kernel would pass them with the first byte that is read of the message.
    const received = await receiveDescriptors(pair.server, new Uint8Array(1));
    assertEquals(received?.descriptors.length, 1);
    assertEquals(await readText(pair.server), "bcd");
    received?.descriptors[0]?.close();
    assertEquals(openDescriptors(), before);
  }
  closeSync(fd);
});

test("Descriptors of bytes ahead last until a plain read has passed the last byte", async () => {
  await using pair = await TestPair.open();
  const before = openDescriptors();
  void pair.server.closed;
  await pair.client.write(encode("12"));
  await sendDescriptors(pair.client, encode("34"), [0]);
  await untilOpen(before + 1);
  assertEquals(await pair.server.read(new Uint8Array(1)), 1);
  assertEquals(openDescriptors(), before + 1);
  assertEquals(await pair.server.read(new Uint8Array(8)), 3);
  assertEquals(openDescriptors(), before);
});

test("A connection reads at most one message with descriptors ahead", async () => {
  await using pair = await TestPair.open();
  const before = openDescriptors();
  void pair.server.closed;
  for (let i = 0; i < 20; i++) await sendDescriptors(pair.client, encode("x"), [0, 0, 0, 0]);
  await untilOpen(before + 4);
  for (let i = 0; i < 20; i++) {
    using received = await receive(pair.server);
    assertEquals([received.text, received.descriptors.length], ["x", 4]);
  }
  assertEquals(openDescriptors(), before);
  pair.client.close();
  await pair.server.closed;
});

test("closed resolves when the peer leaves behind a message with descriptors", async () => {
  await using pair = await TestPair.open();
  const before = openDescriptors();
  void pair.server.closed;
  await sendDescriptors(pair.client, encode("x"), [0]);
  await untilOpen(before + 1);
  pair.client.close();
  await pair.server.closed;
  using received = await receive(pair.server);
  assertEquals(received.descriptors.length, 1);
});

test("shutdown() drains clients that have sent descriptors before they are accepted", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const texts: string[] = [];
  const { opened, open } = gate();
  const server = await serve({ path, descriptors: true, maxConnections: 1 }, async (conn) => {
    await opened;
    using received = await receive(conn);
    texts.push(received.text, await contentOf(received.descriptors[0]));
  });
  const clients = await Promise.all(
    [1, 2, 3].map(() => connect({ path, descriptors: true })),
  );
  const fds = clients.map((_, i) => openFile(dir, `${i}`));
  for (const [i, client] of clients.entries()) {
    await sendDescriptors(client, encode("hello"), [fds[i] as number]);
  }
  const shutdown = server.shutdown();
  open();
  assertEquals(await shutdown, { completed: 3, aborted: 0 });
  assertEquals(texts, ["hello", "0", "hello", "1", "hello", "2"]);
  for (const client of clients) client.close();
  fds.forEach(closeSync);
});
