import { assertEquals } from "@std/assert";
import { test } from "../_helpers.ts";
import { RawEnd } from "./_rpc.ts";

// The examples of the JSON-RPC 2.0 specification, section 7. Messages of errors are free.

/** Returns an answer without the messages of its errors. */
function withoutMessages(answer: unknown): unknown {
  if (Array.isArray(answer)) return answer.map(withoutMessages);
  const { error, ...others } = answer as { error?: { code: number; message: string } };
  if (error === undefined) return answer;
  assertEquals(typeof error.message, "string");
  return { ...others, error: { code: error.code } };
}

const fail = (code: number, id: unknown = null) => ({ jsonrpc: "2.0", error: { code }, id });
const ok = (result: unknown, id: unknown) => ({ jsonrpc: "2.0", result, id });

const EXAMPLES: [name: string, request: string, answer: unknown][] = [
  [
    "positional parameters",
    '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
    ok(19, 1),
  ],
  [
    "positional parameters in the other order",
    '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
    ok(-19, 2),
  ],
  [
    "named parameters",
    '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
    ok(19, 3),
  ],
  [
    "named parameters in the other order",
    '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
    ok(19, 4),
  ],
  [
    "a notification",
    '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}',
    undefined,
  ],
  ["a notification of an unknown method", '{"jsonrpc": "2.0", "method": "foobar"}', undefined],
  [
    "an unknown method",
    '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
    fail(-32601, "1"),
  ],
  [
    "invalid JSON",
    '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
    fail(-32700),
  ],
  [
    "an invalid request",
    '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
    fail(-32600),
  ],
  [
    "a batch of invalid JSON",
    '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]',
    fail(-32700),
  ],
  ["an empty batch", "[]", fail(-32600)],
  ["a batch that is invalid, but not empty", "[1]", [fail(-32600)]],
  ["an invalid batch", "[1,2,3]", [fail(-32600), fail(-32600), fail(-32600)]],
  [
    "a batch",
    '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},' +
    '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},' +
    '{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},{"foo": "boo"},' +
    '{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},' +
    '{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
    [
      ok(7, "1"),
      ok(19, "2"),
      fail(-32600),
      fail(-32601, "5"),
      ok(["hello", 5], "9"),
    ],
  ],
  [
    "a batch of notifications",
    '[{"jsonrpc": "2.0", "method": "update", "params": [1,2,4]},' +
    '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
    undefined,
  ],
];

for (const [name, request, answer] of EXAMPLES) {
  test(`rpc() answers as the specification shows: ${name}`, async () => {
    await using end = await RawEnd.open();
    await end.send(request);
    // What follows shows that nothing else came, and that the connection goes on.
    await end.send('{"jsonrpc":"2.0","id":"last","method":"sum","params":[1]}');
    if (answer !== undefined) assertEquals(withoutMessages(await end.receive()), answer);
    assertEquals(await end.receive(), ok(1, "last"));
  });
}
