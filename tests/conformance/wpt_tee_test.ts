import { assert, assertEquals, assertThrows } from "@std/assert";
import { decode, encode, isPending, turn } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { assertAllRejectWith, ends, failureOf } from "./_streams.ts";

const TEE = "wpt: readable-byte-streams/tee";

/** The modes of two readers. */
const MODES = [[undefined, undefined], ["byob", "byob"], ["byob", undefined], [
  undefined,
  "byob",
]] as const;

/** Two connected ends, and the readers of the two branches of one. */
async function teeEnds(modes: readonly ("byob" | undefined)[] = []) {
  const both = await ends();
  const branches = both.conn.readable.tee();
  const [one, two] = branches.map((branch, i) => branch.getReader({ mode: modes[i] } as never));
  /** Reads up to four bytes as text, `undefined` at the end. */
  const read = async (reader: ReadableStreamBYOBReader): Promise<string | undefined> => {
    const { value, done } = await reader.read(new Uint8Array(4));
    return done ? undefined : decode(value);
  };
  return { ...both, one: one!, two: two!, read } as typeof both & {
    one: ReadableStreamBYOBReader;
    two: ReadableStreamBYOBReader;
    read: typeof read;
  };
}

follows(TEE, "tee() returns two byte streams, and locks the original", async () => {
  using both = await ends();
  const { readable } = both.conn;
  const branches = readable.tee();
  assertEquals([branches.length, readable.locked], [2, true]);
  for (const branch of branches) {
    assertEquals([branch instanceof ReadableStream, branch.locked], [true, false]);
    assert(branch.getReader({ mode: "byob" }) instanceof ReadableStreamBYOBReader);
  }
  assertThrows(() => readable.tee(), TypeError);
});

follows(TEE, "tee() reads nothing before a branch does", async () => {
  using both = await ends();
  both.conn.readable.tee();
  await both.peer.write(encode("abc"));
  for (let i = 0; i < 5; i++) await turn();
  assertEquals(both.conn.bytesRead, 0);
});

for (const modes of MODES) {
  const kinds = modes.map((mode) => mode ?? "default").join(" and ");

  follows(TEE, `one branch is read to the end, and then the other (${kinds})`, async () => {
    using both = await teeEnds(modes);
    const { peer, one, two, read } = both;
    await peer.write(encode("ab"));
    assertEquals(await read(one), "ab");
    await peer.write(encode("cd"));
    assertEquals(await read(one), "cd");
    await peer.closeWrite();
    assertEquals(await read(one), undefined);
    await one.closed;
    let rest = "";
    for (let text; (text = await read(two)) !== undefined;) rest += text;
    assertEquals(rest, "abcd");
    await two.closed;
  });

  follows(TEE, `each branch has its own memory (${kinds})`, async () => {
    using both = await teeEnds(modes);
    const { peer, one, two } = both;
    const reads = [one, two].map((reader) => reader.read(new Uint8Array(4)));
    await peer.write(encode("ab"));
    const [first, second] = (await Promise.all(reads)).map(({ value }) => value!);
    assert(first!.buffer !== second!.buffer);
    first!.fill(0);
    assertEquals(decode(second!), "ab");
  });

  follows(TEE, `a failure rejects the pending reads of both branches (${kinds})`, async () => {
    using both = await teeEnds(modes);
    const { conn, peer, one, two } = both;
    const reads = [one, two].map((reader) => failureOf(reader.read(new Uint8Array(4))));
    await conn.write(encode("unread"));
    peer.close();
    const error = await reads[0];
    assert(error instanceof Deno.errors.ConnectionReset);
    assertEquals(await reads[1], error);
    await assertAllRejectWith(error, [one.closed, two.closed, one.read(new Uint8Array(1))]);
  });

  follows(TEE, `the end of file ends the pending reads of both branches (${kinds})`, async () => {
    using both = await teeEnds(modes);
    const { peer, one, two, read } = both;
    const reads = [read(one), read(two)];
    await peer.closeWrite();
    assertEquals(await Promise.all(reads), [undefined, undefined]);
    await Promise.all([one.closed, two.closed]);
  });

  for (const [first, second] of [["one", "two"], ["two", "one"]] as const) {
    follows(TEE, `canceling branch ${first} leaves the other (${kinds})`, async () => {
      using both = await teeEnds(modes);
      const { peer, read } = both;
      const canceled = both[first].cancel();
      await peer.write(encode("ab"));
      assertEquals(await read(both[second]), "ab");
      assert(await isPending(canceled));
      await peer.closeWrite();
      assertEquals(await read(both[second]), undefined);
      assertEquals(await canceled, undefined);
    });

    follows(
      TEE,
      `canceling branch ${first} while both read, and then the other (${kinds})`,
      async () => {
        using both = await teeEnds(modes);
        const reads = [both.read(both.one), both.read(both.two)];
        const cancels = [both[first].cancel()];
        assertEquals(await reads[first === "one" ? 0 : 1], undefined);
        assert(await isPending(reads[first === "one" ? 1 : 0]!));
        cancels.push(both[second].cancel());
        assertEquals(await Promise.all(cancels), [undefined, undefined]);
        assertEquals(await Promise.all(reads), [undefined, undefined]);
        // The direction is over.
        await both.conn.closeWrite();
        await both.conn.closed;
      },
    );
  }
}

follows(
  TEE,
  "a failure settles the cancellation of the branch that was canceled before",
  async () => {
    using both = await teeEnds();
    const { conn, peer, one, two } = both;
    const canceled = failureOf(one.cancel());
    const reading = failureOf(two.read(new Uint8Array(1)));
    await conn.write(encode("unread"));
    peer.close();
    assert(await reading instanceof Deno.errors.ConnectionReset);
    assertEquals(await canceled, "it has resolved");
  },
);

follows(TEE, "the emptier branch alone makes tee() read", async () => {
  using both = await teeEnds();
  const { conn, peer, one, two, read } = both;
  for (const text of ["a", "b"]) {
    await peer.write(encode(text));
    assertEquals(await read(one), text);
  }
  await peer.write(encode("c"));
  assertEquals([await read(two), await read(two), conn.bytesRead], ["a", "b", 2]);
  assertEquals([await read(two), await read(one)], ["c", "c"]);
});

follows(
  TEE,
  "a view with an offset is filled there, and the other branch gets the bytes",
  async () => {
    using both = await teeEnds(["byob", "byob"]);
    const { peer, one, two } = both;
    const reading = one.read(new Uint8Array(new ArrayBuffer(8), 4, 2));
    await peer.write(encode("ab"));
    const { value } = await reading;
    assertEquals([decode(value!), value?.byteOffset], ["ab", 4]);
    assertEquals(decode((await two.read(new Uint8Array(4))).value!), "ab");
  },
);

follows(
  "wpt: readable-byte-streams/read-min",
  "a minimum of one branch does not hold the other",
  async () => {
    using both = await teeEnds(["byob", "byob"]);
    const { peer, one, two, read } = both;
    const readMin = one.read as (view: Uint8Array, options: unknown) => ReturnType<typeof one.read>;
    const first = readMin.call(one, new Uint8Array(3), { min: 3 });
    const second = read(two);
    await peer.write(encode("a"));
    assertEquals(await second, "a");
    await peer.write(encode("bc"));
    assertEquals(decode((await first).value as Uint8Array), "abc");
    assertEquals(await read(two), "bc");
  },
);
