/**
 * Calls, some of them canceled, by a client that outlives its server. Every second time the server
 * is cut off: only then may calls be interrupted.
 */

import { serve } from "@uds/uds";
import { CallInterrupted, rpc, rpcClient, type RpcContext } from "@uds/uds/rpc";
import { check, type Load, nap, PATIENCE_MS, type Setting, until } from "../load.ts";

interface Api {
  add(numbers: [number, number]): number;
  echo(params: { text: string }): string;
  wait(): null;
}

const METHODS = {
  add: ([a, b]: [number, number]) => a + b,
  echo: ({ text }: { text: string }) => text,
  wait: (_: undefined, { signal }: RpcContext) =>
    new Promise<null>((resolve) => signal.addEventListener("abort", () => resolve(null))),
};

export async function open({ directory, random, stack, fail }: Setting): Promise<Load> {
  const path = `${directory}/calls.sock`;
  /** Accepts only what a server reports that is cut off, or that loses a client. */
  function onError(error: unknown): void {
    const { name } = error as Error;
    if (!["BrokenPipe", "ConnectionReset", "ConnectionClosed"].includes(name)) fail(error);
  }
  const start = () =>
    serve(
      { path, onError },
      (conn, { draining }) => rpc(conn, { methods: METHODS, draining, onError }).closed,
    );
  const open = () =>
    rpcClient<Api>({ path, idempotent: ["add"], connectTimeout: PATIENCE_MS, onError });
  let server = await start();
  stack.defer(() => server.shutdown().then(() => {}));
  const client = stack.use(open());
  const used = { calls: 0, interrupted: 0, restarts: 0 };
  /** Odd while the server is cut off. */
  let cuts = 0;

  /** Calls a method that must not run twice. It may be interrupted if the server is cut off. */
  async function once<T>(call: () => Promise<T>): Promise<T | undefined> {
    const before = cuts;
    try {
      return await call();
    } catch (error) {
      const isCut = cuts !== before || cuts % 2 === 1;
      if (!(error instanceof CallInterrupted) || !isCut) throw error;
      used.interrupted++;
      return undefined;
    }
  }

  return {
    courses: {
      "calls": {
        weight: 20,
        async run() {
          const numbers = Array.from({ length: 1 + random.below(20) }, () => random.below(1000));
          const sums = await Promise.all(numbers.map((n) => client.call("add", [n, 1])));
          check(numbers.every((n, i) => sums[i] === n + 1), "a call had another answer");
          used.calls += numbers.length;
        },
      },
      "calls that run once": {
        weight: 20,
        async run() {
          const text = "ü".repeat(random.below(5000));
          const back = await once(() => client.call("echo", { text }));
          check(back === undefined || back === text, "a call had another answer");
          used.calls++;
        },
      },
      "cancellation": {
        weight: 10,
        async run() {
          const abort = new AbortController();
          const reason = new Error("enough");
          const { signal } = abort;
          const given = once(() => client.call("wait", undefined, { signal })).catch((e) => e);
          await nap(random.below(4));
          abort.abort(reason);
          check(
            [reason, undefined].includes(await given),
            `a call was not canceled: ${await given}`,
          );
          used.calls++;
        },
      },
      "client of calls": {
        weight: 10,
        async run() {
          await using other = open();
          check(await other.call("add", [1, 2]) === 3, "a call had another answer");
          used.calls++;
        },
      },
    },
    async disturb() {
      const isCut = ++used.restarts % 2 === 0;
      if (isCut) cuts++;
      const { aborted } = await server.shutdown({ timeout: isCut ? 0 : PATIENCE_MS });
      check(isCut || aborted === 0, `${aborted} connections were cut off`);
      server = await start();
      // Then the client has noticed that its connection is over.
      await client.call("add", [0, 0]);
      if (isCut) cuts++;
    },
    async rest() {
      // Only the connection of the client stays.
      await client.call("add", [0, 0]);
      await until(() => server.connections === 1, "the server of calls has one connection");
    },
    async end() {
      client.close();
      await server.shutdown();
      return used;
    },
  };
}
