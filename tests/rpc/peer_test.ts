import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { contentLength, json, lines, RpcError, socketpair } from "@uds/uds";
import { rpc, RPC_CODES, type RpcContext } from "@uds/uds/rpc";
import { test } from "../_helpers.ts";
import { METHODS, RawEnd, twoPeers } from "./_rpc.ts";

const PING = '{"jsonrpc":"2.0","id":1,"method":"sum","params":[1,2]}';
const PONG = { jsonrpc: "2.0", id: 1, result: 3 };

interface Arithmetic {
  add(params: { a: number; b: number }): number;
  subtract(params: [number, number]): number;
}

const arithmetic = {
  add: ({ a, b }: { a: number; b: number }) => a + b,
  subtract: async ([a, b]: [number, number]) => await Promise.resolve(a - b),
};

test("call() resolves to the result of a method of the peer", async () => {
  const [a, b] = await socketpair();
  using _server = rpc(a, { methods: arithmetic });
  await using client = rpc<Arithmetic>(b);
  assertEquals(await client.call("add", { a: 1, b: 2 }), 3);
  assertEquals(await client.call("subtract", [5, 3]), 2);
});

test("both ends call each other, also within a method", async () => {
  await using peers = await twoPeers({
    methods: {
      twice: async ({ n }: { n: number }): Promise<number> =>
        2 * (await peers.a.call("next", { n }) as number),
    },
  }, { methods: { next: ({ n }: { n: number }) => n + 1 } });
  assertEquals(await peers.b.call("twice", { n: 4 }), 10);
});

test("calls over contentLength() have the same results", async () => {
  const codec = json(contentLength());
  await using peers = await twoPeers({ methods: METHODS, codec }, { codec });
  assertEquals(await peers.b.call("sum", [1, 2, 3]), 6);
});

test("a codec that is not of json() gets and returns objects", async () => {
  const frames = contentLength();
  // A codec of another format, such as MessagePack, is one function for each direction.
  const codec = {
    maxBytes: frames.maxBytes,
    encode: (message: unknown, out: Parameters<typeof frames.encode>[1]) =>
      frames.encode(new TextEncoder().encode(`;${JSON.stringify(message)}`), out),
    decode(bytes: Uint8Array, scanned: number) {
      const found = frames.decode(bytes, scanned);
      if (typeof found !== "object") return found;
      const text = new TextDecoder().decode(found.message).slice(1);
      return { message: JSON.parse(text) as unknown, end: found.end };
    },
  };
  await using peers = await twoPeers({ methods: METHODS, codec }, { codec });
  assertEquals(await peers.b.call("sum", [1, 2, 3]), 6);
  assertEquals(await peers.b.call("update"), null);
  await assertRejects(() => peers.b.call("none"), RpcError, "Method not found");
  await peers.b.notify("update");
});

test("answers come in the order in which they are ready", async () => {
  const slow = Promise.withResolvers<string>();
  await using peers = await twoPeers({
    methods: { slow: () => slow.promise, fast: () => "fast" },
  });
  const order: unknown[] = [];
  const both = [peers.b.call("slow"), peers.b.call("fast")].map((call) =>
    call.then((result) => order.push(result))
  );
  await both[1];
  slow.resolve("slow");
  await Promise.all(both);
  assertEquals(order, ["fast", "slow"]);
});

const RESULTS: [name: string, result: unknown, received: unknown][] = [
  ["undefined", undefined, null],
  ["null", null, null],
  ["false", false, false],
  ["0", 0, 0],
  ["an empty text", "", ""],
  ["a function", () => {}, null],
  ["a date", new Date(0), "1970-01-01T00:00:00.000Z"],
  ["a text with a lone surrogate", "\ud800", "\ud800"],
  ["line feeds", "a\n\r\u2028b", "a\n\r\u2028b"],
];
for (const [name, result, received] of RESULTS) {
  test(`a method may return ${name}`, async () => {
    await using peers = await twoPeers({
      methods: { now: () => result, later: () => Promise.resolve(result) },
    });
    assertEquals(await peers.b.call("now"), received);
    assertEquals(await peers.b.call("later"), received);
  });
}

test("a method gets undefined for absent parameters, and for null", async () => {
  await using end = await RawEnd.open({ methods: { type: (params: unknown) => typeof params } });
  for (const params of ["", ',"params":null']) {
    assertEquals(
      await end.ask(`{"jsonrpc":"2.0","id":1,"method":"type"${params}}`),
      { jsonrpc: "2.0", id: 1, result: "undefined" },
    );
  }
});

test("a method is called on the object of the methods", async () => {
  const methods = {
    name: () => "methods",
    hello(this: { name(): string }) {
      return this.name();
    },
  };
  await using peers = await twoPeers({ methods });
  assertEquals(await peers.b.call("hello"), "methods");
});

test("an RpcError of a method reaches the caller with its code and its data", async () => {
  const errors: unknown[] = [];
  await using peers = await twoPeers({
    methods: METHODS,
    onError: (error) => void errors.push(error),
  });
  const error = await assertRejects(
    () => peers.b.call("refuse", { code: 17, data: { why: ["x"] } }),
    RpcError,
    "refused",
  );
  assertEquals([error.code, error.data], [17, { why: ["x"] }]);
  assertEquals([error.operation, error.method], ["call", "refuse"]);
  assertEquals("path" in error, true);
  // It is an answer, and not a failure.
  assertEquals(errors, []);
});

test("another error of a method reaches the caller as its message, and onError whole", async () => {
  const errors: [unknown, string | undefined][] = [];
  const failures: Record<string, unknown> = {
    error: new TypeError("broken"),
    text: "broken",
    cyclic: new RpcError("broken", { code: 3, data: 1n }),
  };
  await using peers = await twoPeers({
    methods: {
      now: ({ what }: { what: string }) => {
        throw failures[what];
      },
      later: ({ what }: { what: string }) => Promise.reject(failures[what]),
      bigint: () => 1n,
      generator: async function* () {},
    },
    onError: (error, method) => void errors.push([error, method]),
  });
  for (const method of ["now", "later"]) {
    for (const what of ["error", "text"]) {
      const error = await assertRejects(() => peers.b.call(method, { what }), RpcError, "broken");
      assertEquals([error.code, error.data], [RPC_CODES.INTERNAL_ERROR, undefined]);
      assertEquals(errors.pop(), [failures[what], method]);
    }
    // Data without JSON are left out.
    const error = await assertRejects(() => peers.b.call(method, { what: "cyclic" }), RpcError);
    assertEquals([error.code, error.data], [3, undefined]);
  }
  for (const [method, what] of [["bigint", "BigInt"], ["generator", "generator"]] as const) {
    const state = `Cannot encode a message: the ${what} at .result has no JSON`;
    const error = await assertRejects(() => peers.b.call(method), RpcError, state);
    assertEquals(error.code, RPC_CODES.INTERNAL_ERROR);
    assertEquals(errors.splice(0).length, 1);
  }
});

test("a result that is too large is answered with an error, alone and in a batch", async () => {
  await using end = await RawEnd.open({
    codec: json(lines({ maxBytes: 1000 })),
    methods: { large: () => "x".repeat(1000), small: () => 1 },
  });
  const request = '{"jsonrpc":"2.0","id":1,"method":"large"}';
  const { id, error } = await end.ask(request) as { id: number; error: RpcError };
  assertEquals([id, error.code], [1, -32603]);
  assert(error.message.includes("limit"), error.message);
  const answers = await end.ask(`[${request},{"jsonrpc":"2.0","id":2,"method":"small"}]`);
  assertEquals((answers as { id: number }[]).map(({ id }) => id), [1, 2]);
  assertEquals(end.errors.length, 2);
});

test("a failure of a notification reaches onError alone", async () => {
  const reported = Promise.withResolvers<[unknown, string | undefined]>();
  await using peers = await twoPeers({
    methods: { fail: () => Promise.reject(new RpcError("bad", { code: 1 })), ok: () => 1 },
    onError: (error, method) => reported.resolve([error, method]),
  });
  await peers.b.notify("fail");
  assertEquals(await peers.b.call("ok"), 1);
  const [error, method] = await reported.promise;
  assertInstanceOf(error, RpcError);
  assertEquals(method, "fail");
});

test("context.notify() reaches the caller before the answer", async () => {
  const progress: unknown[] = [];
  await using peers = await twoPeers({
    methods: {
      work: async (
        _params: undefined,
        { notify }: { notify(m: string, p: object): Promise<void> },
      ) => {
        for (const done of [1, 2, 3]) await notify("progress", { done });
        return "done";
      },
    },
  }, { methods: { progress: (params: unknown) => void progress.push(params) } });
  assertEquals(await peers.b.call("work"), "done");
  assertEquals(progress, [{ done: 1 }, { done: 2 }, { done: 3 }]);
});

test("call() refuses parameters that JSON-RPC does not have", async () => {
  await using peers = await twoPeers({ methods: METHODS });
  for (const params of [1, "text", null, true]) {
    const error = await assertRejects(() => peers.b.call("sum", params as never), TypeError);
    assertEquals(
      error.message,
      `Invalid params: expected an object or an array, got ${
        JSON.stringify(params)
      }. JSON-RPC has ` +
        "no others: put several arguments into an array, such as [1, 2]",
    );
  }
  await assertRejects(() => peers.b.call(1 as never), TypeError, "Invalid method");
  await assertRejects(() => peers.b.call("sum", [], { wait: 1 } as never), TypeError, '"wait"');
  for (
    const [params, state] of [
      [[1n], "the BigInt at .params[0] has no JSON. Make it a number or a string"],
      [[{}, Promise.resolve(1)], "the promise at .params[1] has no JSON. Await it first"],
      [Promise.resolve([1]), "the promise at .params has no JSON. Await it first"],
      [{ toJSON() {} }, "an object (Object) has no JSON. Use null, or leave it out"],
    ] as const
  ) {
    const { message } = await assertRejects(() => peers.b.call("sum", params as never), TypeError);
    assertEquals(message, `Cannot encode a message: ${state}`);
  }
  await assertRejects(() => peers.b.notify("sum", 1 as never), TypeError, "Invalid params");
  assertEquals(await peers.b.call("sum", [1]), 1);
});

const WITHOUT_JSON: [name: string, params: object, says: string][] = [
  ["no JSON", { toJSON() {} }, "Cannot encode a message: an object (Object) has no JSON"],
  ["the JSON of a symbol", { toJSON: () => Symbol("x") }, "has no JSON"],
  [
    "the JSON of a text",
    new Date(0),
    "Cannot encode a message: the JSON of an object (Date) is not an object or an array",
  ],
  ["the JSON of null", { toJSON: () => null }, "is not an object or an array"],
];
for (const [name, params, says] of WITHOUT_JSON) {
  test(`call() and notify() refuse parameters with ${name}, and send nothing`, async () => {
    let notify: RpcContext["notify"] | undefined;
    await using end = await RawEnd.open({
      methods: { begin: (_: unknown, context: RpcContext) => void (notify = context.notify) },
    });
    await end.ask('{"jsonrpc":"2.0","id":1,"method":"begin"}');
    await assertRejects(() => end.peer.call("any", params), TypeError, says);
    await assertRejects(() => end.peer.notify("any", params), TypeError, says);
    await assertRejects(() => notify!("any", params), TypeError, says);
    await end.peer.notify("last");
    assertEquals(await end.receive(), { jsonrpc: "2.0", method: "last" });
  });
}

test("a result without JSON is sent as null, alone and in a batch", async () => {
  await using end = await RawEnd.open({ methods: { none: () => ({ toJSON() {} }) } });
  const request = '{"jsonrpc":"2.0","id":1,"method":"none"}';
  const answer = { jsonrpc: "2.0", id: 1, result: null };
  assertEquals(await end.ask(request), answer);
  assertEquals(await end.ask(`[${request}]`), [answer]);
});

test("an answer with an id that is too large becomes an error without an id", async () => {
  await using end = await RawEnd.open({ codec: json(lines({ maxBytes: 1000 })) });
  const id = "x".repeat(940);
  const long = JSON.stringify({ jsonrpc: "2.0", id, method: "refuse", params: [1] });
  const short = '{"jsonrpc":"2.0","id":1,"method":"none"}';
  // Each request is smaller than the error about it.
  for (const text of [long, `[${Array(20).fill(short)}]`]) {
    const answer = await end.ask(text) as { id: unknown; error: RpcError };
    assertEquals([answer.id, answer.error.code], [null, -32603]);
  }
  assertEquals(await end.ask(PING), PONG);
});

test("an error that is too large is answered with a smaller one, which has the id", async () => {
  await using end = await RawEnd.open({
    codec: json(lines({ maxBytes: 1000 })),
    methods: {
      fail() {
        throw new Error("x".repeat(1000));
      },
    },
  });
  const { id, error } = await end.ask('{"jsonrpc":"2.0","id":7,"method":"fail"}') as {
    id: number;
    error: RpcError;
  };
  assertEquals([id, error.code], [7, -32603]);
});

test("rpc() refuses wrong options before it reads", async () => {
  const [a, b] = await socketpair();
  using _a = a;
  using _b = b;
  class Service {
    add(): number {
      return 1;
    }
  }
  const wrong: [options: unknown, says: string][] = [
    [{ methods: [] }, "methods"],
    [{ methods: new Service() }, "methods"],
    [{ codec: {} }, "codec"],
    [{ maxConcurrent: 0 }, "maxConcurrent"],
    [{ maxQueued: -1 }, "maxQueued"],
    [{ maxBatch: 0 }, "maxBatch"],
    [{ maxCalls: 0 }, "maxCalls"],
    [{ timeout: 0 }, "timeout"],
    [{ draining: 1 }, "draining"],
    [{ cancelMethod: 1 }, "cancelMethod"],
    [{ onError: 1 }, "onError"],
    [{ methosd: {} }, "methosd"],
  ];
  for (const [options, says] of wrong) {
    assertThrows(() => rpc(a, options as never), Error, says);
  }
  assertThrows(() => rpc({} as never), TypeError, "Invalid connection");
});
