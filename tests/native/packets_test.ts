import { ConnectionClosed, isSocketError, MessageTooLarge } from "@uds/uds";
import { socketpair } from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { decode, encode, openDescriptors, test } from "../_helpers.ts";
import { assertSame, Ends, fill, MAX_BYTES, packet, receiveAll, SIZES, TYPES } from "./_packets.ts";

for (const type of TYPES) {
  // Sizes -----------------------------------------------------------------------------------------

  for (const bytes of SIZES) {
    for (const isLate of [false, true]) {
      const reader = isLate ? "a reader that comes later" : "a reader that waits";
      test(`PacketSocket: ${type} packets of ${bytes} bytes reach ${reader} whole`, async () => {
        using ends = new Ends(type);
        const { a, b } = ends;
        const receiving = isLate ? undefined : b.receive();
        await a.send(packet(bytes));
        assertSame(await (receiving ?? b.receive()), packet(bytes));
        // The other direction, and small ones around it.
        const sizes = [3, bytes, 0, 5];
        const sending = Promise.all(sizes.map((size, i) => b.send(packet(size, i))));
        for (const [i, size] of sizes.entries()) assertSame(await a.receive(), packet(size, i));
        await sending;
      });
    }
  }

  test(`PacketSocket.send() refuses a ${type} packet above the limit, and goes on`, async () => {
    using ends = new Ends(type);
    const { a, b } = ends;
    assertEquals(a.maxPacketBytes, MAX_BYTES);
    const error = await assertRejects(() => a.send(packet(MAX_BYTES + 1)), MessageTooLarge);
    assertEquals([error.size, error.limit, error.code], [MAX_BYTES + 1, MAX_BYTES, "EMSGSIZE"]);
    assertEquals([error.operation, error.path], ["send", null]);
    await a.send(encode("next"));
    assertEquals(decode((await b.receive())!), "next");
  });

  test(`PacketSocket.receive() refuses a ${type} packet above the limit, and goes on`, async () => {
    using ends = new Ends(type, 100);
    const { a, b } = ends;
    using large = new Ends(type, 400_000);
    assertEquals([a.maxPacketBytes, large.a.maxPacketBytes], [100, 400_000]);
    await large.a.send(packet(400_000));
    assertSame(await large.b.receive(), packet(400_000));
    await assertRejects(() => a.send(packet(101)), MessageTooLarge);
    await a.send(packet(100));
    assertSame(await b.receive(), packet(100));
  });

  test(`PacketSocket: a send buffer of the system's limit bounds ${type} packets`, async () => {
    using ends = new Ends(type, 20_000_000);
    const error = await assertRejects(
      () => ends.a.send(new Uint8Array(20_000_000)),
      MessageTooLarge,
    );
    assertEquals(error.size, 20_000_000);
    assert(error.limit > MAX_BYTES && error.limit < 20_000_000, String(error.limit));
    await ends.a.send(packet(500_000));
    assertSame(await ends.b.receive(), packet(500_000));
  });

  // Order and backpressure ------------------------------------------------------------------------

  test(`PacketSocket: ${type} packets of several senders keep their order`, async () => {
    using ends = new Ends(type);
    const { a, b } = ends;
    const COUNT = 1000;
    const number = (i: number) => new Uint8Array(new Uint32Array([i]).buffer);
    const sending = Promise.all(Array.from({ length: COUNT }, (_, i) => a.send(number(i))));
    for (let i = 0; i < COUNT; i++) assertEquals(await b.receive(), number(i));
    await sending;
  });

  test(`PacketSocket: receives of ${type} packets are served in their order`, async () => {
    using ends = new Ends(type);
    const receiving = Promise.all(Array.from({ length: 100 }, () => ends.b.receive()));
    for (let i = 0; i < 100; i++) await ends.a.send(Uint8Array.of(i));
    assertEquals(
      (await receiving).map((packet) => packet![0]),
      Array.from({ length: 100 }, (_, i) => i),
    );
  });

  test(`PacketSocket.send() of ${type} packets waits for a reader that is late`, async () => {
    using ends = new Ends(type);
    const { a, b } = ends;
    const { count, waiting } = await fill(a, packet(1000));
    assert(count > 20 && count < 300, String(count));
    for (let i = 0; i <= count; i++) assertSame(await b.receive(), packet(1000));
    await waiting;
  });

  test(`PacketSocket: what an aborted ${type} send was for is not sent`, async () => {
    using ends = new Ends(type);
    const { a, b } = ends;
    const { count, waiting } = await fill(a, packet(1000));
    const controller = new AbortController();
    const aborted = a.send(encode("aborted"), { signal: controller.signal });
    const after = a.send(encode("after"));
    const reason = new Error("enough");
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => aborted, Error), reason);
    for (let i = 0; i <= count; i++) await b.receive();
    assertEquals(decode((await b.receive())!), "after");
    await Promise.all([waiting, after]);
  });

  test(`PacketSocket: an aborted receive of ${type} packets loses none`, async () => {
    using ends = new Ends(type);
    const { a, b } = ends;
    for (let i = 0; i < 50; i++) {
      const controller = new AbortController();
      const aborted = b.receive({ signal: controller.signal }).catch((reason) => reason);
      const next = b.receive();
      if (i % 2 === 0) controller.abort("enough");
      await a.send(Uint8Array.of(i));
      if (i % 2 === 1) {
        assertEquals(await aborted, Uint8Array.of(i));
        await a.send(Uint8Array.of(i));
      } else assertEquals(await aborted, "enough");
      assertEquals(await next, Uint8Array.of(i));
    }
    await assertRejects(() => b.receive({ signal: AbortSignal.abort() }), DOMException);
  });

  test(`PacketSocket: timers run while ${type} packets come all the time`, async () => {
    using ends = new Ends(type);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    for (let i = 0; i < 300_000 && ticks < 20; i++) {
      await ends.a.send(Uint8Array.of(i));
      await ends.b.receive();
    }
    clearInterval(timer);
    // Several ticks may pass in one exchange.
    assert(ticks >= 20, `${ticks}`);
  });

  // The end of this side --------------------------------------------------------------------------

  test(`PacketSocket.close() of a ${type} socket ends what waits, and returns the descriptors`, async () => {
    const before = openDescriptors();
    const ends = new Ends(type);
    const { a, b } = ends;
    const receiving = assertRejects(() => b.receive(), ConnectionClosed);
    const { waiting } = await fill(b, packet(1000));
    const unsent = assertRejects(() => waiting, ConnectionClosed);
    b.close();
    b.close();
    assertEquals(
      (await receiving).message,
      "Cannot receive a packet: close() was called on this side",
    );
    const error = await unsent;
    assert(isSocketError(error));
    assertEquals([error.operation, error.unsent], ["send", packet(1000)]);
    for (const call of [() => b.receive(), () => b.send(packet(1)), () => b.receive()]) {
      await assertRejects<Error>(call, ConnectionClosed);
    }
    a.close();
    a.ref();
    a.unref();
    assertEquals(openDescriptors(), before);
  });

  test(`PacketSocket: await using sends what is queued on a ${type} socket`, async () => {
    const [a, b] = socketpair({ type });
    using _b = b;
    let received = 0;
    {
      await using sender = a;
      for (let i = 0; i < 1000; i++) sender.send(packet(1000));
      // Reads while the disposal waits.
      (async () => {
        while (received < 1000) {
          await b.receive();
          received++;
        }
      })();
    }
    while (received < 1000) await new Promise((resolve) => setTimeout(resolve, 0));
  });

  // Wrong arguments -------------------------------------------------------------------------------

  test(`PacketSocket of type ${type} refuses wrong arguments with a TypeError`, async () => {
    using ends = new Ends(type);
    const { a } = ends;
    await assertRejects(() => a.send("text" as never), TypeError, "TextEncoder");
    await assertRejects(() => a.send([1] as never), TypeError, "Invalid packet");
    await assertRejects(() => a.send(packet(1), { to: 1 } as never), TypeError, '"to"');
    await assertRejects(() => a.receive({ signal: 1 } as never), TypeError, "Invalid signal");
  });
}

// The end and the peer ----------------------------------------------------------------------------

test("PacketSocket: empty seqpacket packets are distinguished from the end", async () => {
  for (const order of [["", "x", "", ""], ["", ""], ["x", ""], []]) {
    using ends = new Ends("seqpacket");
    const { a, b } = ends;
    for (const text of order) await a.send(encode(text));
    await a.closeWrite();
    assertEquals((await receiveAll(b)).map(decode), order);
    for (let i = 0; i < 3; i++) assertEquals(await b.receive(), null);
    // The other direction goes on.
    await b.send(encode("answer"));
    assertEquals(decode((await a.receive())!), "answer");
    await a.closeWrite();
    await assertRejects(() => a.send(packet(1)), ConnectionClosed, "closeWrite() was called");
  }
});

test("PacketSocket.closeWrite() sends the end after packets that wait", async () => {
  using ends = new Ends("seqpacket");
  const { a, b } = ends;
  const { count, waiting } = await fill(a, packet(1000));
  const ended = a.closeWrite();
  assertEquals((await receiveAll(b)).length, count + 1);
  await Promise.all([waiting, ended]);
});

test("PacketSocket.receive() that waits gets the end of a peer that closes", async () => {
  using ends = new Ends("seqpacket");
  const { a, b } = ends;
  const receiving = b.receive();
  a.close();
  assertEquals(await receiving, null);
  const error = await assertRejects(() => b.send(packet(3)), Deno.errors.BrokenPipe);
  assert(isSocketError(error));
  assertEquals([error.code, error.operation, error.unsent], ["EPIPE", "send", packet(3)]);
});

for (const first of ["receive", "send"] as const) {
  test(`PacketSocket: a reset comes after the packets, also if ${first}() meets it`, async () => {
    using ends = new Ends("seqpacket");
    const { a, b } = ends;
    await b.send(encode("never read"));
    await a.send(encode("before"));
    await a.send(encode(""));
    a.close();
    if (first === "send") await assertRejects(() => b.send(packet(1)), Deno.errors.ConnectionReset);
    assertEquals(decode((await b.receive())!), "before");
    assertEquals(decode((await b.receive())!), "");
    for (let i = 0; i < 2; i++) {
      const error = await assertRejects(() => b.receive(), Deno.errors.ConnectionReset);
      assert(isSocketError(error));
      assertEquals([error.code, error.operation], ["ECONNRESET", "receive"]);
    }
    await assertRejects(() => b.send(packet(1)), Deno.errors.BrokenPipe);
  });
}

test("PacketSocket: a dgram peer that has closed is noticed by send() alone", async () => {
  using ends = new Ends("dgram");
  const { a, b } = ends;
  await a.send(encode("last"));
  a.close();
  assertEquals(decode((await b.receive())!), "last");
  await assertRejects(() => b.receive({ signal: AbortSignal.timeout(20) }), DOMException);
  const error = await assertRejects(() => b.send(packet(3)), Deno.errors.ConnectionRefused);
  assert(isSocketError(error));
  assertEquals([error.code, error.unsent], ["ECONNREFUSED", packet(3)]);
  await assertRejects(() => b.send(packet(3)), Deno.errors.NotConnected);
});

test("PacketSocket.closeWrite() of a dgram socket is refused: it has no end", async () => {
  using ends = new Ends("dgram");
  const error = await assertRejects(() => ends.a.closeWrite(), Deno.errors.NotSupported, "no end");
  assert(isSocketError(error));
  assertEquals(error.operation, "closeWrite");
});

test("PacketSocket: sockets of both types take turns, with batches of packets", async () => {
  using sequential = new Ends("seqpacket");
  using datagrams = new Ends("dgram", 1000);
  for (let round = 0; round < 20; round++) {
    for (const { a, b } of [sequential, datagrams]) {
      // Empty ones, which need the time, and more and more at once.
      for (let i = 0; i < 4 * round; i++) await a.send(packet(i % 3, i));
      for (let i = 0; i < 4 * round; i++) assertSame(await b.receive(), packet(i % 3, i));
    }
  }
});
