import {
  type ByteChannel,
  type Codec,
  type Connection,
  ConnectionClosed,
  json,
  lengthPrefixed,
  lines,
  type Messages,
  messages,
  socketpair,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  decode,
  encode,
  isPending,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  test,
  turn,
  untilFull,
} from "../_helpers.ts";
import { assertSameBytes } from "../connection/_connection.ts";
import { concat, equalBytes, HELLO, unhex } from "./_framing.ts";

/** Returns the two ends of a TCP connection, which are not connections of this package. */
async function tcpPair(): Promise<[Deno.TcpConn, Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = listener.accept();
  const { hostname, port } = listener.addr as Deno.NetAddr;
  return [await Deno.connect({ hostname, port }), await accepting];
}

/** Two ends of each kind of channel that messages can be detached from. */
const PAIRS: Record<string, () => Promise<[Connection | Deno.Conn, Connection | Deno.Conn]>> = {
  "a connection": socketpair,
  "a Deno.Conn": tcpPair,
};

// What follows the line in these bytes: more lines, bytes that are not UTF-8, a part of a line.
const SWITCH = concat(
  encode("GO\n"),
  unhex("00000003 0a0a0a 00000002 fffe 00000000 00000004 41420a43"),
);
const BODIES = [encode("\n\n\n"), unhex("fffe"), new Uint8Array(0), encode("AB\nC")];

for (const [kind, pair] of Object.entries(PAIRS)) {
  test(`detach() from ${kind} switches codecs both ways, wherever the bytes are split`, async () => {
    for (let split = 0; split <= SWITCH.length; split++) {
      const [a, b] = await pair();
      const asking = messages(a, lines());
      const answering = messages(b, lines());
      const sending = (async () => {
        await a.write(SWITCH.subarray(0, split));
        await turn();
        await a.write(SWITCH.subarray(split));
      })();
      assertEquals(await answering.receive(), "GO");
      await answering.send("OK");
      await using server = messages(answering.detach(), lengthPrefixed());
      const answers = Promise.all(BODIES.map(async () => {
        await server.send((await server.receive())!);
      }));
      await sending;
      assertEquals(await asking.receive(), "OK");
      await using client = messages(asking.detach(), lengthPrefixed());
      for (const body of BODIES) assertEquals(await client.receive(), body);
      await answers;
      await client.closeWrite();
      assertEquals(await server.receive(), undefined);
    }
  });

  test(
    `detach() from ${kind} keeps every byte behind the last message, however it was received`,
    async () => {
      const part = fc.oneof(
        fc.constantFrom("GO\n", "\n", "a", "\r\n").map(encode),
        fc.uint8Array({ maxLength: 20 }),
      );
      const wholes = fc.array(fc.stringMatching(/^[a-z]{0,5}$/), { maxLength: 6 });
      await fc.assert(
        fc.asyncProperty(
          wholes,
          fc.array(part, { maxLength: 8 }),
          fc.nat(60),
          fc.constantFrom("receive", "iterate", "abort"),
          fc.boolean(),
          async (before, after, cut, way, reuse) => {
            const [a, b] = await pair();
            const rest = concat(...after);
            const bytes = concat(...before.map((line) => encode(`${line}\n`)), rest);
            const at = Math.min(cut, bytes.length);
            const sending = (async () => {
              await a.write(bytes.subarray(0, at));
              await turn();
              await a.write(bytes.subarray(at));
              await a.closeWrite();
            })();
            const channel = messages(b, lines(), { reuse });
            for (const line of before) {
              if (way === "iterate") {
                for await (const received of channel) {
                  assertEquals(received, line);
                  break;
                }
              } else assertEquals(await channel.receive(), line);
            }
            const received: (string | undefined)[] = [];
            if (way === "abort") {
              // Its read outlives the call.
              const controller = new AbortController();
              const receiving = channel.receive({ signal: controller.signal });
              controller.abort();
              await receiving.then((line) => received.push(line), () => {});
            }
            using conn = channel.detach();
            const left = await readAll(conn);
            if (received.length === 0) assertEquals(left, rest);
            await sending;
            a.close();
          },
        ),
        { numRuns: 300 },
      );
    },
    { deadline: 30_000 },
  );

  test(`detach() from ${kind} returns what was read at once, and then what a pending read brings`, async () => {
    const [a, b] = await pair();
    const channel = messages(b, lines());
    const receiving = channel.receive();
    const iterating = channel[Symbol.asyncIterator]().next();
    await a.write(encode("half"));
    assert(await isPending(receiving));
    using conn = channel.detach();
    await assertRejects(() => receiving, ConnectionClosed, "detach() was called on this side");
    assertEquals(await iterating, { value: undefined, done: true });
    assertEquals(await readText(conn), "half");
    const reading = readText(conn);
    assert(await isPending(reading));
    const behind = readText(conn);
    await a.write(encode("more"));
    assertEquals(await reading, "more");
    await a.write(encode("and more"));
    assertEquals(await behind, "and more");
    a.close();
    assertEquals(await readText(conn), null);
  });

  test(`detach() from ${kind}, and a disposal at once, lose nothing that was sent`, async () => {
    const text = encode("x".repeat(MIB) + "\n");
    for (
      const used of [(conn: Connection) => conn, (conn: Connection) => messages(conn, lines())]
    ) {
      const [a, b] = await pair();
      const channel = messages(a, lines());
      channel.send("x".repeat(MIB));
      const disposal = used(channel.detach())[Symbol.asyncDispose]();
      assertSameBytes(await readAll(b), text);
      await disposal;
      b.close();
    }
  });

  test(`detach() from ${kind} leaves what was sent in front of what is written then`, async () => {
    const [a, b] = await pair();
    const channel = messages(a, lengthPrefixed({ prefix: 1 }));
    const sent = [...Array(20_000)].map((_, i) => pseudoRandom(100 + i % 100, i + 1));
    const sending = sent.map((message) => channel.send(message));
    const flushing = channel.flush();
    const conn = channel.detach();
    const raw = pseudoRandom(300_000, 5);
    const writing = (async () => {
      await Promise.all([conn.write(raw.subarray(0, 1000)), conn.write(raw.subarray(1000))]);
      await conn.closeWrite();
    })();
    const received = await readAll(b);
    const expected = concat(...sent.flatMap((m) => [new Uint8Array([m.length]), m]), raw);
    assert(equalBytes(received, expected));
    await Promise.all([...sending, flushing, writing]);
    conn.close();
    b.close();
  });
}

test("detach() returns the connection itself, and the messages refuse everything from then on", async () => {
  const [a, b] = await socketpair();
  const channel: Messages<string> = messages(a, lines());
  {
    await using detached = channel;
    assertEquals(detached.detach(), a);
    const calls: Record<string, () => Promise<unknown>> = {
      send: () => channel.send("x"),
      flush: () => channel.flush(),
      closeWrite: () => channel.closeWrite(),
      receive: () => channel.receive(),
    };
    for (const [name, call] of Object.entries(calls)) {
      const error = await assertRejects(call, ConnectionClosed);
      const verb = name === "receive" ? "receive from" : "send to";
      assertEquals(error.message, `Cannot ${verb} the peer: detach() was called on this side`);
    }
    assertEquals(await Array.fromAsync(channel), []);
    assertEquals(await Array.fromAsync(channel.batches()), []);
    const error = assertThrows(() => channel.detach(), ConnectionClosed);
    assertEquals(error.message, "Cannot detach from the peer: detach() was called on this side");
    assertEquals(error.operation, "detach");
    channel.close();
  }
  // It is open.
  await a.write(HELLO);
  assertEquals(await readText(b), "hello");
  a.close();
  b.close();
});

test("detach() is refused after close(), and after a disposal", async () => {
  const [a, b] = await socketpair();
  using _peer = b;
  const channel = messages(a, lines());
  await channel[Symbol.asyncDispose]();
  assertThrows(() => channel.detach(), ConnectionClosed, "close() was called on this side");
});

test("detach() after closeWrite() returns a connection that has ended its direction", async () => {
  for (const pair of Object.values(PAIRS)) {
    const [a, b] = await pair();
    const channel = messages(a, lines());
    channel.send("last");
    const ending = channel.closeWrite();
    const conn = channel.detach();
    await assertRejects(() => conn.write(HELLO), ConnectionClosed, "closeWrite() was called");
    await ending;
    assertEquals(decode(await readAll(b)), "last\n");
    await b.write(HELLO);
    assertEquals(await readText(conn), "hello");
    conn.close();
    b.close();
  }
});

test("detach() after an end of file within a message returns its beginning, and then the end", async () => {
  const [a, b] = await socketpair();
  await a.write(encode("one\nhalf"));
  await a.closeWrite();
  const channel = messages(b, lines({ allowUnterminated: true }));
  assertEquals(await channel.receive(), "one");
  using conn = channel.detach();
  assertEquals(decode(await readAll(conn)), "half");
  a.close();
});

test("detach() after the last line of a file was received returns nothing more", async () => {
  const [a, b] = await socketpair();
  await a.write(encode("one\nlast"));
  await a.closeWrite();
  const channel = messages(b, lines({ allowUnterminated: true }));
  assertEquals([await channel.receive(), await channel.receive()], ["one", "last"]);
  using conn = channel.detach();
  assertEquals(await readText(conn), null);
  a.close();
});

test("detach() after receiving has failed returns the bytes that the codec refused", async () => {
  const [a, b] = await socketpair();
  await a.write(concat(encode("1\nx\n"), unhex("ff")));
  const channel = messages(b, json<number>(lines()));
  assertEquals(await channel.receive(), 1);
  await assertRejects(() => channel.receive(), Deno.errors.InvalidData);
  using conn = channel.detach();
  a.close();
  assertEquals(await readAll(conn), concat(encode("x\n"), unhex("ff")));
});

test("detach() stops frameTimeout, writeTimeout and draining", async () => {
  const [a, b] = await socketpair();
  const controller = new AbortController();
  const channel = messages(a, lines(), {
    frameTimeout: 1000,
    writeTimeout: 1000,
    draining: controller.signal,
  });
  await b.write(encode("half"));
  const receiving = channel.receive();
  assert(await isPending(receiving));
  const sending = channel.send("x".repeat(2_000_000));
  await untilFull(a);
  const conn = channel.detach();
  await assertRejects(() => receiving, ConnectionClosed);
  controller.abort();
  await new Promise((resolve) => setTimeout(resolve, 1300));
  assert(await isPending(conn.closed));
  const reading = readAll(b);
  await sending;
  await conn.closeWrite();
  assertEquals((await reading).length, 2_000_001);
  assertEquals(await readText(conn), "half");
  conn.close();
  b.close();
});

test("detach() reports to a send that waits what was not sent", async () => {
  for (const pair of Object.values(PAIRS)) {
    const [a, b] = await pair();
    const channel = messages(a, lengthPrefixed({ maxBytes: 20_000_000 }));
    const body = pseudoRandom(20_000_000, 1);
    const sending = channel.send(body.subarray(0, 19_000_000));
    const next = channel.send(body.subarray(19_000_000));
    for (let i = 0; i < 20; i++) await turn();
    const conn = channel.detach();
    b.close();
    for (const promise of [sending, next]) {
      const { unsent } = await promise.then(() => ({}), (error) => error);
      assertInstanceOf(unsent, Uint8Array);
      assert(unsent.length > 2_000_000);
      assert(equalBytes(unsent.subarray(-900_000), body.subarray(-900_000)));
    }
    await assertRejects(() => conn.write(HELLO), Error);
    conn.close();
  }
});

test("detach() of a channel without other methods, and with a read that fails later", async () => {
  const failing = Promise.withResolvers<number>();
  const channel: ByteChannel = {
    read: () => failing.promise,
    write: (data) => Promise.resolve(Math.min(3, data.length)),
  };
  const received = messages(channel, lines());
  const receiving = received.receive();
  const conn = received.detach();
  await assertRejects(() => receiving, ConnectionClosed);
  assertEquals([conn.localAddr, conn.remoteAddr], Array(2).fill({ transport: "unix", path: null }));
  assertEquals(await conn.write(HELLO), 5);
  conn.unref();
  conn.ref();
  failing.reject(new Deno.errors.ConnectionReset("gone"));
  await assertRejects(() => readText(conn), Deno.errors.ConnectionReset);
  conn.close();
});

test("detach() within decode() returns the bytes of the messages that nothing has received", async () => {
  let conn: Connection | undefined;
  const codec = json(lines(), (value) => {
    if (value === 2) conn ??= channel.detach();
    return value as number;
  });
  const [a, b] = await socketpair();
  const channel: Messages<number> = messages(b, codec);
  await a.write(encode("1\n2\n3\n"));
  await assertRejects(() => channel.receive(), ConnectionClosed);
  a.close();
  assertEquals(decode(await readAll(conn!)), "1\n2\n3\n");
  conn!.close();
});

test("detach() within encode() is refused", async () => {
  const codec: Codec<string> = {
    ...lines(),
    encode: () => void channel.detach(),
  };
  const [a, b] = await socketpair();
  const channel: Messages<string> = messages(a, codec);
  await assertRejects(
    () => channel.send("x"),
    TypeError,
    "its codec is still encoding another one",
  );
  channel.close();
  b.close();
});
