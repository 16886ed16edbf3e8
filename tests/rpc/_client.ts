/** Helpers that the tests of `rpcClient()` share. */

import { serve, type UnixServer } from "@uds/uds";
import { rpc, type RpcOptions } from "@uds/uds/rpc";
import { assertRejects } from "@std/assert";
import { gate } from "../_helpers.ts";

/** What the servers of these tests can do. */
export interface Api {
  add(numbers: [number, number]): number;
  hold(id: [string]): string;
  fail(): never;
}

/** A server of calls, which counts them. */
export interface Counted extends AsyncDisposable {
  readonly server: UnixServer;
  /** The number of connections so far. */
  readonly connections: () => number;
  /** The ids of all calls of `hold` so far. */
  readonly held: string[];
  /** Resolves when `hold` is called next. */
  readonly nextHold: () => Promise<void>;
  /** Answers all calls of `hold`, also later ones. */
  readonly release: () => void;
  /** Closes all connections at once, with their calls. */
  readonly cut: () => void;
}

/** Starts a server of {@linkcode Api}. */
export async function startApi(path: string, options: RpcOptions = {}): Promise<Counted> {
  let connections = 0;
  const held: string[] = [];
  const { opened, open } = gate();
  let onHold = gate();
  const peers = new Set<{ close(): void }>();
  const server = await serve({ path, publish: "rename", existing: "replace" }, (conn, info) => {
    connections++;
    const peer = rpc(conn, {
      draining: info.draining,
      methods: {
        add: ([a, b]: [number, number]) => a + b,
        async hold([id]: [string]) {
          held.push(id);
          onHold.open();
          onHold = gate();
          await opened;
          return id;
        },
        fail() {
          throw new RangeError("as asked");
        },
      },
      onError() {},
      ...options,
    });
    peers.add(peer);
    return peer.closed;
  });
  return {
    server,
    connections: () => connections,
    held,
    nextHold: () => onHold.opened,
    release: () => open(),
    cut() {
      for (const peer of peers) peer.close();
    },
    async [Symbol.asyncDispose]() {
      open();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Returns the error that a promise rejects with. */
export function failure(promise: Promise<unknown>): Promise<Error> {
  return assertRejects(() => promise, Error);
}
