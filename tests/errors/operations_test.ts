import {
  claim,
  connect,
  isSocketError,
  listen,
  probe,
  runtimePath,
  serve,
  socketpair,
} from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { fixture, TempDir, test } from "../_helpers.ts";
import { assertDocumentedFields, errorOf } from "./_errors.ts";
import { handler } from "./_failure.ts";

for (
  const [name, env, at] of [
    [
      "$XDG_RUNTIME_DIR",
      (path: string) => ({ XDG_RUNTIME_DIR: path, TMPDIR: "" }),
      (p: string) => p,
    ],
    [
      "$TMPDIR",
      (path: string) => ({ XDG_RUNTIME_DIR: "", TMPDIR: path }),
      (path: string) => `${path}/uds-${Deno.uid()}`,
    ],
  ] as const
) {
  test(`runtimePath() with a ${name} that does not exist fails in the common shape`, async () => {
    await using dir = new TempDir();
    const absent = dir.file("absent");
    await using program = fixture("permission_runtime_path.ts", ["-A"], [], { env: env(absent) });
    const { message, ...fields } = JSON.parse(await program.line());
    assertEquals(fields, {
      class: "NotFound",
      name: "NotFound",
      operation: "runtimePath",
      path: at(absent),
      code: "ENOENT",
    });
    assertMatch(message, /^Cannot [a-z].*[^.]$/);
    assert(!message.includes("os error"), message);
  });
}

test("runtimePath() that is refused a permission fails in the common shape", async () => {
  const error = await errorOf(() => runtimePath("app"));
  assertInstanceOf(error, Deno.errors.NotCapable);
  assertEquals([error.operation, error.path], ["runtimePath", null]);
  assertDocumentedFields(error);
  assertMatch(error.message, /^Cannot find a runtime path: .*[^.]$/);
}, { permissions: "none" });

for (
  const [operation, call] of [
    ["claim", () => claim("/run/s.sock")],
    ["connect", () => connect("/run/s.sock")],
    ["listen", () => listen("/run/s.sock")],
    ["probe", () => probe("/run/s.sock")],
    ["serve", () => serve("/run/s.sock", handler)],
  ] as const
) {
  test(
    `${operation}() that is refused a permission fails with NotCapable in the common shape`,
    async () => {
      const error = await errorOf(call);
      assertInstanceOf(error, Deno.errors.NotCapable);
      assertEquals([error.operation, error.path], [operation, "/run/s.sock"]);
      assert(isSocketError(error));
      assertDocumentedFields(error);
      assertMatch(error.message, /^Cannot [a-z ]+ "\/run\/s\.sock": .*[^.]$/);
    },
    { permissions: "none" },
  );
}

for (
  const [operation, call] of [
    ["connect", (path: string, signal: AbortSignal) => connect({ path, signal })],
    ["listen", (path: string, signal: AbortSignal) => listen({ path, signal })],
    ["serve", (path: string, signal: AbortSignal) => serve({ path, signal }, handler)],
  ] as const
) {
  test(`${operation}() with an aborted signal rejects with its reason, unchanged`, async () => {
    await using dir = new TempDir();
    const reason = new Error("enough");
    const error = await errorOf(() => call(dir.file("s.sock"), AbortSignal.abort(reason)));
    assert(error === reason);
    assertEquals(dir.list(), []);
  });
}

test("the errors of calls show only the documented fields", async () => {
  const [a, b] = await socketpair();
  const hold = () => new Promise(() => {});
  await using server = rpc(a, { methods: { hold } });
  await using client = rpc(b);
  const held = errorOf(() => client.call("hold"));
  const errors = [
    await errorOf(() => client.call("absent")),
    await errorOf(() => client.call("hold", [], { timeout: 1 })),
  ];
  server.close();
  errors.push(await held, await errorOf(() => client.call("hold")));
  client.close();
  errors.push(await errorOf(() => client.notify("hold")));
  assertEquals(errors.map((error) => error.name), [
    ...["RpcError", "TimedOut", "CallInterrupted", "CallInterrupted", "ConnectionClosed"],
  ]);
  for (const error of errors) {
    assertDocumentedFields(error);
    assertEquals([error.path, error.method === undefined], [null, false], error.message);
  }
});
