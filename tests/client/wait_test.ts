import {
  connect,
  type ConnectOptions,
  ConnectTimeout,
  listen,
  NotASocket,
  NothingListening,
  serve,
  type SocketError,
  SocketNotFound,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  encode,
  FullListener,
  makeStale,
  openDescriptors,
  readText,
  TempDir,
  test,
  testAlone,
  turn,
} from "../_helpers.ts";
import { refusal, start } from "./_client.ts";

// wait --------------------------------------------------------------------------------------------

testAlone("connect() with wait finds a server that starts 500 ms later", async () => {
  await using dir = new TempDir();
  const path = dir.file("late.sock");
  const begun = performance.now();
  const connecting = connect({ path, wait: true });
  await new Promise((resolve) => setTimeout(resolve, 500));
  await using listener = await listen(path);
  const [server, client] = await Promise.all([listener.accept(), connecting]);
  const took = performance.now() - begun;
  assert(took >= 499 && took < 1500, `it took ${took} ms`);
  await server.write(encode("at last"));
  assertEquals(await readText(client), "at last");
  client.close();
  server.close();
});

test("connect() with wait finds a server that replaces a stale file", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await makeStale(path);
  const connecting = connect({ path, wait: true });
  await turn();
  await using _server = await serve(path, (conn) => conn.write(encode("alive")));
  using client = await connecting;
  assertEquals(await readText(client), "alive");
});

test("connect() with wait tries again if the server closes while it connects", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const closing = Deno.listen({ transport: "unix", path });
  const refused = assertRejects(() => connect(path), NothingListening);
  const connecting = connect({ path, wait: true });
  // Both connections are in the backlog.
  closing.close();
  assertEquals((await refused).code, "ECONNRESET");
  await using _server = await serve(path, (conn) => conn.write(encode("alive")));
  using client = await connecting;
  assertEquals(await readText(client), "alive");
});

test("connect() with wait finds a server in a directory that is made later", async () => {
  await using dir = new TempDir();
  const path = dir.file("sub/s.sock");
  const connecting = connect({ path, wait: true });
  await turn();
  await using listener = await listen({ path, createDirectory: true });
  const [server, client] = await Promise.all([listener.accept(), connecting]);
  client.close();
  server.close();
});

testAlone("connect() with wait does not wait where waiting cannot help", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("text"), "");
  const begun = performance.now();
  const error = await refusal(connect({ path: dir.file("text"), wait: true, timeout: 5000 }));
  assertInstanceOf(error, NotASocket);
  assert(performance.now() - begun < 2000, "it waited");
});

// timeout -----------------------------------------------------------------------------------------

interface Wait {
  options: Omit<ConnectOptions, "path">;
  /** Makes the state at the path. What it returns undoes it. */
  prepare(path: string): Promise<Disposable | void>;
  /** The last refusal. */
  cause: new (...args: never[]) => Error;
  code: string;
  says: string;
}

const waits: Record<string, Wait> = {
  "a full backlog": {
    options: {},
    prepare: (path) => FullListener.open(path),
    cause: Deno.errors.WouldBlock,
    code: "EAGAIN",
    says: "its backlog is full",
  },
  "a full backlog, with wait": {
    options: { wait: true },
    prepare: (path) => FullListener.open(path),
    cause: Deno.errors.WouldBlock,
    code: "EAGAIN",
    says: "its backlog is full",
  },
  "no file, with wait": {
    options: { wait: true },
    prepare: () => Promise.resolve(),
    cause: SocketNotFound,
    code: "ENOENT",
    says: "there is no such file",
  },
  "a stale file, with wait": {
    options: { wait: true },
    prepare: makeStale,
    cause: NothingListening,
    code: "ECONNREFUSED",
    says: "no server listens on it",
  },
};

for (const [state, { options, prepare, cause: Cause, code, says }] of Object.entries(waits)) {
  testAlone(`connect() stops after its timeout and leaves nothing: ${state}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("t.sock");
    using _state = await prepare(path) ?? null;
    const before = openDescriptors();
    const begun = performance.now();
    const error = await refusal(connect({ path, timeout: 150, ...options }));
    const took = performance.now() - begun;
    assert(took >= 149 && took < 1150, `it took ${took} ms`);
    assertInstanceOf(error, ConnectTimeout);
    assertInstanceOf(error, Deno.errors.TimedOut);
    assertEquals([error.name, error.path, error.code], ["ConnectTimeout", path, "ETIMEDOUT"]);
    assert(error.message.startsWith(`${start(path)}no connection within 150 ms`), error.message);
    assert(error.message.includes(says), error.message);
    const refused = error.cause as SocketError;
    assertInstanceOf(refused, Cause);
    assertEquals([refused.operation, refused.path, refused.code], ["connect", path, code]);
    assertEquals(openDescriptors(), before);
  });

  test(`connect() with timeout 0 tries once: ${state}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("t.sock");
    using _state = await prepare(path) ?? null;
    const before = openDescriptors();
    const error = await refusal(connect({ path, ...options, timeout: 0 }));
    assertInstanceOf(error, Cause);
    assertEquals([error.path, error.code], [path, code]);
    assert(error.message.startsWith(start(path)) && error.message.includes(says), error.message);
    assertEquals(openDescriptors(), before);
  });

  test(`connect() ends at once with the signal's reason: ${state}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("t.sock");
    using _state = await prepare(path) ?? null;
    const before = openDescriptors();
    const abort = new AbortController();
    const connecting = connect({ path, ...options, timeout: Infinity, signal: abort.signal });
    for (let i = 0; i < 10; i++) await turn();
    const reason = new Error("changed my mind");
    const rejected = assertRejects(() => connecting, Error);
    let settled = false;
    rejected.then(() => settled = true);
    abort.abort(reason);
    await turn();
    assert(settled, "it waited for its timer");
    assertEquals(await rejected, reason);
    assertEquals(openDescriptors(), before);
  });
}

test("connect() with timeout 0 succeeds where there is a server", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("t.sock"));
  using _client = await connect({ path: dir.file("t.sock"), timeout: 0 });
  (await listener.accept()).close();
});
