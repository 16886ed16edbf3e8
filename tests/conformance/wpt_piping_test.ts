import { ConnectionClosed, isSocketError } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { decode, encode, isPending, readAll, readText, turn, untilFull } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { ends, failedLine, failureOf, LARGE, line } from "./_streams.ts";

// General -----------------------------------------------------------------------------------------

follows(
  "wpt: piping/general",
  "pipeTo() locks both streams, and unlocks them at its end",
  async () => {
    using parts = await line();
    const { source, target, sender } = parts;
    const piping = source.readable.pipeTo(target.writable);
    assertEquals([source.readable.locked, target.writable.locked], [true, true]);
    await sender.closeWrite();
    await piping;
    assertEquals([source.readable.locked, target.writable.locked], [false, false]);
  },
);

follows("wpt: piping/general", "pipeTo() of a value that is not a stream rejects", async () => {
  using parts = await line();
  const { source, target } = parts;
  const { pipeTo } = source.readable;
  for (const value of [undefined, null, {}, 1] as never[]) {
    await assertRejects(() => pipeTo.call(value, target.writable), TypeError);
    await assertRejects(() => source.readable.pipeTo(value), TypeError);
  }
  assertEquals([source.readable.locked, target.writable.locked], [false, false]);
});

follows(
  "wpt: piping/general",
  "pipeTo() of a locked readable leaves the writable unlocked",
  async () => {
    using parts = await line();
    const { source, target } = parts;
    source.readable.getReader();
    await assertRejects(() => source.readable.pipeTo(target.writable), TypeError);
    assert(!target.writable.locked);
  },
);

follows(
  "wpt: piping/general",
  "pipeTo() to a locked writable leaves the readable unlocked",
  async () => {
    using parts = await line();
    const { source, target } = parts;
    target.writable.getWriter();
    await assertRejects(() => source.readable.pipeTo(target.writable), TypeError);
    assert(!source.readable.locked);
  },
);

follows(
  "wpt: piping/general",
  "pipeTo() passes on what was there before, and what comes later",
  async () => {
    using parts = await line();
    const { source, target, sender, receiver } = parts;
    for (let i = 0; i < 100; i++) await sender.write(encode(`${i},`));
    const piping = source.readable.pipeTo(target.writable);
    let text = "";
    const early = Array.from({ length: 100 }, (_, i) => `${i},`).join("");
    while (text.length < early.length) text += await readText(receiver);
    assertEquals(text, early);
    await sender.write(encode("later"));
    assertEquals(await readText(receiver), "later");
    await sender.closeWrite();
    await piping;
  },
);

follows("wpt: piping/general", "pipeTo() takes null for its options", async () => {
  using parts = await line();
  const { source, target, sender, receiver } = parts;
  await sender.closeWrite();
  await source.readable.pipeTo(target.writable, null as never);
  assertEquals(await readText(receiver), null);
});

follows(
  "wpt: piping/general",
  "pipeTo() rejects if an option's getter locks the target",
  async () => {
    using parts = await line();
    const { source, target } = parts;
    const options = {
      get preventAbort() {
        target.writable.getWriter();
        return false;
      },
    };
    // It must not throw.
    const piping = source.readable.pipeTo(target.writable, options);
    await assertRejects(() => piping, TypeError);
    assert(!source.readable.locked);
  },
);

const OPTIONS = ["preventAbort", "preventCancel", "preventClose", "signal"] as const;

for (const [i, name] of OPTIONS.entries()) {
  follows(
    "wpt: piping/throwing-options",
    `pipeTo() rejects if the getter of ${name} throws, and reads no option after it`,
    async () => {
      using parts = await line();
      const { source, target } = parts;
      const seen: string[] = [];
      const options = {};
      for (const each of OPTIONS) {
        Object.defineProperty(options, each, {
          get() {
            seen.push(each);
            if (each === name) throw new RangeError(each);
            return undefined;
          },
        });
      }
      const piping = source.readable.pipeTo(target.writable, options);
      await assertRejects(() => piping, RangeError, name);
      assertEquals(seen, OPTIONS.slice(0, i + 1));
      assertEquals([source.readable.locked, target.writable.locked], [false, false]);
    },
  );
}

// The end of the source ---------------------------------------------------------------------------

for (const value of [undefined, null, false, 0, -0, NaN, ""]) {
  follows(
    "wpt: piping/close-propagation-forward",
    `pipeTo() with preventClose ${
      Object.is(value, -0) ? "-0" : JSON.stringify(value)
    } ends the target`,
    async () => {
      using parts = await line();
      await parts.sender.closeWrite();
      const options = { preventClose: value } as never;
      await parts.source.readable.pipeTo(parts.target.writable, options);
      assertEquals(await readText(parts.receiver), null);
    },
  );
}

for (const value of [true, "a", 1, Symbol.iterator, {}]) {
  follows(
    "wpt: piping/close-propagation-forward",
    `pipeTo() with preventClose ${String(value)} leaves the target open`,
    async () => {
      using parts = await line();
      await parts.sender.closeWrite();
      const options = { preventClose: value } as never;
      await parts.source.readable.pipeTo(parts.target.writable, options);
      await parts.target.writable.getWriter().write(encode("x"));
      assertEquals(await readText(parts.receiver), "x");
    },
  );
}

follows(
  "wpt: piping/close-propagation-forward",
  "pipeTo() of a source that has been read to its end ends the target",
  async () => {
    using parts = await line();
    await parts.sender.closeWrite();
    const reader = parts.source.readable.getReader();
    assert((await reader.read()).done);
    reader.releaseLock();
    await parts.source.readable.pipeTo(parts.target.writable);
    assertEquals(await readText(parts.receiver), null);
  },
);

follows(
  "wpt: piping/close-propagation-forward",
  "pipeTo() rejects if ending the target fails",
  async () => {
    using parts = await line();
    const piping = failureOf(parts.source.readable.pipeTo(parts.target.writable));
    parts.target.close();
    await parts.sender.closeWrite();
    assert(await piping instanceof ConnectionClosed);
  },
);

for (const preventClose of [false, true]) {
  follows(
    "wpt: piping/close-propagation-forward",
    `pipeTo() settles after the last write, with preventClose ${preventClose}`,
    async () => {
      using parts = await line();
      const { source, target, sender, receiver } = parts;
      const piping = source.readable.pipeTo(target.writable, { preventClose });
      const sending = sender.write(new Uint8Array(LARGE)).then(() => sender.closeWrite());
      await untilFull(target);
      assert(await isPending(piping));
      let count = 0;
      const buffer = new Uint8Array(65536);
      while (count < LARGE) count += (await receiver.read(buffer))!;
      await piping;
      await sending;
      assertEquals([count, target.bytesWritten], [LARGE, LARGE]);
    },
  );
}

// A target that has ended -------------------------------------------------------------------------

follows(
  "wpt: piping/close-propagation-backward",
  "pipeTo() to a target that has ended rejects with a TypeError, and cancels the source",
  async () => {
    using parts = await line();
    await parts.target.writable.close();
    await assertRejects(() => parts.source.readable.pipeTo(parts.target.writable), TypeError);
    assert((await parts.source.readable.getReader().read()).done);
  },
);

follows(
  "wpt: piping/close-propagation-backward",
  "pipeTo() to a target that is ending rejects at once, and reads nothing of the source",
  async () => {
    using parts = await line();
    const { source, target, sender, receiver } = parts;
    // The end waits behind what the receiver does not read yet.
    const filling = target.write(new Uint8Array(LARGE));
    const ending = target.writable.close();
    await turn();
    await sender.write(encode("kept"));
    const piping = source.readable.pipeTo(target.writable, { preventCancel: true });
    await assertRejects(() => piping, TypeError);
    assertEquals(source.bytesRead, 0);
    assertEquals((await readAll(receiver)).length, LARGE);
    await Promise.all([filling, ending]);
  },
);

for (const value of [true, "a", 1, Symbol.iterator, {}]) {
  follows(
    "wpt: piping/close-propagation-backward",
    `pipeTo() to a target that has ended, with preventCancel ${String(value)}, leaves the source`,
    async () => {
      using parts = await line();
      await parts.target.writable.close();
      const options = { preventCancel: value } as never;
      await assertRejects(
        () => parts.source.readable.pipeTo(parts.target.writable, options),
        TypeError,
      );
      await parts.sender.write(encode("x"));
      assertEquals(await readText(parts.source), "x");
    },
  );
}

// A failure of the source -------------------------------------------------------------------------

follows(
  "wpt: piping/error-propagation-forward",
  "pipeTo() of a source that has failed aborts the target with its error",
  async () => {
    using parts = await failedLine();
    const { source, target, receiver, error } = parts;
    assertStrictEquals(await failureOf(source.readable.pipeTo(target.writable)), error);
    assertStrictEquals(await failureOf(target.writable.getWriter().closed), error);
    assertEquals(await readText(receiver), null);
  },
);

follows(
  "wpt: piping/error-propagation-forward",
  "pipeTo() of a source that fails passes on what came before",
  async () => {
    using parts = await line();
    const { source, target, sender, receiver } = parts;
    await source.write(encode("unread"));
    await sender.write(encode("before"));
    sender.close();
    const error = await failureOf(source.readable.pipeTo(target.writable));
    assert(isSocketError(error) && error.code === "ECONNRESET");
    assertEquals(decode(await readAll(receiver)), "before");
    assertStrictEquals(await failureOf(target.writable.getWriter().closed), error);
  },
);

for (const preventAbort of [true, "a", 1]) {
  follows(
    "wpt: piping/error-propagation-forward",
    `pipeTo() of a source that fails leaves the target open with preventAbort ${preventAbort}`,
    async () => {
      using parts = await line();
      const { source, target, sender, receiver } = parts;
      await source.write(encode("unread"));
      sender.close();
      const options = { preventAbort, preventCancel: true } as never;
      await assertRejects(
        () => source.readable.pipeTo(target.writable, options),
        Deno.errors.ConnectionReset,
      );
      await target.writable.getWriter().write(encode("x"));
      assertEquals(await readText(receiver), "x");
    },
  );
}

follows(
  "wpt: piping/error-propagation-forward",
  "pipeTo() of a source that fails settles after the last write",
  async () => {
    using parts = await line();
    const { source, target, sender, receiver } = parts;
    await source.write(encode("unread"));
    const fill = new Uint8Array(LARGE);
    const filling = target.write(fill);
    await sender.write(encode("last"));
    sender.close();
    const piping = source.readable.pipeTo(target.writable);
    await untilFull(target);
    assert(await isPending(piping));
    const bytes = readAll(receiver);
    await assertRejects(() => piping, Deno.errors.ConnectionReset);
    await filling;
    assertEquals(decode((await bytes).subarray(LARGE)), "last");
  },
);

// Both ends ---------------------------------------------------------------------------------------

for (const preventAbort of [false, true]) {
  follows(
    "wpt: piping/multiple-propagation",
    `pipeTo() of a failed source to an aborted target rejects with the source's error (preventAbort ${preventAbort})`,
    async () => {
      using parts = await failedLine();
      const { source, target, error } = parts;
      await target.writable.abort("before");
      const piping = source.readable.pipeTo(target.writable, { preventAbort });
      assertStrictEquals(await failureOf(piping), error);
      assertEquals(await failureOf(target.writable.getWriter().closed), "before");
    },
  );
}

follows(
  "wpt: piping/multiple-propagation",
  "pipeTo() of a failed source to a target that has ended rejects with the source's error",
  async () => {
    using parts = await failedLine();
    const { source, target, error } = parts;
    await target.writable.close();
    assertStrictEquals(await failureOf(source.readable.pipeTo(target.writable)), error);
    assertEquals(await target.writable.getWriter().closed, undefined);
  },
);

follows(
  "wpt: piping/multiple-propagation",
  "pipeTo() of a source that has ended to an aborted target rejects with the reason",
  async () => {
    using parts = await line();
    const { source, target, sender } = parts;
    await sender.closeWrite();
    await target.writable.abort("before");
    assertEquals(await failureOf(source.readable.pipeTo(target.writable)), "before");
    assertEquals(await source.readable.getReader().closed, undefined);
  },
);

for (const isOver of [false, true]) {
  follows(
    "wpt: piping/multiple-propagation",
    `pipeTo() of a source that has ended to a target that ${
      isOver ? "has ended" : "ends"
    } resolves`,
    async () => {
      using parts = await line();
      const { source, target, sender, receiver } = parts;
      await sender.closeWrite();
      const reader = source.readable.getReader();
      assert((await reader.read()).done);
      reader.releaseLock();
      const { writable } = target;
      await turn();
      const closing = writable.close();
      if (isOver) await closing;
      assertEquals(await source.readable.pipeTo(target.writable), undefined);
      assertEquals(await readText(receiver), null);
    },
  );
}

follows(
  "wpt: readable-byte-streams/tee",
  "both branches of tee() pipe to the end, each to its own target",
  async () => {
    using one = await line();
    using two = await ends();
    const [left, right] = one.source.readable.tee();
    const piping = Promise.all([left.pipeTo(one.target.writable), right.pipeTo(two.conn.writable)]);
    await one.sender.write(encode("abc"));
    await one.sender.closeWrite();
    await piping;
    assertEquals(decode(await readAll(one.receiver)), "abc");
    assertEquals(decode(await readAll(two.peer)), "abc");
  },
);
