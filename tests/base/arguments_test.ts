import {
  claim,
  connect,
  contentLength,
  decodeStream,
  delimited,
  encodeMessage,
  encodeStream,
  inherited,
  json,
  lengthPrefixed,
  lines,
  listen,
  messages,
  pair,
  permissions,
  probe,
  relay,
  runtimePath,
  serve,
  shutdownOnSignal,
  socketpair,
  text,
  toConnection,
} from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";

// deno-lint-ignore no-explicit-any -- calls that do not compile
type Any = any;

/** Each function with one argument too many, and the right call in its error. */
const SURPLUS: [name: string, call: (path: string) => unknown, right: string][] = [
  ["connect", (path) => (connect as Any)(path, { timeout: 1 }), "connect({ path, timeout })"],
  ["listen", (path) => (listen as Any)(path, { mode: 0o660 }), "listen({ path, mode })"],
  [
    "serve",
    (path) => (serve as Any)(path, async () => {}, { mode: 0o660 }),
    "serve({ path, mode }, handler)",
  ],
  ["claim", (path) => (claim as Any)(path, {}, { mode: 0o660 }), "claim(path, { mode })"],
  ["probe", (path) => (probe as Any)(path, {}, { connect: false }), "probe(path, { connect })"],
  ["pair", () => (pair as Any)("true", {}, { args: [] }), 'pair("sh", { args })'],
  ["inherited", () => (inherited as Any)({ fd: 3 }, 3), "inherited({ fd })"],
  ["socketpair", () => (socketpair as Any)({}, "stream"), "socketpair({ type })"],
  [
    "relay",
    () => (relay as Any)(null, null, {}, { signal: AbortSignal.abort() }),
    "relay(a, b, { signal })",
  ],
  [
    "messages",
    () => (messages as Any)(null, lines(), {}, { maxPending: 1 }),
    "messages(conn, codec, { maxPending })",
  ],
  [
    "permissions",
    (path) => (permissions as Any)("connect", path, {}, { publish: "rename" }),
    "permissions(operation, path, { publish })",
  ],
  ["lines", () => (lines as Any)({}, { maxBytes: 1 }), "lines({ maxBytes })"],
  [
    "delimited",
    () => (delimited as Any)(0, {}, { maxBytes: 1 }),
    "delimited(delimiter, { maxBytes })",
  ],
  [
    "lengthPrefixed",
    () => (lengthPrefixed as Any)({}, { prefix: 2 }),
    "lengthPrefixed({ prefix, maxBytes })",
  ],
  [
    "contentLength",
    () => (contentLength as Any)({}, { maxBytes: 1 }),
    "contentLength({ maxBytes })",
  ],
  ["text", () => (text as Any)(lengthPrefixed(), { maxBytes: 1 }), "text(frames)"],
  ["encodeStream", () => (encodeStream as Any)(lines(), {}), "encodeStream(codec)"],
  ["decodeStream", () => (decodeStream as Any)(lines(), {}), "decodeStream(codec)"],
  ["toConnection", () => (toConnection as Any)(null, { idleTimeout: 1 }), "toConnection(conn)"],
  ["runtimePath", () => (runtimePath as Any)("a", { create: false }), "runtimePath(name)"],
  ["rpc", () => (rpc as Any)(null, {}, { timeout: 1 }), "rpc(conn, { methods })"],
  ["json", () => (json as Any)(lines(), undefined, { maxBytes: 1 }), "json(frames, parse)"],
];

for (const [name, call, right] of SURPLUS) {
  test(`${name}() refuses an extra argument, and shows the right call`, async () => {
    await using dir = new TempDir();
    const error = await assertRejects(async () => await call(dir.file("s.sock")), TypeError);
    assertMatch(error.message, /^Unexpected (second|third|fourth) argument of /);
    assertStringIncludes(error.message, ` argument of ${name}(): `);
    assertEquals(error.message.split(". Call it as ")[1], right);
    assertEquals(dir.list(), []);
  });
}

const METHODS: [
  name: string,
  call: (conn: Any, more: unknown) => unknown,
  position: string,
  right: string,
][] = [
  [
    "read",
    (conn, more) => conn.read(new Uint8Array(1), {}, more),
    "third",
    "read(buffer, { signal })",
  ],
  ["write", (conn, more) => conn.write(new Uint8Array(1), more), "second", "write(data)"],
];

for (const [name, call, position, right] of METHODS) {
  test(`${name}() of a connection refuses an extra argument, and does nothing`, async () => {
    const [conn, peer] = await socketpair();
    using _peer = peer;
    using _conn = conn;
    const error = await assertRejects(
      async () => await call(conn, { signal: AbortSignal.abort() }),
      TypeError,
    );
    assertEquals(
      error.message,
      `Unexpected ${position} argument of ${name}(): an object (Object). Call it as ${right}`,
    );
    assertEquals([conn.bytesRead, conn.bytesWritten], [0, 0]);
  });
}

test("shutdown() refuses an extra argument, and shows the right call", async () => {
  await using dir = new TempDir();
  await using server = await serve(dir.file("s.sock"), async () => {});
  await assertRejects(
    () => (server as Any).shutdown({}, { timeout: 0 }),
    TypeError,
    "Call it as shutdown({ timeout })",
  );
});

const UNAWAITED: [name: string, call: (promise: Any) => unknown][] = [
  ["messages", (promise) => messages(promise, lines())],
  ["rpc", (promise) => rpc(promise)],
  ["relay", (promise) => relay(promise, promise)],
  ["shutdownOnSignal", (promise) => shutdownOnSignal(promise)],
  ["connect", (promise) => connect(promise)],
  ["serve", (promise) => serve(promise, async () => {})],
  ["listen", (promise) => listen(promise)],
  ["claim", (promise) => claim(promise)],
  ["runtimePath", (promise) => runtimePath(promise)],
  ["permissions", (promise) => permissions(promise, "/a.sock")],
];

for (const [name, call] of UNAWAITED) {
  test(`${name}() names a missing await`, async () => {
    await assertRejects(
      async () => await call(Promise.resolve()),
      TypeError,
      "got a promise. Await it first",
    );
  });
}

test("rpc() names a connection that is missing", async () => {
  await assertRejects(
    async () => await (rpc as Any)(),
    TypeError,
    "Invalid connection: expected something with read and write, got undefined",
  );
});

for (const codec of [lines(), json(lines())]) {
  test(`send() of an encoded ${"text" in codec ? "line" : "message"} names sendEncoded()`, async () => {
    const [conn, peer] = await socketpair();
    using _peer = peer;
    await using channel = messages<Any, Any>(conn, codec);
    await assertRejects(
      () => channel.send(encodeMessage<Any>(codec, "x")),
      TypeError,
      "Invalid message: it is encoded already. Use sendEncoded()",
    );
  });
}

test("an error has a long argument cut, and a long path whole", async () => {
  const text = "x".repeat(1_000_000);
  const wrong = await assertRejects(
    () => connect({ path: "/run/a", timeout: text as never }),
    TypeError,
  );
  assertEquals(
    wrong.message,
    `Invalid timeout (milliseconds): expected a number, got "${"x".repeat(100)}…"`,
  );
  const path = `/run/${"d".repeat(200)}/a.sock`;
  assertStringIncludes(
    String(await assertRejects(() => connect(path), RangeError)),
    JSON.stringify(path),
  );
  const module = new URL(`file:///run/${"d".repeat(200)}/m.ts`);
  const { message } = await assertRejects(() => pair(module), Error);
  assertStringIncludes(message, `Cannot load the module "${module.href}"`);
});
