import { connect, json, lengthPrefixed, lines, listen, messages, toConnection } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";
import { channels, HELLO } from "./_framing.ts";

test("messages() works over listen(), connect() and toConnection()", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  await using listener = await listen(path);
  for (
    const open of [
      () => connect(path),
      async () => toConnection(await Deno.connect({ transport: "unix", path })),
    ]
  ) {
    const [client, server] = await Promise.all([open(), listener.accept()]);
    await using ours = messages(client, json<number>(lines()));
    await using theirs = messages(server, json<number>(lines()));
    for (let i = 0; i < 5000; i++) ours.send(i);
    await ours.closeWrite();
    let next = 0;
    for await (const batch of theirs.batches()) {
      for (const value of batch) assertEquals(value, next++);
    }
    assertEquals(next, 5000);
  }
});

test("receive() returns what the peer sent before it reset the connection", async () => {
  const { b, ours, theirs } = await channels(lines());
  await theirs.send("last words");
  await theirs.flush();
  await ours.send("never read");
  await ours.flush();
  b.close();
  assertEquals(await ours.receive(), "last words");
  const error = await assertRejects(() => ours.receive(), Deno.errors.ConnectionReset);
  assertEquals(await ours.receive().catch((e) => e), error);
  ours.close();
});

test("the errors of send() name the path", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  await using listener = await listen(path);
  const channel = messages(await connect(path), lines());
  (await listener.accept()).close();
  channel.send("x");
  const error = await assertRejects(() => channel.flush(), Deno.errors.BrokenPipe);
  assertEquals(
    error.message,
    `Cannot send to "${path}": the peer has closed the connection, and 2 bytes of messages were ` +
      "not sent",
  );
  assertEquals((error as unknown as { path: string }).path, path);
  channel.close();
});

test("an idle channel holds no memory for what it sent", async () => {
  const all = await Promise.all(Array.from({ length: 50 }, () => channels(lengthPrefixed())));
  const before = Deno.memoryUsage().external;
  for (const { ours, theirs } of all) {
    ours.send(HELLO);
    assertEquals(await theirs.receive(), HELLO);
  }
  // A block of 64 KiB each would be 3 MiB; a chunk for reading has 16 KiB and a page.
  assert(Deno.memoryUsage().external - before < 50 * 32 * 1024 + 16 * 80 * 1024);
  for (const { ours, theirs } of all) {
    ours.close();
    theirs.close();
  }
});
