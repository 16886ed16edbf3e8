import { connect, lines, messages, serve, socketpair } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { decode, encode, TempDir, test, turn } from "../_helpers.ts";

test("frameTimeout ends receiving when a message that has begun is not completed", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  await using channel = messages(b, lines(), { frameTimeout: 50 });
  await peer.write(encode("whole\nbeg"));
  assertEquals(await channel.receive(), "whole");
  const error = await assertRejects(() => channel.receive(), Deno.errors.TimedOut);
  assertEquals(
    error.message,
    "Cannot receive from the peer: a message was not complete within 50 ms",
  );
  assertEquals((error as unknown as { code: string }).code, "ETIMEDOUT");
  await peer.write(encode("un\n"));
  assertEquals(await channel.receive().catch((e) => e), error);
  await channel.send("sorry");
  await channel.flush();
  assertEquals(
    decode(
      await new Promise((resolve) => {
        const buffer = new Uint8Array(100);
        peer.read(buffer).then((count) => resolve(buffer.subarray(0, count!)));
      }),
    ),
    "sorry\n",
  );
});

test("frameTimeout counts for a message as a whole, however its pieces come", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  await using channel = messages(b, lines(), { frameTimeout: 100 });
  const timer = setInterval(() => peer.write(encode("x")).catch(() => {}), 10);
  try {
    await assertRejects(() => channel.receive(), Deno.errors.TimedOut);
  } finally {
    clearInterval(timer);
  }
});

test("frameTimeout does not count between messages, nor while no call receives", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  await using channel = messages(b, lines(), { frameTimeout: 40 });
  await peer.write(encode("one\ntw"));
  assertEquals(await channel.receive(), "one");
  await new Promise((resolve) => setTimeout(resolve, 80));
  await peer.write(encode("o\n"));
  assertEquals(await channel.receive(), "two");
  const waiting = channel.receive();
  await new Promise((resolve) => setTimeout(resolve, 80));
  await peer.write(encode("three\n"));
  assertEquals(await waiting, "three");
});

test("draining ends a receive() that waits, between messages", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  const draining = new AbortController();
  await using channel = messages(b, lines(), { draining: draining.signal });
  const waiting = channel.receive();
  draining.abort();
  assertEquals(await waiting, undefined);
  await channel.send("bye");
  await channel.flush();
  const buffer = new Uint8Array(10);
  assertEquals(await peer.read(buffer), 4);
});

test("draining still delivers what has come, and waits for a message that has begun", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  const draining = new AbortController();
  await using channel = messages(b, lines(), { draining: draining.signal });
  await peer.write(encode("one\n"));
  assertEquals(await channel.receive(), "one");
  await peer.write(encode("two\nthr"));
  draining.abort();
  assertEquals(await channel.receive(), "two");
  const third = channel.receive();
  // More than enough turns of the event loop to mistake this for the end.
  await new Promise((resolve) => setTimeout(resolve, 30));
  await peer.write(encode("ee\n"));
  assertEquals(await third, "three");
  assertEquals(await channel.receive(), undefined);
});

test("draining loses nothing that is in the kernel, and ends at once if there is nothing", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  await using channel = messages(b, lines(), { draining: AbortSignal.abort() });
  await peer.write(encode("x\n".repeat(50_000)));
  assertEquals((await Array.fromAsync(channel)).length, 50_000);
});

test("draining ends a server's handlers between two messages", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  const server = await serve(path, async (conn, { draining }) => {
    await using client = messages(conn, lines(), { draining });
    for await (const line of client) await client.send(line);
  });
  await using client = messages(await connect(path), lines());
  await client.send("hello");
  assertEquals(await client.receive(), "hello");
  assertEquals(await server.shutdown(), { completed: 1, aborted: 0 });
  assertEquals(await client.receive(), undefined);
});

test("messages() listens to draining only while it receives, so a server keeps no channel that was left", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  const { signal } = new AbortController();
  let listeners = 0;
  signal.addEventListener = () => void listeners++;
  signal.removeEventListener = () => void listeners--;
  await using channel = messages(b, lines(), { draining: signal });
  const receiving = channel.receive();
  assertEquals(listeners, 1);
  await peer.write(encode("one\n"));
  assertEquals(await receiving, "one");
  await turn();
  assertEquals(listeners, 0);
});
