/** Calls to and from the JSON-RPC library of Visual Studio Code, in both roles. */

import { contentLength, json, RpcError, serve } from "@uds/uds";
import { rpc, RPC_CODES, rpcClient } from "@uds/uds/rpc";
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { fixture, gate, TempDir, test } from "../_helpers.ts";

interface Library {
  upper(text: [string]): string;
  fail(): never;
  wait(): never;
  sum(count: [number]): number;
  absent(): never;
  end(): void;
}

const CODEC = json(contentLength());

test("rpcClient() calls vscode-jsonrpc, and is called back", async () => {
  await using dir = new TempDir();
  const path = dir.file("v.sock");
  await using peer = fixture("peer_vscode_jsonrpc.mjs", ["-A"], ["server", path]);
  let doubled = 0;
  const waiting = gate();
  const client = rpcClient<Library>({
    path,
    codec: CODEC,
    connectTimeout: 20_000,
    methods: {
      double([n]: [number]) {
        doubled++;
        return 2 * n;
      },
      waiting: () => waiting.open(),
    },
  });

  const long = "grün ".repeat(100_000);
  assertEquals(await client.call("upper", [long]), long.toUpperCase());
  assertEquals(
    await Promise.all(Array.from({ length: 1000 }, (_, i) => client.call("upper", [`a${i}`]))),
    Array.from({ length: 1000 }, (_, i) => `A${i}`),
  );
  assertEquals([await client.call("sum", [100]), doubled], [9900, 100]);

  const failed = await assertRejects(() => client.call("fail"), RpcError, "as asked");
  assertEquals([failed.code, failed.data], [4711, { why: ["grün"] }]);
  const absent = await assertRejects(() => client.call("absent"), RpcError);
  assertEquals(absent.code, RPC_CODES.METHOD_NOT_FOUND);

  // The library is told of the cancellation, and answers all the same.
  const abort = new AbortController();
  const call = client.call("wait", undefined, { signal: abort.signal });
  await waiting.opened;
  abort.abort(new Error("no longer"));
  await assertRejects(() => call, Error, "no longer");
  assertEquals(await client.call("upper", ["after"]), "AFTER");

  await client.notify("end");
  assertEquals((await peer.status).code, 0);
  client.close();
}, { deadline: 30_000 });

test("rpc() serves vscode-jsonrpc, and calls it back", async () => {
  await using dir = new TempDir();
  const path = dir.file("v.sock");
  let reason: unknown;
  await using _server = await serve(path, (conn) => {
    const log: string[] = [];
    const peer = rpc<Library>(conn, {
      codec: CODEC,
      methods: {
        add: ([a, b]: [number, number]): number => a + b,
        echo: (value: object): object => value,
        shout: (texts: string[]): Promise<string[]> =>
          Promise.all(texts.map((text) => peer.call("upper", [text]))),
        fail() {
          throw new RpcError("as asked", { code: 4711, data: { why: ["grün"] } });
        },
        async wait(_, { signal, notify }): Promise<void> {
          const { opened, open } = gate();
          signal.addEventListener("abort", () => open());
          await notify("waiting");
          await opened;
          reason = signal.reason;
          signal.throwIfAborted();
        },
        note: ([text]: [string]) => void log.push(text),
        log: () => log,
      },
    });
    return peer.closed;
  });
  await using peer = fixture("peer_vscode_jsonrpc.mjs", ["-A"], ["client", path]);
  const results = JSON.parse(await peer.line());
  assertEquals((await peer.status).code, 0);
  const { absent, cancelled, ...others } = results;
  assertEquals(others, {
    sums: Array.from({ length: 1000 }, (_, i) => i + 1),
    echo: 500_000,
    shout: ["A", "B"],
    failed: { code: 4711, message: "as asked", data: { why: ["grün"] } },
    log: ["done"],
  });
  assertEquals(absent.code, RPC_CODES.METHOD_NOT_FOUND);
  assertEquals(cancelled.code, RPC_CODES.CANCELED);
  assertInstanceOf(reason, DOMException);
}, { deadline: 30_000 });
