import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  contentLength,
  json,
  lengthPrefixed,
  lines,
  RpcError,
  serve,
  type UnixServer,
} from "@uds/uds";
import { type Methods, rpc, type RpcOptions } from "@uds/uds/rpc";
import { uds } from "../_cli.ts";
import { TempDir, test } from "../_helpers.ts";

const METHODS: Methods = {
  show: (params: unknown) => ({ params: params ?? null }),
  fail() {
    throw new RpcError("it is full", { code: 7, data: { free: 0, text: "\x1b[31m" } });
  },
  failAtLength() {
    throw new RpcError("a".repeat(12_000_000));
  },
  wait: (_: unknown, { signal }) =>
    new Promise((resolve) => signal.addEventListener("abort", () => resolve(null))),
};

/** Serves the methods. */
function serving(path: string, options: RpcOptions = {}): Promise<UnixServer> {
  return serve(path, (conn) => rpc(conn, { methods: METHODS, ...options }).closed);
}

for (
  const [what, args, params] of [
    ["no parameters", [], null],
    ["an object as the parameters", ['{"a":1}'], { a: 1 }],
    ["an array as the parameters", ["[1,[2]]"], [1, [2]]],
    ["one value by position", ['"Ada"'], ["Ada"]],
    ["null by position", ["null"], [null]],
    ["several values by position", ["1", "[2]", '{"a":3}'], [1, [2], { a: 3 }]],
    ["a negative number after --", ["--", "-5"], [-5]],
  ] as const
) {
  test(`uds call sends ${what}, and prints the result as a line`, async () => {
    await using dir = new TempDir();
    await using _server = await serving(dir.file("s.sock"));
    const { code, stdout, stderr } = await uds(["call", dir.file("s.sock"), "show", ...args]);
    assertEquals([code, stderr], [0, ""]);
    assertEquals(stdout, `${JSON.stringify({ params })}\n`);
  });
}

for (
  const [framing, codec] of [
    ["lines", json(lines())],
    ["content-length", json(contentLength())],
    ["u32be", json(lengthPrefixed())],
  ] as const
) {
  test(`uds call --framing ${framing} calls a server of that framing`, async () => {
    await using dir = new TempDir();
    await using _server = await serving(dir.file("s.sock"), { codec });
    const args = ["call", "--framing", framing, dir.file("s.sock"), "show", "1"];
    const { code, stdout, stderr } = await uds(args);
    assertEquals([code, stdout, stderr], [0, '{"params":[1]}\n', ""]);
  });
}

test("uds call writes the code and the data of an error to standard error", async () => {
  await using dir = new TempDir();
  await using _server = await serving(dir.file("s.sock"));
  const data = '{"free":0,"text":"\\u001b[31m"}';
  const { code, stdout, stderr } = await uds(["call", dir.file("s.sock"), "fail"]);
  assertEquals([code, stdout], [1, ""]);
  assertEquals(stderr, `uds: it is full\ncode 7, data ${data}\n`);

  const inJson = await uds(["call", "--json", dir.file("s.sock"), "fail"]);
  assertEquals([inJson.code, inJson.stdout], [1, ""]);
  const { error, exitCode } = JSON.parse(inJson.stderr);
  const { name, message, data: given } = error;
  assertEquals([name, message, error.code, exitCode], ["RpcError", "it is full", 7, 1]);
  assertEquals(given, JSON.parse(data));
});

test("uds call reports a method that the server does not have", async () => {
  await using dir = new TempDir();
  await using _server = await serving(dir.file("s.sock"));
  const { code, stdout, stderr } = await uds(["call", dir.file("s.sock"), "toString"]);
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, "code -32601");
});

test("uds call --notify sends a notification, and does not wait", async () => {
  await using dir = new TempDir();
  const got = Promise.withResolvers<unknown>();
  const methods: Methods = { reload: (params: unknown) => got.resolve(params) };
  await using _server = await serving(dir.file("s.sock"), { methods });
  const args = ["call", "--notify", dir.file("s.sock"), "reload", '{"now":true}'];
  const { code, stdout, stderr } = await uds(args);
  assertEquals([code, stdout, stderr], [0, "", ""]);
  assertEquals(await got.promise, { now: true });
});

test("uds call --timeout limits the wait for the answer, with exit code 8", async () => {
  await using dir = new TempDir();
  await using _server = await serving(dir.file("s.sock"));
  const args = ["call", "--timeout", "0.3", dir.file("s.sock"), "wait"];
  const { code, stdout, stderr } = await uds(args);
  assertEquals([code, stdout], [8, ""]);
  assertStringIncludes(stderr, "300 ms");
});

test("uds call reports a server that ends without an answer", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await conn.read(new Uint8Array(1000));
  });
  const { code, stdout, stderr } = await uds(["call", dir.file("s.sock"), "show"]);
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, "show");
});

test("uds call of nothing ends with exit code 3, and --wait waits for the server", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  assertEquals((await uds(["call", path, "show"])).code, 3);
  const calling = uds(["call", "--wait", "--timeout", "20", path, "show"]);
  await using _server = await serving(path);
  assertEquals((await calling).stdout, '{"params":null}\n');
});

test("uds call works with the permissions that uds permissions prints", async () => {
  await using dir = new TempDir();
  await using _server = await serving(dir.file("s.sock"));
  const args = ["call", dir.file("s.sock"), "show"];
  const { stdout } = await uds(["permissions", ...args], { flags: [] });
  const flags = stdout.split(" ").filter((word) => word.startsWith("--allow"));
  assertEquals((await uds(args, { flags })).code, 0);
});

for (
  const [value, remedy] of [
    ["hello", `For a text, write '"hello"'. For an object, write '{"name":1}'`],
    ["{a:1}", `'{"name":1}'`],
    ["", `'""'`],
  ] as const
) {
  test(`uds call refuses ${JSON.stringify(value)}, which is not JSON, and shows how to quote`, async () => {
    const { code, stderr } = await uds(["call", "/tmp/x", "show", value]);
    assertEquals(code, 2);
    assertStringIncludes(
      stderr,
      `JSON must be valid JSON, got ${JSON.stringify(value)}. For a text`,
    );
    assertStringIncludes(stderr, remedy);
  });
}

test("uds call refuses what it cannot frame, and a missing method", async () => {
  const raw = await uds(["call", "--framing", "raw", "/tmp/x", "show"]);
  assertEquals(raw.code, 2);
  assertStringIncludes(
    raw.stderr,
    "--framing must be one of lines, nul, u32be, u32le, content-len",
  );
  const missing = await uds(["call", "/tmp/x"]);
  assertEquals(missing.code, 2);
  assertStringIncludes(missing.stderr, "missing METHOD: uds call PATH METHOD [JSON...]");
});

test("uds call shortens an error message of any length", async () => {
  await using dir = new TempDir();
  await using _server = await serving(dir.file("s.sock"));
  const { code, stderr } = await uds(["call", dir.file("s.sock"), "failAtLength"]);
  const [first = ""] = stderr.split("\n");
  assertEquals([code, first.startsWith("uds: aaaa"), first.length < 200], [1, true, true], stderr);
});
