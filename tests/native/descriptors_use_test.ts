import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { connect, inherited, listen, NotASocket, pair, serve } from "@uds/uds";
import { type Descriptor, sendDescriptors } from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  decode,
  encode,
  fixture,
  fixturePath,
  gate,
  isPending,
  openDescriptors,
  readAll,
  readText,
  TempDir,
  test,
  untilFull,
} from "../_helpers.ts";
import { contentOf, openFile, receive, TestPair, untilOpen } from "./_descriptors.ts";

test("A Descriptor becomes a file, a connection, a listener", async () => {
  const before = openDescriptors();
  {
    const args = [fixturePath("descriptors_peer.py"), "kinds", "3"];
    await using python = await pair("python3", { args, descriptors: true, stdout: "piped" });
    const { text, descriptors } = await receive(python.conn);
    assertEquals(text, "kinds");
    const [file, pipe, socket, listener, memory] = descriptors as [
      Descriptor,
      Descriptor,
      Descriptor,
      Descriptor,
      Descriptor,
    ];
    assertThrows(() => pipe.toConnection(), NotASocket, "not a connected Unix stream socket");
    assertThrows(() => listener.toConnection(), NotASocket);
    // The position is that of the sender.
    assertEquals(await contentOf(file), "file without a name");
    assertEquals(await contentOf(pipe), "a pipe");
    using shared = memory.toFile();
    const content = new Uint8Array(100);
    assertEquals(decode(content.subarray(0, shared.readSync(content) ?? 0)), "shared memory");
    {
      await using conn = socket.toConnection();
      assertThrows(() => socket.fd, Deno.errors.BadResource, "it has become a connection");
      assertEquals(await readText(conn), "from python");
      await conn.write(encode("from deno"));
    }
    const server = await listen({ fd: listener.detach() });
    server.accept().then(async (conn) => {
      await conn.write(encode("served by deno"));
      conn.close();
    });
    const output = await new Response(python.stdout).text();
    assertEquals(output, "from deno\nend\nserved by deno\n");
    await server.close();
  }
  await untilOpen(before);
}, { needs: ["python3"] });

test("A Descriptor is passed to a child, and closed by its owner", async () => {
  await using dir = new TempDir();
  await using sockets = await TestPair.open();
  const fd = openFile(dir, "for a child");
  await sendDescriptors(sockets.client, encode("x"), [fd]);
  closeSync(fd);
  using received = await receive(sockets.server);
  const [descriptor] = received.descriptors;
  assert(descriptor !== undefined);
  const cat = spawn("cat", { stdio: [descriptor.fd, "pipe", "inherit"] });
  let text = "";
  for await (const chunk of cat.stdout!) text += chunk;
  assertEquals(text, "for a child");
  descriptor.close();
  descriptor.close();
  assertThrows(() => descriptor.fd, Deno.errors.BadResource, "it was closed");
  assertThrows(() => descriptor.toFile(), Deno.errors.BadResource);
  assertThrows(() => descriptor.detach(), Deno.errors.BadResource);
  await assertRejects(
    () => sendDescriptors(sockets.client, encode("x"), [descriptor]),
    Deno.errors.BadResource,
  );
});

test("A connection that is sent goes on at the receiver when the sender closes it", async () => {
  await using dir = new TempDir();
  await using sockets = await TestPair.open();
  const before = openDescriptors();
  const path = dir.file("b.sock");
  {
    // What a balancer does: accept here, serve there.
    await using _server = await serve({ path, descriptors: true }, async (conn) => {
      await sendDescriptors(sockets.client, encode("c"), [conn]);
    });
    await using client = await connect(path);
    using received = await receive(sockets.server);
    await using conn = received.descriptors[0]!.toConnection();
    assertEquals(conn.localAddr.path, path);
    await client.write(encode("question"));
    assertEquals(await readText(conn), "question");
    await conn.write(encode("answer"));
    assertEquals(await readText(client), "answer");
    await client.closeWrite();
    assertEquals(await readText(conn), null);
  }
  await untilOpen(before);
});

test("A Descriptor that was detached is taken over by inherited()", async () => {
  await using dir = new TempDir();
  await using sockets = await TestPair.open();
  const path = dir.file("b.sock");
  await using _server = await serve(path, async (conn) => {
    await conn.write(encode("hello"));
  });
  await using other = await connect({ path, descriptors: true });
  await sendDescriptors(sockets.client, encode("c"), [other]);
  using received = await receive(sockets.server);
  await using conn = inherited({ fd: received.descriptors[0]!.detach(), descriptors: true });
  assertEquals(await readText(conn), "hello");
});

test("toFile() names the permission that it needs, and leaves the descriptor open", async () => {
  await using sockets = await TestPair.open();
  await sendDescriptors(sockets.client, encode("x"), [0]);
  using received = await receive(sockets.server);
  const [descriptor] = received.descriptors;
  assertThrows(() => descriptor?.toFile(), Deno.errors.NotCapable, "--allow-read=/dev/null");
  assertEquals(typeof descriptor?.fd, "number");
}, {
  permissions: { read: ["/tmp"], write: ["/tmp"], net: true, env: true, ffi: true, sys: true },
});

test("toFile() in several threads at once finds the file of each descriptor", async () => {
  await using program = fixture("descriptors_files.ts", ["-A"]);
  assertEquals(await program.output(), ["0 wrong"]);
});

test("A pending receiveDescriptors() keeps the process alive, unless unref() was called", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const { opened, open } = gate();
  // The first client leaves without a byte.
  await using _server = await serve({ path, onError() {} }, async (conn) => {
    await opened;
    await conn.write(encode("x"));
  });
  const start = (mode: string) => fixture("descriptors_unref.ts", ["-A"], [path, mode]);
  await using unrefed = start("unref");
  assertEquals(await unrefed.output(), ["waiting"]);
  assertEquals((await unrefed.status).code, 0);
  await using refed = start("ref");
  assertEquals(await refed.line(), "waiting");
  assert(await isPending(refed.status));
  open();
  assertEquals(await refed.output(), ["1"]);
  assertEquals((await refed.status).code, 0);
});

test("sendDescriptors() rejects if the buffer is detached when half is sent, and closes", async () => {
  await using ends = await TestPair.open();
  const data = new Uint8Array(1_000_000);
  const sending = sendDescriptors(ends.client, data, [0]);
  sending.catch(() => {});
  await untilFull(ends.client);
  data.buffer.transfer();
  {
    using received = await receive(ends.server);
    assertEquals(received.descriptors.length, 1);
  }
  await readAll(ends.server);
  const message = "its buffer was detached or resized while it was written";
  await assertRejects(() => sending, TypeError, message);
  await ends.client.closed;
});
