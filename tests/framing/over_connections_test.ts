import {
  type Codec,
  connect,
  contentLength,
  decodeStream,
  delimited,
  json,
  lengthPrefixed,
  lines,
  listen,
  type Messages,
  messages,
  toConnection,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { encode, TempDir, test } from "../_helpers.ts";
import { type AnyError, assertDocumentedFields, errorOf } from "../errors/_errors.ts";
import { channels, decoded, HELLO, unhex } from "./_framing.ts";

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

const UNDECODABLE: [what: string, bytes: Uint8Array, start: string, state: string][] = [
  ["not a message", unhex("ff 0a"), "a message", "a line of 1 bytes is not UTF-8"],
  [
    "too large",
    encode("12345\n"),
    "a message",
    "it has 5 bytes, and the limit is 4. Raise maxBytes of the codec",
  ],
  [
    "cut short",
    encode("abc"),
    "the last message",
    "the end of file came after 3 bytes. End it with a line feed, or receive it with " +
    "lines({ allowUnterminated: true })",
  ],
];
const RECEIVING: Record<string, (channel: Messages<string>) => Promise<unknown>> = {
  "receive()": (channel) => channel.receive(),
  "an iteration": (channel) => Array.fromAsync(channel),
  "batches()": (channel) => Array.fromAsync(channel.batches()),
};
for (const [what, bytes, start, state] of UNDECODABLE) {
  for (const [name, receive] of Object.entries(RECEIVING)) {
    test(`an error of ${name} about bytes that are ${what} names the peer and its path`, async () => {
      await using dir = new TempDir();
      const path = dir.file("m.sock");
      await using listener = await listen(path);
      const ends = await Promise.all([connect(path), listener.accept()]);
      const peers = [JSON.stringify(path), `a client of ${JSON.stringify(path)}`];
      for (const end of ends) {
        await end.write(bytes);
        await end.closeWrite();
      }
      for (const [i, end] of ends.entries()) {
        await using channel = messages(end, lines({ maxBytes: 4 }));
        const error = await errorOf(() => receive(channel));
        assertEquals(error.message, `Cannot decode ${start} from ${peers[i]}: ${state}`);
        assertEquals([error.operation, error.path], ["decode", path]);
        assert(error.stack?.includes(error.message), error.stack);
        assertDocumentedFields(error);
        // It keeps failing in the same way.
        assertEquals(await errorOf(() => channel.receive()), error);
        if (error instanceof TruncatedMessage) assertEquals(error.rest, bytes);
      }
    });
  }
}

test("the error of a codec keeps its cause, and one of another codec is not changed", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  await using listener = await listen(path);
  const own = new Deno.errors.InvalidData("of my own");
  const codec = json(lines(), (value) => {
    if (value === 1) throw own;
    return value;
  });
  for (
    const [text, check] of [
      ["{", (error: AnyError) => assertInstanceOf(error.cause, SyntaxError)],
      ["1", (error: AnyError) => assert(error as unknown === own)],
    ] as const
  ) {
    const [client, server] = await Promise.all([connect(path), listener.accept()]);
    using _client = client;
    await client.write(encode(`${text}\n`));
    await using channel = messages(server, codec);
    check(await errorOf(() => channel.receive()));
  }
});

test("the errors of decodeStream() name no peer", async () => {
  const bytes = ReadableStream.from([unhex("ff 0a")]).pipeThrough(decodeStream(lines()));
  const error = await errorOf(() => Array.fromAsync(bytes));
  assertEquals(error.message, "Cannot decode a message: a line of 1 bytes is not UTF-8");
  assertEquals([error.operation, error.path], ["decode", null]);
  assertDocumentedFields(error);
});

test("only the end of lines() has a remedy for a message that is cut short", async () => {
  const state = "Cannot decode the last message from the peer: the end of file came after";
  const of = async (codec: Codec<unknown, never>, text: string) =>
    (await decoded(codec, encode(text))).error?.message;
  const remedy = "End it with a line feed, or receive it with lines({ allowUnterminated: true })";
  assertEquals(await of(lines(), "ab"), `${state} 2 bytes. ${remedy}`);
  assertEquals(await of(json(lines()), "ab"), `${state} 2 bytes. ${remedy}`);
  assertEquals(await of(delimited(0), "ab"), `${state} 2 bytes`);
  assertEquals(await of(lengthPrefixed({ prefix: 1 }), "\x05ab"), `${state} 3 of its 6 bytes`);
  assertEquals(await of(contentLength(), "Content"), `${state} 7 bytes`);
});
