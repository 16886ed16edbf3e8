import { ConnectionClosed, encodeStream, lines } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import {
  decode,
  encode,
  gate,
  isPending,
  readAll,
  readText,
  turn,
  untilFull,
} from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { ends, failedLine, failureOf, LARGE, line, unlocked } from "./_streams.ts";

// An aborted signal -------------------------------------------------------------------------------

const NOT_SIGNALS = {
  null: null,
  "a string": "AbortSignal",
  true: true,
  "-1": -1,
  "an object of its prototype": Object.create(AbortSignal.prototype),
};

for (const [what, signal] of Object.entries(NOT_SIGNALS)) {
  follows(
    "wpt: piping/abort",
    `pipeTo() rejects ${what} for its signal, and calls nothing`,
    async () => {
      using parts = await line();
      const { source, target, sender } = parts;
      await sender.write(encode("x"));
      await assertRejects(
        () => source.readable.pipeTo(target.writable, { signal }),
        TypeError,
      );
      assertEquals(source.bytesRead, 0);
      assertEquals([source.readable.locked, target.writable.locked], [false, false]);
    },
  );
}

for (const [what, reason] of [["null", null], ["an error", new Error("stop")]] as const) {
  for (const when of ["before", "while it waits"]) {
    follows(
      "wpt: piping/abort",
      `pipeTo() passes ${what} as the reason of an abort ${when} to the target`,
      async () => {
        using parts = await line();
        const { source, target } = parts;
        const control = new AbortController();
        if (when === "before") control.abort(reason);
        const { signal } = control;
        const piping = failureOf(source.readable.pipeTo(target.writable, { signal }));
        control.abort(reason);
        assertStrictEquals(await piping, reason);
        assertStrictEquals(await failureOf(target.writable.getWriter().closed), reason);
        assertEquals(await source.readable.getReader().closed, undefined);
      },
    );
  }
}

follows("wpt: piping/abort", "pipeTo() rejects with an AbortError without a reason", async () => {
  using parts = await line();
  const { source, target } = parts;
  const piping = source.readable.pipeTo(target.writable, { signal: AbortSignal.abort() });
  await assertRejects(() => piping, DOMException, "abort");
});

for (const what of ["preventCancel", "preventAbort", "both"]) {
  follows(
    "wpt: piping/abort",
    `pipeTo() with an aborted signal and ${what} leaves that alone`,
    async () => {
      using parts = await line();
      const { source, target, sender, receiver } = parts;
      const preventCancel = what !== "preventAbort";
      const preventAbort = what !== "preventCancel";
      const signal = AbortSignal.abort("stop");
      const options = { signal, preventCancel, preventAbort };
      assertEquals(await failureOf(source.readable.pipeTo(target.writable, options)), "stop");
      await sender.write(encode("in"));
      const reader = source.readable.getReader();
      assertEquals((await reader.read()).done, !preventCancel);
      const writing = failureOf(target.writable.getWriter().write(encode("out")));
      if (preventAbort) assertEquals(await readText(receiver), "out");
      else assertEquals(await writing, "stop");
    },
  );
}

follows("wpt: piping/abort", "an abort during a write stops further reads", async () => {
  using both = await ends();
  const { conn, peer } = both;
  const control = new AbortController();
  const { signal } = control;
  const written: string[] = [];
  const target = new WritableStream<Uint8Array>({
    write(chunk) {
      written.push(decode(chunk));
      control.abort("stop");
    },
  });
  await peer.write(encode("a"));
  const piping = conn.readable.pipeTo(target, { signal, preventCancel: true });
  assertEquals(await failureOf(piping), "stop");
  await peer.write(encode("b"));
  assertEquals([written, await readText(conn)], [["a"], "b"]);
});

for (const state of ["has ended", "has failed"]) {
  follows(
    "wpt: piping/abort",
    `an aborted signal counts first if the source ${state}`,
    async () => {
      using parts = state === "has failed" ? await failedLine() : await line();
      const { source, target, sender } = parts;
      if (state === "has ended") {
        await sender.closeWrite();
        const reader = source.readable.getReader();
        await reader.read();
        reader.releaseLock();
      }
      const options = { signal: AbortSignal.abort("stop") };
      assertEquals(await failureOf(source.readable.pipeTo(target.writable, options)), "stop");
    },
  );

  follows(
    "wpt: piping/abort",
    `an aborted signal counts first if the target ${state}`,
    async () => {
      using parts = await line();
      const { source, target } = parts;
      await (state === "has failed" ? target.writable.abort("before") : target.writable.close());
      const options = { signal: AbortSignal.abort("stop") };
      assertEquals(await failureOf(source.readable.pipeTo(target.writable, options)), "stop");
    },
  );
}

follows("wpt: piping/abort", "an abort after the source has ended changes nothing", async () => {
  using parts = await line();
  const { source, target, sender, receiver } = parts;
  const control = new AbortController();
  const { signal } = control;
  const piping = source.readable.pipeTo(target.writable, { signal, preventClose: true });
  await sender.closeWrite();
  await piping;
  control.abort("late");
  await target.writable.getWriter().write(encode("x"));
  assertEquals(await readText(receiver), "x");
});

follows("wpt: piping/abort", "an abort after the source has failed changes nothing", async () => {
  using parts = await failedLine();
  const { source, target, receiver, error } = parts;
  const control = new AbortController();
  const { signal } = control;
  const piping = source.readable.pipeTo(target.writable, { signal, preventAbort: true });
  assertStrictEquals(await failureOf(piping), error);
  control.abort("late");
  await target.writable.getWriter().write(encode("x"));
  assertEquals(await readText(receiver), "x");
});

follows(
  "wpt: piping/general-addition",
  "pipeTo() of one branch of tee() is aborted once the other branch is canceled",
  async () => {
    using parts = await line();
    const [one, two] = parts.source.readable.tee();
    const options = { signal: AbortSignal.abort("stop") };
    const piping = failureOf(one.pipeTo(parts.target.writable, options));
    assert(await isPending(piping));
    await two.cancel();
    assertEquals(await piping, "stop");
  },
);

// A failure of the target -------------------------------------------------------------------------

follows(
  "wpt: piping/error-propagation-backward",
  "pipeTo() to an aborted target rejects with the reason, and cancels the source",
  async () => {
    using parts = await line();
    const { source, target } = parts;
    await target.writable.abort("before");
    assertEquals(await failureOf(source.readable.pipeTo(target.writable)), "before");
    assert((await source.readable.getReader().read()).done);
  },
);

for (const preventCancel of [true, 1, "x"]) {
  follows(
    "wpt: piping/error-propagation-backward",
    `pipeTo() to an aborted target leaves the source with preventCancel ${preventCancel}`,
    async () => {
      using parts = await line();
      const { source, target, sender } = parts;
      await target.writable.abort("before");
      const options = { preventCancel } as never;
      assertEquals(await failureOf(source.readable.pipeTo(target.writable, options)), "before");
      await sender.write(encode("x"));
      assertEquals(await readText(source), "x");
    },
  );
}

follows(
  "wpt: piping/error-propagation-backward",
  "pipeTo() rejects with the failure of a write, and cancels the source",
  async () => {
    using parts = await line();
    const { source, target, sender, receiver } = parts;
    const piping = source.readable.pipeTo(target.writable);
    await sender.write(encode("good"));
    assertEquals(await readText(receiver), "good");
    receiver.close();
    await sender.write(encode("bad"));
    const error = await assertRejects(() => piping, Deno.errors.BrokenPipe);
    assertStrictEquals(await failureOf(target.writable.getWriter().closed), error);
    assert((await source.readable.getReader().read()).done);
  },
);

follows(
  "wpt: piping/error-propagation-backward",
  "pipeTo() rejects with the failure of the last write, also if the source has ended",
  async () => {
    using parts = await line();
    const { source, target, sender, receiver } = parts;
    receiver.close();
    await sender.write(encode("last"));
    await sender.closeWrite();
    await assertRejects(() => source.readable.pipeTo(target.writable), Deno.errors.BrokenPipe);
    assert((await source.readable.getReader().read()).done);
  },
);

follows(
  "wpt: piping/error-propagation-backward",
  "pipeTo() settles while the target takes no more, if the target is closed",
  async () => {
    using parts = await line();
    const { source, target, sender } = parts;
    const sending = failureOf(sender.write(new Uint8Array(LARGE)));
    const piping = failureOf(source.readable.pipeTo(target.writable));
    await untilFull(target);
    target.close();
    assert(await piping instanceof ConnectionClosed);
    source.close();
    await sending;
  },
);

follows(
  "wpt: piping/error-propagation-backward",
  "pipeTo() to a closed target rejects at the next chunk, as a stream does not learn of it earlier",
  async () => {
    using parts = await line();
    const { source, target, sender } = parts;
    const piping = failureOf(source.readable.pipeTo(target.writable));
    target.close();
    assert(await isPending(piping));
    await sender.write(encode("x"));
    assert(await piping instanceof ConnectionClosed);
  },
);

// Flow control ------------------------------------------------------------------------------------

follows(
  "wpt: piping/flow-control",
  "pipeTo() reads nothing while the target takes nothing",
  async () => {
    using both = await ends();
    const { conn, peer } = both;
    await peer.write(encode("abc"));
    const chunks: string[] = [];
    const target = new WritableStream<Uint8Array>(
      { write: (chunk) => void chunks.push(decode(chunk)) },
      { highWaterMark: 0 },
    );
    const control = new AbortController();
    const piping = failureOf(conn.readable.pipeTo(target, { signal: control.signal }));
    for (let i = 0; i < 5; i++) await turn();
    assertEquals([conn.bytesRead, chunks], [0, []]);
    control.abort("stop");
    assertEquals(await piping, "stop");
  },
);

follows("wpt: piping/flow-control", "pipeTo() goes on once the target wants more", async () => {
  using both = await ends();
  const { conn, peer } = both;
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  await peer.write(encode("abc"));
  await peer.closeWrite();
  const piping = conn.readable.pipeTo(writable);
  for (let i = 0; i < 5; i++) await turn();
  assertEquals(conn.bytesRead, 0);
  assertEquals(await new Response(readable).text(), "abc");
  await piping;
});

follows("wpt: piping/flow-control", "a slow target holds the source's peer back", async () => {
  using parts = await line();
  const { source, target, sender, receiver } = parts;
  const piping = source.readable.pipeTo(target.writable);
  const sending = sender.write(new Uint8Array(2 * LARGE));
  await untilFull(target);
  const held = sender.bytesWritten;
  assert(held < 2 * LARGE, `${held} bytes are on the way`);
  const reading = readAll(receiver);
  await sending;
  await sender.closeWrite();
  await piping;
  assertEquals((await reading).length, 2 * LARGE);
});

// Transforms --------------------------------------------------------------------------------------

follows(
  "wpt: piping/transform-streams",
  "the end goes through a transform to the peer",
  async () => {
    using parts = await line();
    const { source, target, sender, receiver } = parts;
    const piping = source.readable.pipeThrough(new TransformStream()).pipeTo(target.writable);
    await sender.write(encode("x"));
    await sender.closeWrite();
    await piping;
    assertEquals(decode(await readAll(receiver)), "x");
  },
);

follows("wpt: piping/pipe-through", "pipeThrough() takes any pair of streams", async () => {
  using parts = await line();
  using way = await ends();
  const { source, sender } = parts;
  const result = source.readable.pipeThrough({
    writable: way.conn.writable,
    readable: way.peer.readable,
  });
  assertStrictEquals(result, way.peer.readable);
  await sender.write(encode("through"));
  await sender.closeWrite();
  assertEquals(await new Response(result).text(), "through");
});

follows("wpt: piping/pipe-through", "pipeThrough() throws if the source is locked", async () => {
  using both = await ends();
  both.conn.readable.getReader();
  assertThrows(() => both.conn.readable.pipeThrough(new TransformStream()), TypeError);
});

follows("wpt: piping/pipe-through", "pipeThrough() throws if its writable is locked", async () => {
  using parts = await line();
  const { source, target } = parts;
  target.writable.getWriter();
  assertThrows(() => source.readable.pipeThrough(target), TypeError);
  assert(!source.readable.locked);
});

follows("wpt: piping/pipe-through", "pipeThrough() takes a readable that is locked", async () => {
  using parts = await line();
  const { source, target, sender, receiver } = parts;
  target.readable.getReader();
  source.readable.pipeThrough(target);
  await sender.write(encode("x"));
  assertEquals(await readText(receiver), "x");
});

follows(
  "wpt: piping/pipe-through",
  "pipeThrough() of a failing transform rejects nothing else",
  async () => {
    using both = await ends();
    const { conn, peer } = both;
    const failing = new TransformStream<Uint8Array, Uint8Array>({
      transform() {
        throw new RangeError("mine");
      },
    });
    await peer.write(encode("x"));
    await assertRejects(() => new Response(conn.readable.pipeThrough(failing)).text(), RangeError);
    await unlocked(conn.readable);
    assert((await conn.readable.getReader().read()).done);
  },
);

follows(
  "wpt: piping/pipe-through",
  "pipeThrough() with a signal fails both of its streams",
  async () => {
    using both = await ends();
    const control = new AbortController();
    const { signal } = control;
    const result = both.conn.readable.pipeThrough(new TransformStream(), { signal });
    const reading = failureOf(result.getReader().read());
    control.abort("stop");
    assertEquals(await reading, "stop");
    await unlocked(both.conn.readable);
    assert((await both.conn.readable.getReader().read()).done);
  },
);

follows(
  "wpt: piping/pipe-through",
  "pipeThrough() of a codec's encoder, aborted: the connection closes, and the source is canceled",
  async () => {
    using both = await ends();
    const { opened: canceled, open: cancel } = gate<unknown>();
    const source = new ReadableStream<string>({
      start: (controller) => controller.enqueue("one"),
      cancel,
    });
    const control = new AbortController();
    const { signal } = control;
    const piping = source.pipeThrough(encodeStream(lines())).pipeTo(both.conn.writable, { signal });
    assertEquals(await readText(both.peer), "one\n");
    control.abort("stop");
    assertEquals(await failureOf(piping), "stop");
    assertEquals(await readText(both.peer), null);
    assertEquals(await canceled, "stop");
  },
);
