import { connect, listen, serve, SocketNotFound } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { encode, readText, TempDir, test, within } from "../_helpers.ts";

test("serve() shuts down when its signal aborts", async () => {
  await using dir = new TempDir();
  const path = dir.file("g.sock");
  const abort = new AbortController();
  const server = await serve({ path, signal: abort.signal }, async (conn) => {
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  const client = await connect(path);
  abort.abort();
  await assertRejects(() => connect(path), SocketNotFound);
  await client.write(encode("hello"));
  assertEquals(await readText(client), "you said hello");
  await server.finished;
  assertEquals(await server.shutdown(), { completed: 1, aborted: 0 });
  assertEquals(dir.list(), []);
  client.close();
});

const STARTS = {
  serve: (path: string, signal: AbortSignal) =>
    serve({ path, signal }, async () => {}).then((server) => () => server.finished),
  listen: (path: string, signal: AbortSignal) =>
    listen({ path, signal }).then((listener) => async () => {
      await assertRejects(() => listener.accept(), Deno.errors.BadResource);
      await listener.close();
    }),
};

for (const [name, start] of Object.entries(STARTS)) {
  test(`${name}() rejects with the reason of a signal that was aborted before`, async () => {
    await using dir = new TempDir();
    const reason = new Error("not now");
    const error = await assertRejects(
      () => start(dir.file("p.sock"), AbortSignal.abort(reason)),
      Error,
    );
    assertStrictEquals(error, reason);
    assertEquals(dir.list(), []);
    const abstract = `\0uds-aborted-${Deno.pid}`;
    const same = await assertRejects(() => start(abstract, AbortSignal.abort(reason)), Error);
    assertStrictEquals(same, reason);
  });

  test(`${name}() rejects or ends when its signal aborts while it starts, at any step`, async () => {
    await using dir = new TempDir();
    const path = dir.file("w.sock");
    const reason = new Error("not now");
    let rejected = 0;
    let ended = 0;
    for (let step = 0; step < 40; step++) {
      const abort = new AbortController();
      const starting = start(path, abort.signal);
      starting.catch(() => {});
      // All steps of a start are microtasks while the path is free.
      for (let i = 0; i < step; i++) await Promise.resolve();
      abort.abort(reason);
      let wait;
      try {
        wait = await starting;
      } catch (error) {
        assertStrictEquals(error, reason, `after ${step} microtasks`);
        rejected++;
        assertEquals(dir.list(), []);
        continue;
      }
      await within(2000, wait());
      ended++;
      assertEquals(dir.list(), []);
    }
    // Both happened: the steps cover the whole start.
    assert(rejected > 0 && ended > 0, `${rejected} rejected, ${ended} ended`);
  });
}
