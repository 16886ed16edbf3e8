import { assert, assertEquals, assertRejects } from "@std/assert";
import { RpcError } from "@uds/uds";
import { type Methods, RPC_CODES } from "@uds/uds/rpc";
import { fixture, test } from "../_helpers.ts";
import { hostileValues } from "../_hostile_values.ts";
import { RawEnd, twoPeers } from "./_rpc.ts";

/** Calls `fail`, which must be answered with an internal error, and reported once. */
async function assertFailsAlone(
  methods: Methods,
  isReported: (error: unknown) => boolean,
): Promise<void> {
  const reports: [unknown, string | undefined][] = [];
  await using peers = await twoPeers({
    methods: Object.defineProperties(
      { ok: () => 1, later: () => Promise.resolve(2) },
      Object.getOwnPropertyDescriptors(methods),
    ),
    // A call that is not answered would hold back the others.
    maxConcurrent: 1,
    onError: (error, method) => void reports.push([error, method]),
  });
  const [failed, ok, later] = await Promise.allSettled(
    ["fail", "ok", "later"].map((method) => peers.b.call(method)),
  );
  assert(failed?.status === "rejected" && failed.reason instanceof RpcError);
  assertEquals(failed.reason.code, RPC_CODES.INTERNAL_ERROR);
  assertEquals([ok, later].map((each) => each?.status), ["fulfilled", "fulfilled"]);
  // The notification fails in the same way.
  await peers.b.notify("fail");
  assertEquals(await peers.b.call("ok"), 1);
  assertEquals(reports.map(([, method]) => method), ["fail", "fail"]);
  assert(reports.every(([error]) => isReported(error)));
}

for (const [name, value] of Object.entries(hostileValues())) {
  const WAYS: Record<string, Methods> = {
    "a method throws": {
      fail: () => {
        throw value;
      },
    },
    "a method rejects with": {
      fail: async () => {
        await Promise.resolve();
        throw value;
      },
    },
    "the getter of a method throws": {
      get fail(): never {
        throw value;
      },
    },
  };
  for (const [how, methods] of Object.entries(WAYS)) {
    test(`if ${how} ${name}, that call fails alone`, async () => {
      await assertFailsAlone(methods, (error) => Object.is(error, value));
    });
  }

  test(`if the data of an RpcError throw ${name}, they are left out`, async () => {
    const data = {
      toJSON() {
        throw value;
      },
    };
    await using peers = await twoPeers({
      methods: {
        fail() {
          throw new RpcError("refused", { code: 3, data });
        },
      },
    });
    const error = await assertRejects(() => peers.b.call("fail"), RpcError, "refused");
    assertEquals([error.code, error.data], [3, undefined]);
  });

  test(`a signal that aborts with ${name} rejects its call with that`, async () => {
    await using peers = await twoPeers({ methods: { wait: () => new Promise(() => {}) } });
    const controller = new AbortController();
    const { signal } = controller;
    const call = peers.b.call("wait", {}, { signal });
    // Need not be awaited.
    peers.b.call("wait", {}, { signal });
    controller.abort(value);
    for (const each of [call, peers.b.call("wait", {}, { signal })]) {
      const reason = await each.then(() => "resolved", (reason) => ({ reason }));
      assert(typeof reason === "object" && Object.is(reason.reason, signal.reason));
    }
  });
}

/** A promise that throws when it is touched. */
function hostilePromise(property: string): Promise<unknown> {
  return Object.defineProperty(Promise.resolve(), property, {
    get() {
      throw new Error("touched");
    },
  });
}

const RESULTS: Record<string, () => unknown> = {
  "with a then that throws when it is read": () => ({
    get then() {
      throw new Error("touched");
    },
  }),
  "with a then that throws when it is called": () => ({
    then() {
      throw new Error("touched");
    },
  }),
  "that is a revoked proxy": () => hostileValues()["a revoked proxy"],
  "that is a promise without a constructor": () => hostilePromise("constructor"),
  "that is a promise with a then that throws": () => hostilePromise("then"),
  "with a getter that throws": () => ({
    get value() {
      throw new Error("touched");
    },
  }),
  "with a toJSON() that throws": () => ({
    toJSON() {
      throw Object.create(null);
    },
  }),
};
for (const [name, fail] of Object.entries(RESULTS)) {
  test(`a result ${name} fails that call alone`, async () => {
    const reports: unknown[] = [];
    await using peers = await twoPeers({
      methods: { fail, ok: () => 1 },
      onError: (error) => void reports.push(error),
    });
    const error = await assertRejects(() => peers.b.call("fail"), RpcError);
    assertEquals(error.code, RPC_CODES.INTERNAL_ERROR);
    assertEquals(await peers.b.call("ok"), 1);
    assertEquals(reports.length, 1);
  });
}

for (const code of [1n, NaN, Infinity, 1.5, "1", {}, Symbol("1")]) {
  test(`an RpcError with the code ${String(code)} (${typeof code}) is an internal error`, async () => {
    const fail = () => Promise.reject(new RpcError("refused", { code: code as never }));
    await assertFailsAlone(
      { fail },
      (error) => error instanceof RpcError && error.message === "refused",
    );
  });
}

for (const property of ["code", "message"]) {
  test(`an RpcError with a ${property} that throws is an internal error`, async () => {
    const error = Object.defineProperty(new RpcError("refused"), property, {
      get() {
        throw Object.create(null);
      },
    });
    const fail = () => Promise.reject(error);
    await assertFailsAlone({ fail }, (reported) => reported === error);
  });
}

test("in a batch, a method that throws a value without a text fails alone", async () => {
  const methods = {
    ok: () => 1,
    get getter(): never {
      throw Object.create(null);
    },
    now() {
      throw Object.create(null);
    },
    later: () => Promise.reject(Object.create(null)),
  };
  await using end = await RawEnd.open({ methods });
  const requests = Object.keys(methods).map((method, id) => ({ jsonrpc: "2.0", id, method }));
  const answers = await end.ask(JSON.stringify(requests)) as {
    id: number;
    result?: number;
    error?: { code: number };
  }[];
  assertEquals(
    answers.map(({ id, result, error }) => [id, result ?? error?.code]),
    [[0, 1], [1, -32603], [2, -32603], [3, -32603]],
  );
  assertEquals(end.errors.length, 3);
});

test("the id of a request that waited and then failed at once can be used again", async () => {
  const gate = Promise.withResolvers<void>();
  await using end = await RawEnd.open({
    maxConcurrent: 1,
    methods: {
      wait: () => gate.promise,
      fail() {
        throw new RpcError("refused", { code: 1 });
      },
    },
  });
  await end.send('{"jsonrpc":"2.0","id":1,"method":"wait"}');
  await end.send('{"jsonrpc":"2.0","id":2,"method":"fail"}');
  gate.resolve();
  await end.receive();
  const failure = { jsonrpc: "2.0", id: 2, error: { code: 1, message: "refused" } };
  assertEquals(await end.receive(), failure);
  assertEquals(await end.ask('{"jsonrpc":"2.0","id":2,"method":"fail"}'), failure);
  assertEquals(end.errors, []);
});

test("if onError throws or rejects, calls go on, whatever it is", async () => {
  await using program = fixture("rpc_failing_on_error.ts", ["-A"]);
  const ways = Object.keys(hostileValues()).flatMap((
    name,
  ) => [`throws ${name}`, `rejects ${name}`]);
  assertEquals(await program.output(), ways);
  assertEquals((await program.status).code, 0);
});

test("rpc() prints a value that the console cannot show by its text", async () => {
  await using program = fixture("rpc_hostile_values.ts", ["-A"]);
  assertEquals(await program.output(), ["-32603", "1"]);
  const text = "a thrown value without a text";
  assertEquals(await program.stderr(), `uds: A call of "fail" has failed: ${text}\n`);
  assertEquals((await program.status).code, 0);
});
