import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { decode, encode, isPending, readText } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { assertAllRejectWith, ends, failureOf, resetEnds } from "./_streams.ts";

// Default readers ---------------------------------------------------------------------------------

const READER = "wpt: readable-streams/default-reader";

/** Ways to make a default reader. */
const WAYS: Record<
  string,
  (stream: ReadableStream<Uint8Array>) => ReadableStreamDefaultReader<Uint8Array>
> = {
  "getReader()": (stream) => stream.getReader(),
  "its constructor": (stream) => new ReadableStreamDefaultReader(stream),
};

for (const [first, make] of Object.entries(WAYS)) {
  for (const [second, makeAgain] of Object.entries(WAYS)) {
    follows(READER, `a reader by ${first} excludes one by ${second}`, async () => {
      using both = await ends();
      make(both.conn.readable);
      assertThrows(() => makeAgain(both.conn.readable), TypeError);
    });
  }

  follows(READER, `a reader by ${first} of a stream that has ended reads the end`, async () => {
    using both = await ends();
    await both.peer.closeWrite();
    await both.conn.readable.cancel();
    const reader = make(both.conn.readable);
    assert((await reader.read()).done);
    await reader.closed;
  });

  follows(READER, `a reader by ${first} of a stream that has failed rejects`, async () => {
    using both = await resetEnds();
    const failed = both.conn.readable.getReader();
    const error = await failureOf(failed.read());
    failed.releaseLock();
    const reader = make(both.conn.readable);
    await assertAllRejectWith(error, [reader.read(), reader.closed, reader.cancel()]);
  });
}

follows(READER, "closed of a reader is one promise, until the reader is released", async () => {
  using both = await ends();
  const reader = both.conn.readable.getReader();
  const { closed } = reader;
  assertStrictEquals(reader.closed, closed);
  await both.peer.closeWrite();
  await reader.read();
  assertStrictEquals(reader.closed, closed);
  assertEquals(await closed, undefined);
  reader.releaseLock();
  assert(reader.closed !== closed);
  await assertRejects(() => reader.closed, TypeError);
});

follows(READER, "closed of a failed reader is replaced when the reader is released", async () => {
  using both = await resetEnds();
  const reader = both.conn.readable.getReader();
  const error = await failureOf(reader.read());
  const { closed } = reader;
  reader.releaseLock();
  await assertAllRejectWith(error, [closed]);
  await assertRejects(() => reader.closed, TypeError);
});

follows(READER, "readers one after the other get the bytes in order", async () => {
  using both = await ends();
  const { conn, peer } = both;
  for (const text of ["a", "b", "c"]) {
    await peer.write(encode(text));
    const reader = conn.readable.getReader();
    assertEquals(decode((await reader.read()).value!), text);
    reader.releaseLock();
  }
});

follows(READER, "a reader that is released twice does not unlock the next one", async () => {
  using both = await ends();
  const { readable } = both.conn;
  const first = readable.getReader();
  first.releaseLock();
  readable.getReader();
  first.releaseLock();
  assert(readable.locked);
});

follows(READER, "cancel() of a released reader rejects, and cancels nothing", async () => {
  using both = await ends();
  const { conn, peer } = both;
  const reader = conn.readable.getReader();
  reader.releaseLock();
  await assertRejects(() => reader.cancel(), TypeError);
  await peer.write(encode("x"));
  assertEquals(await readText(conn), "x");
});

follows(READER, "cancel() of a reader does not release it", async () => {
  using both = await ends();
  const reader = both.conn.readable.getReader();
  await reader.cancel();
  assert(both.conn.readable.locked);
});

follows(READER, "the second reader reads on after the first left a pending read", async () => {
  using both = await ends();
  const { conn, peer } = both;
  const first = conn.readable.getReader();
  const reads = [first.read(), first.read()].map(failureOf);
  first.releaseLock();
  for (const read of reads) assert(await read instanceof TypeError);
  const second = conn.readable.getReader();
  const reading = second.read();
  await peer.write(encode("x"));
  assertEquals(decode((await reading).value!), "x");
});

for (const when of ["before", "after"]) {
  follows(READER, `a failure rejects two reads that were called ${when} it`, async () => {
    using both = await ends();
    const { conn, peer } = both;
    const reader = conn.readable.getReader();
    const fail = async () => {
      await conn.write(encode("unread"));
      peer.close();
    };
    if (when === "after") await fail();
    const reads = [reader.read(), reader.read()].map(failureOf);
    if (when === "before") await fail();
    const [error, other] = await Promise.all(reads);
    assert(error instanceof Deno.errors.ConnectionReset);
    assertStrictEquals(other, error);
    await assertAllRejectWith(error, [reader.closed]);
  });
}

// Cancel ------------------------------------------------------------------------------------------

const CANCEL = "wpt: readable-streams/cancel";

follows(CANCEL, "cancel() of a stream that never ends ends it for this side", async () => {
  using both = await ends();
  const { conn, peer } = both;
  const control = { goesOn: true };
  const sending = (async () => {
    while (control.goesOn) await peer.write(new Uint8Array(1024));
  })().catch(() => {});
  let count = 0;
  const reader = conn.readable.getReader();
  while (count < 100_000) count += (await reader.read()).value!.length;
  assertEquals(await reader.cancel(), undefined);
  assert((await reader.read()).done);
  control.goesOn = false;
  conn.close();
  await sending;
});

follows(CANCEL, "cancel() of a locked stream rejects, and cancels nothing", async () => {
  using both = await ends();
  const { conn, peer } = both;
  const reader = conn.readable.getReader();
  await assertRejects(() => conn.readable.cancel(), TypeError);
  await peer.write(encode("x"));
  assertEquals(decode((await reader.read()).value!), "x");
});

follows(CANCEL, "cancel() resolves while a read is pending, and the read ends", async () => {
  using both = await ends();
  const reader = both.conn.readable.getReader();
  const reading = reader.read();
  assertEquals(await reader.cancel("reason"), undefined);
  assert((await reading).done);
});

const TEMPLATE = "wpt: readable-streams/templated";

follows(TEMPLATE, "each cancel() of a stream that has ended is a promise of its own", async () => {
  using both = await ends();
  const { readable } = both.conn;
  await readable.cancel();
  const promises = [readable.cancel(), readable.cancel()];
  assert(promises[0] !== promises[1]);
  assertEquals(await Promise.all(promises), [undefined, undefined]);
});

follows(
  TEMPLATE,
  "each read() is a promise of its own, which stays pending without bytes",
  async () => {
    using both = await ends();
    const reader = both.conn.readable.getReader();
    const reads = [reader.read(), reader.read()];
    assert(reads[0] !== reads[1]);
    assert(await isPending(Promise.race(reads)));
    await both.peer.closeWrite();
    await Promise.all(reads);
  },
);

follows(TEMPLATE, "cancel() after a read does not take its chunk away", async () => {
  using both = await ends();
  await both.peer.write(encode("x"));
  const reader = both.conn.readable.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  assertEquals(decode(value!), "x");
  assert((await reader.read()).done);
});

follows(TEMPLATE, "read() works in the reaction to another read", async () => {
  using both = await ends();
  await both.peer.write(encode("a"));
  const reader = both.conn.readable.getReader();
  const texts = await reader.read().then(async ({ value }) => {
    await both.peer.write(encode("b"));
    return [decode(value!), decode((await reader.read()).value!)];
  });
  assertEquals(texts, ["a", "b"]);
});

// Iteration ---------------------------------------------------------------------------------------

const ITERATOR = "wpt: readable-streams/async-iterator";

/** Two connected ends, an iterator over one, and a byte to read. */
async function iteration(options?: { preventCancel?: boolean }) {
  const both = await ends();
  await both.peer.write(encode("a"));
  const iterator = both.conn.readable.values(options) as AsyncIterator<Uint8Array, unknown>;
  return { ...both, iterator };
}

follows(ITERATOR, "an iterator has next() and return(), and no throw()", async () => {
  using both = await iteration();
  const { iterator } = both;
  assertEquals([typeof iterator.next, typeof iterator.return], ["function", "function"]);
  assert(!("throw" in iterator));
});

follows(ITERATOR, "a loop over a stream that has ended never runs", async () => {
  using both = await ends();
  await both.peer.closeWrite();
  for await (const _ of both.conn.readable) assert(false);
  assert(!both.conn.readable.locked);
});

follows(ITERATOR, "a loop over a stream that fails throws the failure, and unlocks", async () => {
  using both = await resetEnds();
  const loop = async () => {
    for await (const _ of both.conn.readable) assert(false);
  };
  await assertRejects(loop, Deno.errors.ConnectionReset);
  assert(!both.conn.readable.locked);
});

follows(ITERATOR, "a loop goes on where a reader stopped", async () => {
  using both = await ends();
  const { conn, peer } = both;
  await peer.write(encode("a"));
  const reader = conn.readable.getReader();
  await reader.read();
  reader.releaseLock();
  await peer.write(encode("b"));
  await peer.closeWrite();
  let rest = "";
  for await (const chunk of conn.readable) rest += decode(chunk);
  assertEquals(rest, "b");
});

follows(
  ITERATOR,
  "several calls of next() settle in order, the last ones with the end",
  async () => {
    using both = await iteration();
    const calls = [1, 2, 3].map(() => both.iterator.next());
    await both.peer.closeWrite();
    const results = await Promise.all(calls);
    assertEquals(results.map(({ done }) => done), [false, true, true]);
    assertEquals(decode(results[0]!.value as Uint8Array), "a");
  },
);

follows(ITERATOR, "next() rejects with a failure once, and ends after it", async () => {
  using both = await resetEnds();
  const iterator = both.conn.readable[Symbol.asyncIterator]();
  const [first, second] = await Promise.allSettled([iterator.next(), iterator.next()]);
  assertEquals([first!.status, second!.status], ["rejected", "fulfilled"]);
  assertEquals(await iterator.next(), { done: true, value: undefined });
});

for (const awaits of [true, false]) {
  const how = awaits ? "awaited" : "not awaited";

  follows(ITERATOR, `return() after next() has its own value, and cancels (${how})`, async () => {
    using both = await iteration();
    const { iterator, conn } = both;
    const first = iterator.next();
    if (awaits) await first;
    const second = iterator.return!("mine");
    assertEquals(decode((await first).value as Uint8Array), "a");
    assertEquals(await second, { done: true, value: "mine" });
    assert((await conn.readable.getReader().read()).done);
  });

  follows(ITERATOR, `next() after return() is the end, and settles after it (${how})`, async () => {
    using both = await iteration();
    const order: string[] = [];
    const first = both.iterator.return!("mine").then((result) => {
      order.push("return");
      return result;
    });
    if (awaits) await first;
    const second = both.iterator.next().then((result) => {
      order.push("next");
      return result;
    });
    assertEquals(await first, { done: true, value: "mine" });
    assertEquals(await second, { done: true, value: undefined });
    assertEquals(order, ["return", "next"]);
  });

  follows(ITERATOR, `return() twice has each time its own value (${how})`, async () => {
    using both = await iteration();
    const first = both.iterator.return!("one");
    if (awaits) await first;
    const second = both.iterator.return!("two");
    assertEquals(await Promise.all([first, second]), [{ done: true, value: "one" }, {
      done: true,
      value: "two",
    }]);
  });
}

follows(ITERATOR, "values() throws if the stream is locked", async () => {
  using both = await ends();
  both.conn.readable.getReader();
  assertThrows(() => both.conn.readable.values(), TypeError);
});

follows(ITERATOR, "a stream is unlocked after a loop to its end", async () => {
  using both = await iteration();
  await both.peer.closeWrite();
  while (!(await both.iterator.next()).done);
  const reader = both.conn.readable.getReader();
  await reader.closed;
});

follows(ITERATOR, "a reader reads on after a loop with preventCancel", async () => {
  using both = await iteration({ preventCancel: true });
  await both.iterator.next();
  await both.iterator.return!();
  await both.peer.write(encode("b"));
  assertEquals(decode((await both.conn.readable.getReader().read()).value!), "b");
});

follows(ITERATOR, "the end of file ends a pending next()", async () => {
  using both = await ends();
  const iterator = both.conn.readable.values();
  const pending = iterator.next();
  assert(await isPending(pending));
  await both.peer.closeWrite();
  assertEquals(await pending, { done: true, value: undefined });
});
