import { type Connection, ConnectionClosed, socketpair } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { decode, encode, readAll, readText, test } from "../_helpers.ts";

/**
 * What the standard promises of `pipeTo`, from and to connections. Between two connections it is
 * our own code.
 */

const LARGE = 4 * 1024 * 1024;

/** Two connections to pipe, from `source` to `target`, and their peers. */
interface Line extends Disposable {
  source: Connection;
  target: Connection;
  client: Connection;
  server: Connection;
}

async function line(): Promise<Line> {
  const [client, source] = await socketpair();
  const [target, server] = await socketpair();
  return {
    source,
    target,
    client,
    server,
    [Symbol.dispose]() {
      for (const conn of [source, target, client, server]) conn.close();
    },
  };
}

/** Returns what a promise rejects with. */
function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(() => "it has resolved", (error) => error);
}

function pause(ms = 10): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Our own pipeTo() and Deno's. */
const WAYS = {
  "our pipeTo()": (from: Connection, to: Connection, options?: StreamPipeOptions) =>
    from.readable.pipeTo(to.writable, options),
  "Deno's pipeTo()": (from: Connection, to: Connection, options?: StreamPipeOptions) =>
    ReadableStream.prototype.pipeTo.call(from.readable, to.writable, options),
};

for (const [way, pipe] of Object.entries(WAYS)) {
  test(`${way} passes everything on, then the end, and unlocks both`, async () => {
    using ends = await line();
    const piping = pipe(ends.source, ends.target);
    assert(ends.source.readable.locked && ends.target.writable.locked);
    const reading = readAll(ends.server);
    await ends.client.write(new Uint8Array(LARGE));
    await ends.client.closeWrite();
    assertEquals(await piping, undefined);
    assertEquals((await reading).length, LARGE);
    assert(!ends.source.readable.locked && !ends.target.writable.locked);
    // The other directions are open.
    await ends.server.write(encode("back"));
    assertEquals(await readText(ends.target), "back");
  });

  test(`${way} with preventClose leaves the target open`, async () => {
    using ends = await line();
    await ends.client.write(encode("a"));
    await ends.client.closeWrite();
    await pipe(ends.source, ends.target, { preventClose: true });
    const writer = ends.target.writable.getWriter();
    await writer.write(encode("b"));
    await writer.close();
    assertEquals(decode(await readAll(ends.server)), "ab");
  });

  test(`${way} passes a reset of the source on: the target is closed`, async () => {
    using ends = await line();
    await ends.source.write(encode("unread"));
    ends.client.close();
    const error = await assertRejects(
      () => pipe(ends.source, ends.target),
      Deno.errors.ConnectionReset,
    );
    await ends.target.closed;
    assertEquals((await readAll(ends.server)).length, 0);
    assertStrictEquals(await failureOf(ends.target.writable.getWriter().closed), error);
  });

  test(`${way} with preventAbort leaves the target usable after a reset of the source`, async () => {
    using ends = await line();
    await ends.source.write(encode("unread"));
    ends.client.close();
    await assertRejects(
      () => pipe(ends.source, ends.target, { preventAbort: true }),
      Deno.errors.ConnectionReset,
    );
    const writer = ends.target.writable.getWriter();
    await writer.write(encode("sorry"));
    assertEquals(await readText(ends.server), "sorry");
  });

  test(`${way} passes the failure of the target back: the source is canceled`, async () => {
    using ends = await line();
    ends.server.close();
    await ends.client.write(encode("x"));
    const error = await failureOf(pipe(ends.source, ends.target));
    assert(error instanceof Deno.errors.BrokenPipe);
    assert((await ends.source.readable.getReader().read()).done);
    // Canceling ended its reading side. It closes once its writing side has ended too.
    await ends.source.closeWrite();
    await ends.source.closed;
  });

  test(`${way} with preventCancel leaves the source readable after a failure of the target`, async () => {
    using ends = await line();
    ends.server.close();
    await ends.client.write(encode("x"));
    await assertRejects(
      () => pipe(ends.source, ends.target, { preventCancel: true }),
      Deno.errors.BrokenPipe,
    );
    await ends.client.write(encode("next"));
    assertEquals(decode((await ends.source.readable.getReader().read()).value!), "next");
  });

  test(`${way} to a target that has closed rejects, and cancels the source`, async () => {
    using ends = await line();
    await ends.target.writable.close();
    await assertRejects(() => pipe(ends.source, ends.target), TypeError);
    assert((await ends.source.readable.getReader().read()).done);
  });

  test(`${way} to a target that has failed rejects with its failure`, async () => {
    using ends = await line();
    const reason = new Error("failed before");
    await ends.target.writable.abort(reason);
    assertStrictEquals(await failureOf(pipe(ends.source, ends.target)), reason);
    assert((await ends.source.readable.getReader().read()).done);
  });

  test(`${way} refuses a locked end, and disturbs neither`, async () => {
    using ends = await line();
    const reader = ends.source.readable.getReader();
    await assertRejects(() => pipe(ends.source, ends.target), TypeError);
    reader.releaseLock();
    const writer = ends.target.writable.getWriter();
    await assertRejects(() => pipe(ends.source, ends.target), TypeError);
    writer.releaseLock();
    await ends.client.write(encode("x"));
    await ends.client.closeWrite();
    await pipe(ends.source, ends.target);
    assertEquals(decode(await readAll(ends.server)), "x");
  });

  test(`${way} refuses a signal that is not one, and disturbs neither end`, async () => {
    using ends = await line();
    for (const signal of [null, true, {}]) {
      const options = { signal } as unknown as StreamPipeOptions;
      await assertRejects(() => pipe(ends.source, ends.target, options), TypeError);
    }
    assert(!ends.source.readable.locked && !ends.target.writable.locked);
    assertEquals(ends.source.bytesRead, 0);
  });

  test(`${way} with a signal that has aborted reads nothing, and ends both`, async () => {
    using ends = await line();
    await ends.client.write(encode("x"));
    const reason = new Error("stop");
    const piping = pipe(ends.source, ends.target, { signal: AbortSignal.abort(reason) });
    assertStrictEquals(await failureOf(piping), reason);
    assertEquals(ends.source.bytesRead, 0);
    assert((await ends.source.readable.getReader().read()).done);
    assertStrictEquals(await failureOf(ends.target.writable.getWriter().closed), reason);
  });

  test(`${way} ends both when the signal aborts while the source is silent`, async () => {
    using ends = await line();
    const control = new AbortController();
    const piping = pipe(ends.source, ends.target, { signal: control.signal });
    await ends.client.write(encode("x"));
    assertEquals(await readText(ends.server), "x");
    control.abort();
    const error = await failureOf(piping);
    assertStrictEquals(error, control.signal.reason);
    assert(error instanceof DOMException && error.name === "AbortError");
    await ends.target.closed;
    assertEquals(await readText(ends.server), null);
    assert(!ends.source.readable.locked && !ends.target.writable.locked);
  });

  test(`${way} with preventCancel and preventAbort only stops when the signal aborts`, async () => {
    using ends = await line();
    const control = new AbortController();
    const { signal } = control;
    const piping = pipe(ends.source, ends.target, {
      signal,
      preventAbort: true,
      preventCancel: true,
    });
    await pause();
    control.abort("stop");
    assertEquals(await failureOf(piping), "stop");
    await ends.client.write(encode("in"));
    assertEquals(decode((await ends.source.readable.getReader().read()).value!), "in");
    await ends.target.writable.getWriter().write(encode("out"));
    assertEquals(await readText(ends.server), "out");
  });

  test(`${way} does nothing when the signal aborts after the end`, async () => {
    using ends = await line();
    const control = new AbortController();
    await ends.client.closeWrite();
    await pipe(ends.source, ends.target, { signal: control.signal });
    control.abort();
    await ends.server.write(encode("open"));
    assertEquals(await readText(ends.target), "open");
  });

  test(`${way} reads no further than the target takes`, async () => {
    using ends = await line();
    const piping = failureOf(pipe(ends.source, ends.target));
    const writing = failureOf(ends.client.write(new Uint8Array(LARGE)));
    await pause(100);
    assert(ends.source.bytesRead < LARGE / 2, `${ends.source.bytesRead} bytes`);
    ends.target.close();
    assert(await piping instanceof ConnectionClosed);
    ends.source.close();
    await writing;
  });
}

test("our pipeTo() settles at once when the signal aborts and the target's peer does not read", async () => {
  using ends = await line();
  const control = new AbortController();
  const reason = new Error("stop");
  const piping = failureOf(
    ends.source.readable.pipeTo(ends.target.writable, { signal: control.signal }),
  );
  const writing = failureOf(ends.client.write(new Uint8Array(LARGE)));
  await pause(50);
  control.abort(reason);
  assertStrictEquals(await piping, reason);
  await ends.target.closed;
  assert((await ends.source.readable.getReader().read()).done);
  ends.source.close();
  await writing;
});

for (const option of ["preventClose", "preventCancel"]) {
  test(`our pipeTo() with ${option} settles at once as well`, async () => {
    using ends = await line();
    const control = new AbortController();
    const { source, target } = ends;
    const options = { signal: control.signal, [option]: true };
    const piping = failureOf(source.readable.pipeTo(target.writable, options));
    const writing = failureOf(ends.client.write(new Uint8Array(LARGE)));
    await pause(50);
    control.abort("stop");
    assertEquals(await piping, "stop");
    await target.closed;
    // Only preventCancel leaves the source readable.
    const { done } = await source.readable.getReader().read();
    assertEquals(done, option === "preventClose");
    source.close();
    await writing;
  });
}

test("our pipeTo() with preventCancel leaves what comes after the abort to the next reader", async () => {
  using ends = await line();
  const { source, target, client } = ends;
  const control = new AbortController();
  const options = { signal: control.signal, preventCancel: true };
  const piping = failureOf(source.readable.pipeTo(target.writable, options));
  await pause();
  control.abort("stop");
  assertEquals(await piping, "stop");
  assert(!source.readable.locked);
  await client.write(encode("later"));
  await client.closeWrite();
  assertEquals(await readText(source), "later");
});

test("pipeTo() of another stream ends when the signal has aborted and the connection is closed", async () => {
  const [conn, peer] = await socketpair();
  const chunks = function* () {
    for (;;) yield new Uint8Array(65536);
  };
  const control = new AbortController();
  const { signal } = control;
  signal.addEventListener("abort", () => conn.close());
  const piping = failureOf(ReadableStream.from(chunks()).pipeTo(conn.writable, { signal }));
  await pause(50);
  control.abort("stop");
  assertEquals(await piping, "stop");
  peer.close();
});

test("a connection that is piped to itself echoes", async () => {
  const [a, b] = await socketpair();
  const echoing = b.readable.pipeTo(b.writable);
  const reading = readAll(a);
  await a.write(new Uint8Array(LARGE));
  await a.closeWrite();
  assertEquals((await reading).length, LARGE);
  await echoing;
  await Promise.all([a.closed, b.closed]);
});

test("pipeThrough() passes the end and the bytes on", async () => {
  using ends = await line();
  const upper = new TransformStream<string, string>({
    transform: (text, controller) => controller.enqueue(text.toUpperCase()),
  });
  const piping = ends.source.readable
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(upper)
    .pipeThrough(new TextEncoderStream())
    .pipeTo(ends.target.writable);
  await ends.client.write(encode("abc"));
  await ends.client.closeWrite();
  assertEquals(decode(await readAll(ends.server)), "ABC");
  await piping;
});
