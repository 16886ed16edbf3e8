/** One end of calls that is written by hand: it may end its direction and go on receiving. */

import { CallInterrupted, type Connection, json, lines, type Messages, messages } from "@uds/uds";
import { RpcError } from "@uds/uds";
import type { Limits, Made, Params, Ran, Side } from "./_calls.ts";
import type { Clock } from "./_end.ts";

/** What is sent, in either direction. */
interface Message {
  jsonrpc: "2.0";
  id?: number;
  method?: string;
  params?: Params | { id: number };
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
}

/** It answers each request at once. */
export class RawEnd implements Side {
  readonly limits: Limits = { maxConcurrent: Infinity, maxQueued: Infinity, maxCalls: Infinity };
  readonly made: Made[] = [];
  readonly ran: Ran[] = [];
  readonly errors: { error: unknown; method: string | undefined }[] = [];
  /** When it has ended its direction: calls of the peer are interrupted then. */
  closedAt: number = Infinity;
  readonly drainedAt: number = Infinity;
  readonly #channel: Messages<unknown>;
  readonly #clock: Clock;
  readonly #received: Promise<void>;
  #isGone = false;

  constructor(conn: Connection, clock: Clock) {
    this.#channel = messages(conn, json(lines()));
    this.#clock = clock;
    this.#received = this.#receive();
  }

  async #receive(): Promise<void> {
    try {
      for await (const message of this.#channel) {
        for (const one of [message].flat() as Message[]) this.#take(one);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    }
  }

  #take({ id, method, params, result, error }: Message): void {
    if (method !== undefined) {
      const { token } = params as Params ?? {};
      if (token !== undefined) this.ran.push({ method, token });
      if (id === undefined) return;
      const answer: Message = method === "echo" || method === "hold"
        ? { jsonrpc: "2.0", id, result: token }
        : { jsonrpc: "2.0", id, error: { code: -32601, message: "not here" } };
      this.#channel.send(answer);
      return;
    }
    const made = this.made[id!];
    if (made === undefined || made.result !== undefined) throw new Error(`a second answer: ${id}`);
    made.settledAt = this.#clock.tick();
    const failure = error && new RpcError(error.message, { code: error.code, data: error.data });
    made.result = failure === undefined ? { value: result } : { error: failure };
  }

  act(name: string, n: number): void {
    if (name === "close") {
      this.#end();
      this.#isGone = true;
      this.#channel.close();
    } else if (this.closedAt < Infinity) return;
    else if (name === "closeWrite") {
      this.#channel.closeWrite();
      this.#end();
    } else if (name === "cancel") this.#cancel(n);
    else if (name === "batch") {
      const names = ["echo", "hold", "refuse", "note", "missing"];
      const messages = names.slice(n % 3, 1 + n % 5).map((each) => this.#make(each));
      if (messages.length > 0) this.#channel.send(messages);
    } else this.#channel.send(this.#make(name));
  }

  #end(): void {
    this.closedAt = Math.min(this.closedAt, this.#clock.tick());
  }

  #make(method: string): Message {
    const token = this.made.length;
    const isNote = method === "note";
    this.made.push({
      method,
      token,
      settledAt: Infinity,
      givenUpAt: Infinity,
      ...(isNote && { result: { value: undefined } }),
    });
    return { jsonrpc: "2.0", ...(!isNote && { id: token }), method, params: { token } };
  }

  #cancel(n: number): void {
    const made = this.made[n % Math.max(this.made.length, 1)];
    if (made === undefined) return;
    this.#channel.send({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id: made.token } });
    made.givenUpAt = Math.min(made.givenUpAt, this.#clock.tick());
  }

  /** Ends its direction, and receives all answers. */
  async finish(peer: Side): Promise<void> {
    this.act("closeWrite", 0);
    await this.#received;
    if (!this.#isGone && peer.closedAt === Infinity && peer.drainedAt === Infinity) return;
    const fields = { operation: "call", path: null, sent: true };
    const interrupted = new CallInterrupted("no answer came", fields);
    for (const made of this.made) {
      made.result ??= { error: interrupted };
      made.settledAt = Math.min(made.settledAt, this.#clock.tick());
    }
  }

  close(): void {
    this.#channel.close();
  }
}
