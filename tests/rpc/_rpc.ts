/** A peer with raw lines at its other end, and the methods of these tests. */

import { type Connection, lines, type Messages, messages } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { RpcError, socketpair } from "@uds/uds";
import type { AnyMethods, RpcContext, RpcOptions, RpcPeer } from "@uds/uds/rpc";

/** The methods of the specification's examples. */
export const METHODS = {
  subtract: (params: [number, number] | { minuend: number; subtrahend: number }): number =>
    Array.isArray(params) ? params[0] - params[1] : params.minuend - params.subtrahend,
  sum: (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0),
  get_data: (): unknown[] => ["hello", 5],
  update: (): void => {},
  notify_hello: (): void => {},
  echo: (params: unknown): unknown => params,
  refuse: ({ code, data }: { code: number; data?: unknown }): never => {
    throw new RpcError("refused", { code, data });
  },
};

/** A peer, and its other end. */
export class RawEnd implements AsyncDisposable {
  readonly peer: RpcPeer<AnyMethods>;
  readonly conn: Connection;
  readonly lines: Messages<string>;
  /** What the peer has reported. */
  readonly errors: unknown[] = [];

  private constructor(own: Connection, other: Connection, options: RpcOptions) {
    this.peer = rpc(own, {
      methods: METHODS,
      onError: (error) => void this.errors.push(error),
      ...options,
    });
    this.conn = other;
    this.lines = messages(other, lines());
  }

  static async open(options: RpcOptions = {}): Promise<RawEnd> {
    const [own, other] = await socketpair();
    return new RawEnd(own, other, options);
  }

  /** Sends a text as one line. */
  async send(text: string): Promise<void> {
    await this.lines.send(text);
  }

  /** Receives one line, and returns its JSON. */
  async receive(): Promise<unknown> {
    const line = await this.lines.receive();
    return line === undefined ? undefined : JSON.parse(line);
  }

  /** Sends a text as one line, and returns the JSON of the next one. */
  async ask(text: string): Promise<unknown> {
    await this.send(text);
    return await this.receive();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.lines.close();
    this.peer.close();
    await this.peer.closed;
  }
}

/** Two peers. */
export async function twoPeers<A = AnyMethods, B = AnyMethods>(
  optionsOfA: RpcOptions,
  optionsOfB: RpcOptions = {},
): Promise<{ a: RpcPeer<B>; b: RpcPeer<A> } & AsyncDisposable> {
  const [one, other] = await socketpair();
  const a = rpc<B>(one, optionsOfA);
  const b = rpc<A>(other, optionsOfB);
  return {
    a,
    b,
    async [Symbol.asyncDispose]() {
      a.close();
      b.close();
      await Promise.all([a.closed, b.closed]);
    },
  };
}

/** Returns a method that waits until it is canceled, and a promise of the reason. */
export function waiting(): {
  wait: (params: unknown, context: RpcContext) => Promise<never>;
  started: Promise<void>;
  aborted: Promise<unknown>;
} {
  const started = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<unknown>();
  const wait = (_params: unknown, { signal }: RpcContext) => {
    started.resolve();
    signal.addEventListener("abort", () => aborted.resolve(signal.reason));
    return aborted.promise.then((reason) => Promise.reject(reason));
  };
  return { wait, started: started.promise, aborted: aborted.promise };
}
