import type { Connection } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { decode, encode, isPending, readText, turn, untilRead } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { assertAllRejectWith, ends, failureOf, resetEnds } from "./_streams.ts";

type View = Uint8Array | Uint16Array | Uint32Array | DataView;

/** Reads with a minimum of elements, which the types do not know yet. */
function readMin<T extends View>(
  reader: ReadableStreamBYOBReader,
  view: T,
  min: number,
): Promise<ReadableStreamReadResult<T>> {
  const read = reader.read as (view: T, options: unknown) => Promise<ReadableStreamReadResult<T>>;
  return read.call(reader, view, { min });
}

function bytesOf(view: ArrayBufferView | undefined): number[] {
  return [...new Uint8Array(view!.buffer, view!.byteOffset, view!.byteLength)];
}

/** Two connected ends, and a reader of one that brings its own memory. */
async function byobEnds() {
  const both = await ends();
  const reader = both.conn.readable.getReader({ mode: "byob" });
  return { ...both, reader };
}

const GENERAL = "wpt: readable-byte-streams/general";

// Readers -----------------------------------------------------------------------------------------

follows(
  GENERAL,
  "getReader() takes a mode that is a string only once it is converted",
  async () => {
    using both = await ends();
    const mode = { toString: () => "byob" } as "byob";
    const reader = both.conn.readable.getReader({ mode });
    assert(reader instanceof ReadableStreamBYOBReader);
    await both.peer.write(encode("x"));
    assertEquals(decode((await reader.read(new Uint8Array(4))).value!), "x");
  },
);

for (const mode of ["", "BYOB", "default", null, {}]) {
  follows(GENERAL, `getReader() refuses the mode ${JSON.stringify(mode)}`, async () => {
    using both = await ends();
    assertThrows(() => both.conn.readable.getReader({ mode } as never), TypeError);
    assert(!both.conn.readable.locked);
  });
}

follows(GENERAL, "a reader with its own memory can be made by its constructor", async () => {
  using both = await ends();
  const reader = new ReadableStreamBYOBReader(both.conn.readable);
  await both.peer.write(encode("x"));
  assertEquals(decode((await reader.read(new Uint8Array(4))).value!), "x");
  assertThrows(() => new ReadableStreamBYOBReader(both.conn.readable), TypeError);
  assertThrows(() => new ReadableStreamDefaultReader(both.conn.readable), TypeError);
});

/** Ways to make a reader with its own memory. */
const READERS: Record<string, (stream: Connection["readable"]) => ReadableStreamBYOBReader> = {
  "getReader()": (stream) => stream.getReader({ mode: "byob" }),
  "a converted mode": (stream) => stream.getReader({ mode: { toString: () => "byob" } as "byob" }),
  "its constructor": (stream) => new ReadableStreamBYOBReader(stream),
};

for (const [way, make] of Object.entries(READERS)) {
  for (const next of ["read()", "a default reader", "a reader with its own memory"]) {
    follows(
      GENERAL,
      `a reader by ${way} that is released while it reads leaves the bytes to ${next}`,
      async () => {
        using both = await ends();
        const { conn, peer } = both;
        const reader = make(conn.readable);
        const reading = failureOf(reader.read(new Uint8Array(8)));
        await turn();
        reader.releaseLock();
        assert(await reading instanceof TypeError);
        await peer.write(encode("kept"));
        const read = async () => {
          if (next === "read()") return await readText(conn);
          const result = next === "a default reader"
            ? await conn.readable.getReader().read()
            : await conn.readable.getReader({ mode: "byob" }).read(new Uint8Array(8));
          return decode(result.value!);
        };
        assertEquals(await read(), "kept");
        if (next !== "read()") return;
        await peer.write(encode("more"));
        assertEquals(await read(), "more");
      },
    );
  }
}

for (const mode of [undefined, "byob"] as const) {
  const kind = mode ?? "default";

  follows(GENERAL, `the end of file does not release a ${kind} reader`, async () => {
    using both = await ends();
    const reader = both.conn.readable.getReader({ mode } as { mode: "byob" });
    await both.peer.closeWrite();
    await reader.read(new Uint8Array(4));
    await reader.closed;
    assert(both.conn.readable.locked);
    reader.releaseLock();
    assert(!both.conn.readable.locked);
  });

  follows(GENERAL, `a failure does not release a ${kind} reader`, async () => {
    using both = await resetEnds();
    const reader = both.conn.readable.getReader({ mode } as { mode: "byob" });
    const error = await failureOf(reader.read(new Uint8Array(4)));
    assert(both.conn.readable.locked);
    await assertAllRejectWith(error, [reader.read(new Uint8Array(4)), reader.closed]);
    reader.releaseLock();
    assert(!both.conn.readable.locked);
  });
}

// Reads into views --------------------------------------------------------------------------------

for (const view of [undefined, null, {}, [], new ArrayBuffer(8), { byteLength: 4, length: 4 }]) {
  follows(GENERAL, `read() refuses ${JSON.stringify(view)} for its view`, async () => {
    using both = await byobEnds();
    await assertRejects(() => both.reader.read(view as never), TypeError);
    await both.peer.write(encode("x"));
    assertEquals(decode((await both.reader.read(new Uint8Array(4))).value!), "x");
  });
}

follows(GENERAL, "several reads into views are filled in order, and ended one by one", async () => {
  using both = await byobEnds();
  const reads = Array.from({ length: 4 }, () => both.reader.read(new Uint8Array(4)));
  await both.peer.write(encode("abcdef"));
  await both.peer.closeWrite();
  const results = await Promise.all(reads);
  assertEquals(results.map(({ value }) => decode(value!)), ["abcd", "ef", "", ""]);
  assertEquals(results.map(({ done }) => done), [false, false, true, true]);
  assertEquals(results.map(({ value }) => value?.buffer.byteLength), [4, 4, 4, 4]);
});

follows(GENERAL, "a view of more elements than came has only those", async () => {
  using both = await byobEnds();
  await both.peer.write(new Uint8Array([1, 0, 0, 0, 2, 0, 0, 0]));
  const { value } = await both.reader.read(new Uint32Array(10));
  assertEquals([[...value!], value!.buffer.byteLength], [[1, 2], 40]);
});

follows(GENERAL, "an element that comes in parts is read once it is whole", async () => {
  using both = await byobEnds();
  const reading = both.reader.read(new Uint32Array(1));
  for (const byte of [1, 2, 3]) {
    await both.peer.write(new Uint8Array([byte]));
    assert(await isPending(reading));
  }
  await both.peer.write(new Uint8Array([4]));
  assertEquals(bytesOf((await reading).value), [1, 2, 3, 4]);
});

follows(GENERAL, "an end of file within an element rejects, and errors the stream", async () => {
  using both = await byobEnds();
  const reading = failureOf(both.reader.read(new Uint16Array(1)));
  await both.peer.write(new Uint8Array([1]));
  await both.peer.closeWrite();
  const error = await reading;
  assert(error instanceof TypeError);
  await assertAllRejectWith(error, [both.reader.read(new Uint8Array(1)), both.reader.closed]);
});

follows(GENERAL, "a read into a view and a read without one take turns", async () => {
  using both = await ends();
  const { conn, peer } = both;
  await peer.write(encode("abcdef"));
  const byob = conn.readable.getReader({ mode: "byob" });
  assertEquals(decode((await byob.read(new Uint8Array(2))).value!), "ab");
  byob.releaseLock();
  const reader = conn.readable.getReader();
  assertEquals(decode((await reader.read()).value!), "cdef");
  reader.releaseLock();
  await peer.write(encode("gh"));
  const again = conn.readable.getReader({ mode: "byob" });
  assertEquals(decode((await again.read(new Uint8Array(8))).value!), "gh");
});

follows(GENERAL, "cancel() ends a read that is filled in part, without a value", async () => {
  using both = await byobEnds();
  const reading = both.reader.read(new Uint16Array(1));
  await both.peer.write(new Uint8Array([1]));
  assert(await isPending(reading));
  assertEquals(await both.reader.cancel("reason"), undefined);
  const result = await reading;
  assertEquals([result.done, result.value], [true, undefined]);
  await both.reader.closed;
});

for (const bytes of [2, 4, 8]) {
  follows(
    GENERAL,
    `the next reader with a view of ${bytes} bytes gets what a released one asked for`,
    async () => {
      using both = await byobEnds();
      const { conn, peer, reader } = both;
      const reading = failureOf(reader.read(new Uint8Array(4)));
      reader.releaseLock();
      const next = conn.readable.getReader({ mode: "byob" });
      const second = next.read(new Uint8Array(bytes));
      await peer.write(encode("abcd"));
      assert(await reading instanceof TypeError);
      let text = decode((await second).value!);
      while (text.length < 4) text += decode((await next.read(new Uint8Array(bytes))).value!);
      assertEquals(text, "abcd");
    },
  );
}

for (const mode of ["byob", undefined] as const) {
  follows(
    GENERAL,
    `half an element of a released reader goes to the next ${mode ?? "default"} reader`,
    async () => {
      using both = await byobEnds();
      const { conn, peer, reader } = both;
      const reading = failureOf(reader.read(new Uint16Array(1)));
      await peer.write(new Uint8Array([1]));
      await untilRead(conn, 1);
      reader.releaseLock();
      assert(await reading instanceof TypeError);
      const next = conn.readable.getReader({ mode } as { mode: "byob" });
      const read = async () => bytesOf((await next.read(new Uint16Array(1))).value);
      const first = read();
      await peer.write(new Uint8Array([2]));
      assertEquals(mode ? await first : [...await first, ...await read()], [1, 2]);
    },
  );
}

// Memory ------------------------------------------------------------------------------------------

const BUFFERS = "wpt: readable-byte-streams/bad-buffers-and-views";

for (const state of ["has ended", "has bytes"]) {
  follows(BUFFERS, `read() takes the memory of a view if the stream ${state}`, async () => {
    using both = await byobEnds();
    await (state === "has ended" ? both.peer.closeWrite() : both.peer.write(encode("abc")));
    const view = new Uint8Array(8);
    const reading = both.reader.read(view);
    assertEquals([view.length, view.buffer.byteLength], [0, 0]);
    const { value } = await reading;
    assertEquals(decode(value!), state === "has ended" ? "" : "abc");
    assertEquals(value?.buffer.byteLength, 8);
  });
}

const BAD_VIEWS: Record<string, () => Uint8Array> = {
  "no memory": () => new Uint8Array(0),
  "an empty part of memory": () => new Uint8Array(new ArrayBuffer(8), 4, 0),
  "memory that was taken": () => {
    const view = new Uint8Array(4);
    structuredClone(view, { transfer: [view.buffer] });
    return view;
  },
  "memory that cannot be taken": () =>
    new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer, 0, 4),
};

for (const [what, view] of Object.entries(BAD_VIEWS)) {
  follows(
    what === "memory that cannot be taken"
      ? "wpt: readable-byte-streams/non-transferable-buffers"
      : BUFFERS,
    `read() rejects with a TypeError for a view of ${what}, and the stream goes on`,
    async () => {
      using both = await byobEnds();
      await assertRejects(() => both.reader.read(view()), TypeError);
      await both.peer.write(encode("x"));
      assertEquals(decode((await both.reader.read(new Uint8Array(4))).value!), "x");
    },
  );
}

// A minimum ---------------------------------------------------------------------------------------

const MIN = "wpt: readable-byte-streams/read-min";

for (const min of [0, -1]) {
  follows(MIN, `read() with min ${min} rejects with a TypeError`, async () => {
    using both = await byobEnds();
    await assertRejects(() => readMin(both.reader, new Uint8Array(4), min), TypeError);
  });
}

for (const view of [new Uint8Array(1), new Uint16Array(1), new DataView(new ArrayBuffer(1))]) {
  follows(
    MIN,
    `read() of a ${view.constructor.name} of 1 with min 2 rejects with a RangeError`,
    async () => {
      using both = await byobEnds();
      await assertRejects(() => readMin(both.reader, view, 2), RangeError);
    },
  );
}

for (
  const [parts, expected] of [[["ab", "c"], "abc"], [["ab", "cd"], "abcd"], [
    ["abcdef"],
    "abcde",
  ]] as [
    string[],
    string,
  ][]
) {
  follows(MIN, `read() with min 3 of 5 waits until ${parts.join(" and ")} has come`, async () => {
    using both = await byobEnds();
    const reading = readMin(both.reader, new Uint8Array(5), 3);
    for (const part of parts) {
      assert(await isPending(reading));
      await both.peer.write(encode(part));
    }
    const { value, done } = await reading;
    assertEquals([decode(value!), done, value?.buffer.byteLength], [expected, false, 5]);
  });
}

follows(MIN, "read() with min of a DataView waits for that many bytes", async () => {
  using both = await byobEnds();
  const reading = readMin(both.reader, new DataView(new ArrayBuffer(4)), 3);
  await both.peer.write(new Uint8Array([1, 2]));
  assert(await isPending(reading));
  await both.peer.write(new Uint8Array([3]));
  assertEquals(bytesOf((await reading).value), [1, 2, 3]);
});

follows(MIN, "the end of file ends a read with min, and leaves it what has come", async () => {
  using both = await byobEnds();
  const reading = readMin(both.reader, new Uint8Array(3), 3);
  await both.peer.write(encode("a"));
  await both.peer.closeWrite();
  const { value, done } = await reading;
  assertEquals([decode(value!), done], ["a", true]);
  await both.reader.closed;
});

follows(MIN, "the end of file right after the minimum leaves the read a success", async () => {
  using both = await byobEnds();
  const reading = readMin(both.reader, new Uint8Array(3), 3);
  await both.peer.write(encode("ab"));
  await both.peer.write(encode("c"));
  await both.peer.closeWrite();
  const { value, done } = await reading;
  assertEquals([decode(value!), done], ["abc", false]);
  assert((await both.reader.read(new Uint8Array(1))).done);
});

follows(MIN, "a failure rejects a read with min", async () => {
  using both = await byobEnds();
  const reading = failureOf(readMin(both.reader, new Uint8Array(3), 3));
  await both.peer.write(encode("a"));
  await both.conn.write(encode("unread"));
  both.peer.close();
  const error = await reading;
  assert(error instanceof Deno.errors.ConnectionReset);
  assertStrictEquals(await failureOf(both.reader.closed), error);
});

follows(MIN, "cancel() ends a read with min that has come in part, without a value", async () => {
  using both = await byobEnds();
  const reading = readMin(both.reader, new Uint8Array(3), 3);
  await both.peer.write(encode("a"));
  assert(await isPending(reading));
  await both.reader.cancel();
  const { value, done } = await reading;
  assertEquals([value, done], [undefined, true]);
});

follows(MIN, "an end of file within an element rejects a read with min", async () => {
  using both = await byobEnds();
  const reading = failureOf(readMin(both.reader, new Uint16Array(2), 2));
  await both.peer.write(new Uint8Array([1, 2, 3]));
  await both.peer.closeWrite();
  assert(await reading instanceof TypeError);
});
