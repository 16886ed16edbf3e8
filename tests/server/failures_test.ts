import { connect, permissionFlags, permissions, serve, type ServeHandlerInfo } from "@uds/uds";
import { assert, assertEquals, assertMatch, assertStrictEquals } from "@std/assert";
import { encode, fixture, gate, readAll, readText, TempDir, test } from "../_helpers.ts";
import { hostileValues } from "../_hostile_values.ts";
import { fetchText, fieldsOf } from "./_server.ts";

// ---- One connection's failure is its own --------------------------------------------------------

const FAILURES = {
  "rejects": () => Promise.reject(new Error("it failed")),
  "throws synchronously": () => {
    throw new Error("it failed");
  },
};

for (const [how, fail] of Object.entries(FAILURES)) {
  test(`serve() calls onError once for a handler that ${how}, and goes on`, async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    const told: [unknown, ServeHandlerInfo | undefined][] = [];
    let handled = 0;
    let given: ServeHandlerInfo | undefined;
    await using server = await serve(
      { path, onError: (error, info) => void told.push([error, info]) },
      (conn, info) => {
        if (++handled > 1) return conn.write(encode("served"));
        given = info;
        return fail();
      },
    );
    assertEquals(await fetchText(path), "");
    assertEquals(await fetchText(path), "served");
    assertEquals(told.map(([error]) => `${error}`), ["Error: it failed"]);
    assertStrictEquals(told[0]?.[1], given);
    assertEquals(server.connections, 0);
  });
}

for (const [name, value] of Object.entries(hostileValues())) {
  test(`serve() reports ${name} that its handler throws, and goes on`, async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    const thrown: unknown[] = [];
    let handled = 0;
    await using server = await serve(
      // What onError throws is printed.
      {
        path,
        onError: (error) => {
          thrown.push(error);
          throw error;
        },
      },
      async (conn) => {
        if (++handled > 1) return await conn.writeText("served");
        throw value;
      },
    );
    assertEquals(await fetchText(path), "");
    assertEquals(await fetchText(path), "served");
    assert(thrown.length === 1 && Object.is(thrown[0], value));
    assertEquals(server.connections, 0);
  });
}

test("serve() calls onError once for a client that resets, and goes on", async () => {
  await using dir = new TempDir();
  const path = dir.file("r.sock");
  const told: unknown[] = [];
  const over = gate();
  await using server = await serve({
    path,
    onError: (error) => {
      told.push(error);
      over.open();
    },
  }, async (conn) => {
    await conn.write(encode("ab"));
    while (await conn.read(new Uint8Array(8)) !== null);
  });
  const client = await connect(path);
  await client.read(new Uint8Array(1));
  // The kernel resets a connection that is closed with bytes unread.
  client.close();
  await over.opened;
  const calm = await connect(path);
  assertEquals(await readText(calm), "ab");
  assertEquals(server.connections, 1);
  calm.close();
  await server.shutdown();
  assertEquals(told.map(fieldsOf), [["ConnectionReset", "read", path, "ECONNRESET"]]);
  assert(told[0] instanceof Deno.errors.ConnectionReset);
});

test("serve() without onError prints a reset of another connection, but not of its client", async () => {
  await using dir = new TempDir();
  const [path, other] = [dir.file("c.sock"), dir.file("o.sock")];
  await using _other = await serve(other, async (conn) => {
    await conn.read(new Uint8Array(1));
    await conn.write(encode("x"));
  });
  await using program = fixture("server_client_left.ts", ["-A"], [path, other]);
  assertEquals(await program.output(), ["client", "other"]);
  assertEquals((await program.status).code, 0);
  const stderr = await program.stderr();
  assertMatch(
    stderr,
    /^uds: Cannot (?:read from|write to) "[^"]*o\.sock": the peer closed it[^\n]*\n$/,
  );
});

test("serve() blocks the writes to a client that never reads, and serves the others", async () => {
  await using dir = new TempDir();
  const path = dir.file("n.sock");
  const told: unknown[] = [];
  let handled = 0;
  let written = 0;
  await using server = await serve(
    { path, onError: (error) => void told.push(error) },
    async (c) => {
      const data = new Uint8Array(++handled === 1 ? 8_000_000 : 10);
      const count = await c.write(data);
      written += count;
    },
  );
  const stalled = await connect(path);
  for (let i = 0; i < 10; i++) assertEquals((await fetchText(path)).length, 10);
  assertEquals([handled, written, server.connections], [11, 100, 1]);
  assertEquals(told, []);
  assertEquals((await readAll(stalled)).length, 8_000_000);
  assertEquals(written, 8_000_100);
  stalled.close();
});

// ---- Callbacks that fail ------------------------------------------------------------------------

const CALLBACKS = {
  "default": ["the handler fails"],
  "onError throws": ["the callback fails"],
  "onError rejects": ["the callback fails"],
  "onListen throws": ["the callback fails"],
};

for (const [mode, expected] of Object.entries(CALLBACKS)) {
  const title = mode === "default"
    ? "serve() without onError writes a handler's failure to standard error, and goes on"
    : `serve() goes on when ${mode}, and writes that to standard error`;
  test(title, async () => {
    await using dir = new TempDir();
    const path = dir.file("c.sock");
    const flags = permissionFlags(permissions("serve", path));
    await using program = fixture("server_faulty_callbacks.ts", flags, [path, mode]);
    // The client of the failed handler got nothing, and the next one was served.
    assertEquals(await program.output(), ['""', '"served"']);
    const { code } = await program.status;
    const stderr = await program.stderr();
    for (const text of expected) assertEquals(stderr.split(`Error: ${text}`).length, 2, stderr);
    assertEquals(code, 0, stderr);
  });
}

test("what a handler, a callback or a method throws is printed with its name and the path", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  await using program = fixture("thrown_values.ts", ["-A"], [path]);
  const stderr = await program.stderr();
  assertEquals([(await program.status).code, await program.output()], [0, []], stderr);
  const starts = stderr.split("\n").filter((line) => !line.startsWith("    at "));
  const [handler, call] = [
    `uds: The handler of ${JSON.stringify(path)} has failed:`,
    `uds: A call of "fail" over ${JSON.stringify(path)} has failed:`,
  ];
  const values = ["oh %s no", "undefined", "7", "null", "Error: it failed"];
  assertEquals(starts, [
    ...values.map((value) => `${handler} ${value}`),
    `uds: The onListen of ${JSON.stringify(path)} has failed: oh %s no`,
    `uds: The onError of ${JSON.stringify(path)} has failed: 7`,
    ...values.map((value) => `${call} ${value}`),
    "",
  ]);
  assertEquals(stderr.match(/it failed\n +at file:.*thrown_values\.ts:\d/g)?.length, 2, stderr);
});
