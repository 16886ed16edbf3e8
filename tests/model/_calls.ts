/** One end of calls in a random course: it calls, runs methods, and records what came of it. */

import { type Connection, json, lines, RpcError } from "@uds/uds";
import { rpc, type RpcContext, type RpcPeer } from "@uds/uds/rpc";
import { turn } from "../_helpers.ts";
import type { Clock } from "./_end.ts";

/** The parameters of every method. */
export interface Params {
  token: number;
  text?: string;
}

/** The limits of an end. */
export interface Limits {
  maxConcurrent: number;
  maxQueued: number;
  maxCalls: number;
}

/** A call or a notification, and how it ended. */
export interface Made {
  method: string;
  token: number;
  result?: { value: unknown } | { error: unknown };
  settledAt: number;
  /** When it was given up: its signal aborted, or it has a timeout. */
  givenUpAt: number;
}

/** A method that has run. */
export interface Ran {
  method: string;
  token: number;
  /** Whether its signal had aborted at its end. */
  wasAborted?: boolean;
}

/** The least number of waiting requests that no course reaches. */
export const MANY = 1000;

/** What the model looks at. */
export interface Side {
  readonly limits: Limits;
  readonly made: Made[];
  readonly ran: Ran[];
  readonly errors: { error: unknown; method: string | undefined }[];
  /** When it has ended the connection, and when it began to drain. */
  closedAt: number;
  drainedAt: number;
}

/** The code of the method that refuses. */
export const REFUSED = 7;
/** The limit of a message. */
const MAX_BYTES = 2000;

/** One end. */
export class CallingEnd implements Side {
  readonly conn: Connection;
  readonly limits: Limits;
  readonly peer: RpcPeer;
  readonly made: Made[] = [];
  readonly ran: Ran[] = [];
  readonly errors: { error: unknown; method: string | undefined }[] = [];
  closedAt: number = Infinity;
  drainedAt: number = Infinity;
  readonly #clock: Clock;
  readonly #draining = new AbortController();
  readonly #held: (() => void)[] = [];
  /** The tokens of calls that this end holds. */
  readonly holding: Set<number> = new Set();
  readonly #aborts: (() => void)[] = [];
  readonly #settled: Promise<void>[] = [];
  #holds = true;

  constructor(conn: Connection, clock: Clock, limits: Limits) {
    this.conn = conn;
    this.limits = limits;
    this.#clock = clock;
    this.peer = rpc(conn, {
      ...limits,
      codec: json(lines({ maxBytes: MAX_BYTES })),
      draining: this.#draining.signal,
      onError: (error, method) => void this.errors.push({ error, method }),
      methods: {
        echo: (params: Params) => this.#run("echo", params, () => params.token),
        refuse: (params: Params) =>
          this.#run("refuse", params, () => {
            throw new RpcError("refused", { code: REFUSED, data: params.token });
          }),
        fail: (params: Params) =>
          this.#run("fail", params, () => {
            throw new Error(`failed ${params.token}`);
          }),
        note: (params: Params) => this.#run("note", params, () => {}),
        ask: (params: Params) => this.#run("ask", params, () => this.peer.call("same", params)),
        same: ({ token }: Params) => token,
        hold: (params: Params, { signal }: RpcContext) => this.#hold(params, signal),
      },
    });
  }

  #run<T>(method: string, { token }: Params, work: () => T): T {
    this.ran.push({ method, token });
    return work();
  }

  async #hold(params: Params, signal: AbortSignal): Promise<number> {
    const ran: Ran = { method: "hold", token: params.token };
    this.ran.push(ran);
    try {
      if (this.#holds) {
        this.holding.add(params.token);
        await new Promise<void>((resolve, reject) => {
          this.#held.push(resolve);
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      }
      return params.token;
    } finally {
      ran.wasAborted = signal.aborted;
      this.holding.delete(params.token);
    }
  }

  act(name: string, n: number): void {
    if (name === "release") this.#held.shift()?.();
    else if (name === "abort") this.#aborts.shift()?.();
    else if (name === "callAborted") this.#callAborted(n);
    else if (name === "callInTime") this.#call(CALLED[n % CALLED.length]!, { timeout: 1 + n % 5 });
    else if (name === "drain") {
      this.#draining.abort();
      this.drainedAt = Math.min(this.drainedAt, this.#clock.tick());
    } else if (name === "close") {
      this.peer.close();
      this.#closed();
    } else if (name === "dispose") {
      this.#closed();
      this.#settled.push(Promise.resolve(this.peer[Symbol.asyncDispose]()).catch(() => {}));
    } else this.#call(name);
  }

  #closed(): void {
    this.closedAt = Math.min(this.closedAt, this.#clock.tick());
  }

  #call(method: string, options?: { signal?: AbortSignal; timeout?: number }): Made {
    const token = this.made.length;
    const made: Made = { method, token, settledAt: Infinity, givenUpAt: Infinity };
    if (options?.timeout !== undefined) made.givenUpAt = 0;
    this.made.push(made);
    const settle = (result: NonNullable<Made["result"]>) => {
      made.result = result;
      made.settledAt = this.#clock.tick();
    };
    const params: Params = { token };
    if (method === "large") params.text = "x".repeat(MAX_BYTES);
    const calling = method === "note"
      ? this.peer.notify(method, params)
      : this.peer.call(method, (method === "bad" ? token : params) as object, options);
    this.#settled.push(calling.then((value) => settle({ value }), (error) => settle({ error })));
    return made;
  }

  #callAborted(n: number): void {
    const controller = new AbortController();
    const abort = (made?: Made) => {
      if (made !== undefined) made.givenUpAt = this.#clock.tick();
      controller.abort(new DOMException("as asked", "AbortError"));
    };
    const isBefore = n % 4 === 0;
    if (isBefore) abort();
    const made = this.#call(CALLED[n % CALLED.length]!, { signal: controller.signal });
    if (isBefore) made.givenUpAt = 0;
    else if (n % 4 === 1) abort(made);
    else if (n % 4 === 2) queueMicrotask(() => abort(made));
    else this.#aborts.push(() => abort(made));
  }

  /** Waits until the peer has aborted every method of a call that this end has given up. */
  async untilAborted(peer: CallingEnd): Promise<void> {
    const isHeld = ({ token, givenUpAt, settledAt }: Made) =>
      givenUpAt < settledAt && settledAt < Infinity && peer.holding.has(token);
    // While too many requests wait, the peer reads no further.
    while (peer.limits.maxQueued >= MANY && this.made.some(isHeld)) await turn();
  }

  /** Makes all methods return, also later ones. */
  releaseAll(): void {
    this.#holds = false;
    for (const release of this.#held.splice(0)) release();
  }

  /** Makes one more call, behind everything else, and resolves when all calls have settled. */
  async finish(): Promise<void> {
    let result: Made["result"];
    // While it is refused here, the peer may still have a notification before it.
    do {
      const last = this.#call("echo");
      for (const each of this.#settled) await each;
      ({ result } = last);
      // A refused call settles at once: without a turn, the answers would never come.
      await turn();
    } while ("error" in result! && result.error instanceof Deno.errors.Busy);
  }
}

/** What is called with a signal or a timeout. */
const CALLED = ["hold", "echo", "hold", "missing", "hold"];
