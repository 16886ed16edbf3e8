import {
  type ByteWriter,
  ConnectionClosed,
  lengthPrefixed,
  lines,
  type Messages,
  messages,
  socketpair,
} from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { decode, fixture, pseudoRandom, TempDir, test, within } from "../_helpers.ts";
import { channels, decoded, equalBytes, HELLO, Pieces } from "./_framing.ts";

test("send() puts all messages of a turn into one write, in order", async () => {
  const conn = new Pieces();
  const channel = messages(conn, lines());
  const all: Promise<void>[] = [];
  for (let i = 0; i < 100; i++) all.push(channel.send(`${i}`));
  await Promise.all(all);
  await channel.flush();
  const expected = Array.from({ length: 100 }, (_, i) => `${i}\n`).join("");
  assertEquals(conn.written.map(decode), [expected]);
});

test("send() awaited each time makes few writes", async () => {
  const conn = new Pieces();
  const channel = messages(conn, lines());
  for (let i = 0; i < 1000; i++) await channel.send(`${i}`);
  await channel.flush();
  assert(conn.written.length <= 3, `${conn.written.length} writes`);
});

test("send() resolves while less than maxPending bytes wait, and then when the peer reads", async () => {
  const [a, b] = await socketpair();
  await using channel = messages(a, lengthPrefixed(), { maxPending: 100_000 });
  const message = new Uint8Array(10_000);
  let sent = 0;
  let stopped = false;
  const sending = (async () => {
    while (sent < 200) {
      await channel.send(message);
      sent++;
    }
  })();
  // The kernel and the channel are full when nothing more is sent in a while.
  for (let last = -1; last !== sent;) {
    last = sent;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  stopped = sent < 200;
  assert(stopped, "there is no backpressure");
  // At most maxPending bytes and one message wait, beside what the kernel takes.
  assert(sent * 10_004 < 100_000 + 10_004 + 512 * 1024, `${sent}`);
  await using receiver = messages(b, lengthPrefixed());
  for (let i = 0; i < 200; i++) assertEquals((await receiver.receive())?.length, 10_000);
  await sending;
});

test("send() of a large message resolves when the kernel has it, and copies nothing", async () => {
  const large = new Uint8Array(300_000).fill(1);
  const buffers = new Set<ArrayBufferLike>();
  const conn = new Pieces();
  const write = conn.write.bind(conn);
  conn.write = (data) => {
    buffers.add(data.buffer);
    return write(data);
  };
  const channel = messages(conn, lengthPrefixed());
  const sending = channel.send(large);
  await channel.send(HELLO);
  await sending;
  assert(buffers.has(large.buffer));
  await channel.flush();
  assertEquals((await decoded(lengthPrefixed(), conn.bytes)).values, [large, HELLO]);
});

test("send() works over a write that takes only a part, such as Deno's own", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  using listener = Deno.listen({ transport: "unix", path });
  const [client, server] = await Promise.all([
    Deno.connect({ transport: "unix", path }),
    listener.accept(),
  ]);
  const data = pseudoRandom(3_000_000, 1);
  await using ours = messages(client, lengthPrefixed());
  await using theirs = messages(server, lengthPrefixed());
  const sending = ours.send(data);
  assert(equalBytes((await theirs.receive())!, data));
  await sending;
  await ours.closeWrite();
  assertEquals(await theirs.receive(), undefined);
});

test("a write() or read() that makes no progress is refused instead of repeated", async () => {
  for (const count of [0, -1, 7, NaN, undefined]) {
    const conn = {
      read: () => Promise.resolve(count as number),
      write: () => Promise.resolve(count as number),
    };
    const channel = messages(conn, lengthPrefixed({ prefix: 1 }));
    channel.send(HELLO);
    await assertRejects(() => channel.flush(), TypeError, "invalid connection: write() gave");
    if (count !== 7) {
      await assertRejects(() => channel.receive(), TypeError, "Invalid connection: read() gave");
    }
  }
});

test("a failing write rejects with everything that was not sent, then each call does", async () => {
  const { a, b, ours } = await channels(lines());
  b.close();
  await using _ = a;
  ours.send("one");
  ours.send("two");
  const error = await assertRejects(() => ours.flush(), Deno.errors.BrokenPipe);
  assertEquals(decode((error as unknown as { unsent: Uint8Array }).unsent), "one\ntwo\n");
  assert(error.message.endsWith("and 8 bytes of messages were not sent"), error.message);
  assertEquals((error as unknown as { operation: string }).operation, "send");
  assertEquals((error as unknown as { code: string }).code, "EPIPE");
  assertEquals(await ours.send("three").catch((e) => e), error);
  assertEquals(await ours.flush().catch((e) => e), error);
  assertEquals(await ours.closeWrite().catch((e) => e), error);
  // The loss has been reported.
  await ours[Symbol.asyncDispose]();
});

test("disposal rejects when messages were lost and no call has reported it", async () => {
  const { b, ours } = await channels(lines());
  b.close();
  await ours.send("one");
  await assertRejects(() => ours[Symbol.asyncDispose](), Deno.errors.BrokenPipe, "4 bytes");
  // The second disposal does not repeat it.
  await ours[Symbol.asyncDispose]();
});

test("disposal is silent where receive() has reported that the connection is gone", async () => {
  const { b, ours } = await channels(lines());
  await ours.send("unread");
  await ours.flush();
  b.close();
  await assertRejects(() => ours.receive(), Deno.errors.ConnectionReset);
  await ours[Symbol.asyncDispose]();
});

test("disposal writes what was sent first", async () => {
  const { ours, theirs } = await channels(lines());
  {
    await using channel = ours;
    for (let i = 0; i < 50_000; i++) channel.send(`${i}`);
    const receiving = (async () => {
      for (let i = 0; i < 50_000; i++) assertEquals(await theirs.receive(), `${i}`);
    })();
    receiving.catch(() => {});
  }
  theirs.close();
});

test("disposal refuses what is sent while it waits, which could be lost", async () => {
  const { a, b, ours, theirs } = await channels(lines());
  ours.send("x".repeat(500_000));
  const disposal = ours[Symbol.asyncDispose]();
  for (const late of [ours.send("late"), ours.closeWrite()]) {
    await assertRejects(() => late, ConnectionClosed, "close() was called on this side");
  }
  assertEquals((await theirs.receive())?.length, 500_000);
  assertEquals(await theirs.receive(), undefined);
  await disposal;
  a.close();
  b.close();
});

test("disposals at the same time all end when everything is written", async () => {
  const { b, ours } = await channels(lines());
  ours.send("last");
  await within(2000, Promise.all([ours[Symbol.asyncDispose](), ours[Symbol.asyncDispose]()]));
  b.close();
});

test("disposal stops waiting for a peer that does not read", async () => {
  const { ours, theirs } = await channels(lengthPrefixed());
  for (let i = 0; i < 20; i++) await ours.send(new Uint8Array(50_000));
  const start = performance.now();
  const error = await assertRejects(
    () => ours[Symbol.asyncDispose](),
    Deno.errors.TimedOut,
    "did not read for 5000 ms",
  );
  assert(performance.now() - start < 8000);
  assert((error as unknown as { unsent: Uint8Array }).unsent.length > 500_000);
  theirs.close();
});

test("close() rejects pending sends, with the lost bytes", async () => {
  const { ours, theirs } = await channels(lengthPrefixed(), { maxPending: 1000 });
  const large = ours.send(new Uint8Array(1_000_000));
  const small = ours.send(new Uint8Array(500));
  const receiving = ours.receive();
  receiving.catch(() => {});
  ours.close();
  ours.close();
  for (const waiting of [large, small]) {
    const error = await assertRejects(() => waiting, ConnectionClosed, "bytes were not sent");
    assert(error.unsent!.length >= 1_000_508 - 64 * 1024);
  }
  const error = await assertRejects(() => receiving, ConnectionClosed);
  assertEquals([error.operation, error.path], ["receive", null]);
  await assertRejects(() => ours.send(HELLO), ConnectionClosed);
  await assertRejects(() => ours.receive(), ConnectionClosed);
  await assertRejects(() => ours.closeWrite(), ConnectionClosed);
  await ours[Symbol.asyncDispose]();
  theirs.close();
});

test("a send() that rejects unawaited does not end the process", async () => {
  const program = fixture("messages_unawaited.ts", ["--allow-net", "--allow-sys"]);
  await using running = program;
  assertEquals(await running.output(), ["still here"]);
  assertEquals([(await running.status).code, await running.stderr()], [0, ""]);
});

test("send() resolves where maxPending is undefined, as without it", async () => {
  const [a, b] = await socketpair();
  using _peer = b;
  await using conn = messages(a, lines(), { maxPending: undefined as never });
  await within(1000, conn.send("hello"));
});

test("disposal while the codec encodes rejects with the reason, and at once", async () => {
  const [a, b] = await socketpair();
  using _peer = b;
  let disposal: PromiseLike<void> | undefined;
  const conn: Messages<number> = messages(a, {
    maxBytes: 1,
    encode(message: number, out: ByteWriter) {
      out.byte(message);
      if (message === 0) return;
      disposal = conn[Symbol.asyncDispose]();
      disposal.then(undefined, () => {});
    },
    decode: () => undefined,
  });
  conn.send(0);
  conn.send(1).catch(() => {});
  await within(
    1000,
    assertRejects(async () => await disposal, TypeError, "its codec is still encoding"),
  );
  conn.close();
});

for (const half of [true, false]) {
  const when = half ? "half of it is sent" : "any of it is sent";
  test(`send() of a large message rejects if its buffer is detached before ${when}`, async () => {
    const [a, b] = await socketpair();
    using _peer = b;
    await using channel = messages(a, lengthPrefixed());
    const first = half ? Promise.resolve() : channel.send(new Uint8Array(2_000_000));
    first.catch(() => {});
    const message = new Uint8Array(1_000_000);
    const sending = channel.send(message);
    const flushing = channel.flush();
    flushing.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 20));
    message.buffer.transfer();
    const received: number[] = [];
    const reading = (async () => {
      await using receiver = messages(b, lengthPrefixed());
      for await (const { length } of receiver) received.push(length);
    })().catch((error) => error);
    const error = await assertRejects(() => sending, TypeError);
    assert(error.message.includes("its buffer was detached or resized while it was written"));
    await assertRejects(() => flushing, TypeError);
    await assertRejects(() => channel.send(new Uint8Array(1)), TypeError);
    a.close();
    await reading;
    assertEquals(received, half ? [] : [2_000_000]);
  });
}

/** Sends more than the kernel takes, and detaches the buffer of a message that waits or is sent. */
async function detachWhileSent(channel: Messages<Uint8Array>, isFirst: boolean) {
  const all = [new Uint8Array(1_000_000), new Uint8Array(1_000_000)];
  const sending = Promise.allSettled(all.map((message) => channel.send(message)));
  await new Promise((resolve) => setTimeout(resolve, 20));
  all[isFirst ? 0 : 1]!.buffer.transfer();
  return sending;
}

for (const isFirst of [true, false]) {
  const which = isFirst ? "the message that is sent" : "a message that waits";
  const end: Record<string, (channel: Messages<Uint8Array>) => unknown> = {
    "close()": (channel) => channel.close(),
    "detach()": (channel) => channel.detach(),
  };
  for (const [name, leave] of Object.entries(end)) {
    test(`${name} rejects each send() although the buffer of ${which} is detached`, async () => {
      const [a, b] = await socketpair();
      using _peer = b;
      using _conn = a;
      const channel = messages(a, lengthPrefixed());
      const sending = detachWhileSent(channel, isFirst);
      await new Promise((resolve) => setTimeout(resolve, 40));
      assert(channel.pending > 1_000_000, `${channel.pending}`);
      leave(channel);
      const reading = b.readable.pipeTo(new WritableStream()).catch(() => {});
      const results = await within(2000, sending);
      assertEquals(results.map(({ status }) => status), ["rejected", "rejected"]);
      a.close();
      await reading;
    });
  }
}

test("writeTimeout closes a channel although the buffer that is sent is detached", async () => {
  const [a, b] = await socketpair();
  using _peer = b;
  const channel = messages(a, lengthPrefixed(), { writeTimeout: 60 });
  const results = await within(2000, detachWhileSent(channel, true));
  for (const result of results) {
    assert(result.status === "rejected" && result.reason instanceof Deno.errors.TimedOut);
  }
  channel.close();
});
