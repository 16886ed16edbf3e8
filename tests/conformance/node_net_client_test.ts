import { connect, NotASocket, NothingListening, serve, SocketNotFound } from "@uds/uds";
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { encode, fixture, gate, readText, TempDir } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { failureOf } from "./_streams.ts";

const noop = async () => {};

follows(
  "node: test-net-connect-options-path",
  "a client takes the path as a string, a URL, or in options",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    await using _server = await serve(path, async (conn) => void await conn.write(encode("ok")));
    for (const where of [path, { path }, new URL(`file://${path}`)]) {
      await using client = await connect(where);
      assertEquals(await readText(client), "ok");
    }
  },
);

follows(
  "node: test-net-better-error-messages-path",
  "a path where nothing is rejects, and is named",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("missing");
    const error = await assertRejects(
      () => connect(path),
      SocketNotFound,
      `Cannot connect to "${path}"`,
    );
    assertEquals([error.code, error.path], ["ENOENT", path]);
  },
);

for (const path of [{}, undefined, null, 1, ["/s"], ""]) {
  follows(
    "node: test-net-better-error-messages-path",
    `connect() refuses the path ${JSON.stringify(path)}`,
    async () => {
      await assertRejects(() => connect({ path: path as string }), TypeError);
      await assertRejects(() => connect(path as string), TypeError);
    },
  );
}

follows(
  "node: test-net-pipe-connect-errors",
  "a file that is not a socket, and a socket without a server, reject differently",
  async () => {
    await using dir = new TempDir();
    await Deno.writeTextFile(dir.file("file"), "");
    await assertRejects(() => connect(dir.file("file")), NotASocket);
    const listener = Deno.listen({ transport: "unix", path: dir.file("other") });
    await Deno.rename(dir.file("other"), dir.file("dead"));
    listener.close();
    const error = await assertRejects(() => connect(dir.file("dead")), NothingListening);
    assertEquals(error.code, "ECONNREFUSED");
  },
);

follows(
  "node: test-net-connect-abort-controller",
  "an aborted signal rejects with its reason, before and while it connects",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    await using _server = await serve(path, noop);
    const reason = new Error("mine");
    const early = connect({ path, signal: AbortSignal.abort(reason) });
    assertStrictEquals(await failureOf(early), reason);
    const control = new AbortController();
    const waiting = connect({ path: dir.file("later"), wait: true, signal: control.signal });
    control.abort(reason);
    assertStrictEquals(await failureOf(waiting), reason);
  },
);

follows(
  "node: test-net-connect-abort-controller",
  "an abort after the connection is open leaves it open",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    await using _server = await serve(path, async (conn) => void await conn.write(encode("hi")));
    const control = new AbortController();
    await using client = await connect({ path, signal: control.signal });
    control.abort();
    assertEquals(await readText(client), "hi");
  },
);

follows(
  "node: test-net-reconnect",
  "50 connections one after the other, each ended by both sides",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    let ended = 0;
    await using _server = await serve(path, async (conn) => {
      await conn.write(encode("hello\r\n"));
      assertEquals(await readText(conn), null);
      ended++;
    });
    for (let i = 0; i < 50; i++) {
      await using client = await connect(path);
      assertEquals(await readText(client), "hello\r\n");
      await client.closeWrite();
      assertEquals([await readText(client), ended], [null, i + 1]);
      await client.closed;
    }
  },
);

follows(
  "node: test-net-connect-immediate-destroy",
  "a client that leaves at once disturbs nothing",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const errors: unknown[] = [];
    const done = gate();
    let count = 0;
    await using _server = await serve(
      { path, onError: (error) => void errors.push(error) },
      async (conn) => {
        assertEquals(await readText(conn), null);
        if (++count === 10) done.open();
      },
    );
    for (let i = 0; i < 10; i++) (await connect(path)).close();
    await done.opened;
    assertEquals(errors, []);
  },
);

follows(
  "node: test-net-child-process-connect-reset",
  "the death of a server is the end of file for its client",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    const files = `${path},${path}.lock`;
    const flags = [`--allow-read=${files}`, `--allow-write=${files}`, `--allow-net=unix:${path}`];
    await using program = fixture("peer_echo.ts", flags, [path]);
    assertEquals(await program.line(), "ready");
    await using client = await connect(path);
    // A client in the backlog would be reset.
    await client.write(encode("x"));
    assertEquals(await readText(client), "x");
    const reading = readText(client);
    program.kill("SIGKILL");
    assertEquals(await reading, null);
    await client.closed;
  },
);
