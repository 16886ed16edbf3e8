/**
 * One end of a connection of calls.
 *
 * ```text
 * open ──► ending   nothing comes any more: what runs is finished and answered
 *   └────────┴────► over   close(), or everything is answered, or the peer has gone
 * ```
 */

import type { Connection } from "../../connection.ts";
import { ConnectionClosed, isSocketError } from "../../errors.ts";
import type { ByteChannel, Codec } from "../../framing/codec.ts";
import { type Messages, messages } from "../../framing/messages.ts";
import { seen, seenFrom } from "../base/caller_stack.ts";
import {
  checkOptions,
  type Checks,
  checkSignal,
  duration,
  shortened,
  show,
} from "../base/check.ts";
import { onAbort } from "../base/event_loop.ts";
import { codeOf, messageOf } from "../base/failure.ts";
import { handled, rejected } from "../base/rejection.ts";
import { settlesWithin } from "../base/silence.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { print, surviving } from "../base/surviving.ts";
import { readThrown } from "../base/thrown.ts";
import { reportLate } from "../connection/socket_connection.ts";
import { errorFrom, malformed } from "../messages/codec_support.ts";
import { PeerContext } from "../messages/peer_context.ts";
import { DONE } from "../messages/sender.ts";
import { writeEarly } from "../messages/write_early.ts";
import { type CallOptions, Calls } from "./calls.ts";
import { RPC_CODES } from "./codes.ts";
import { isId, type Message, showId, stateOfRequest, wireErrorOf } from "./message.ts";
import type { PeerOptions } from "./options.ts";
import { type Reply, Requests } from "./requests.ts";
import { CountingCodec, type Id, type Wire, type WireError, wireOf } from "./wire.ts";

const { PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR, DRAINING, BUSY } = RPC_CODES;
/**
 * The last message of a server that drains: it has answered every request that it has read, and
 * reads no more. Without it, a call that meets the end of the connection may have run.
 */
const CLOSING_METHOD = "$/closing";
const DRAINING_MESSAGE = "The server is shutting down, and has not run the method";
/** The maximum number of refusals that may wait for a peer that does not read. */
const MAX_UNREAD_REFUSALS = 10_000;
/**
 * How long to refuse requests before the end of a connection that drains. So a peer that calls all
 * the time learns of it, also if it does not know `$/closing`.
 */
const LINGER_MS = 50;
/** How long a write may take until what it has written is known. */
const FLUSH_MS = 1000;
/** How much of many calls in one turn is written before the turn ends. */
const EARLY_BYTES = 16 * 1024;

const CALL_CHECKS: Checks<CallOptions> = { signal: checkSignal, timeout: duration(1) };

/** The implementation of `RpcPeer`. */
export class Peer {
  readonly closed: Promise<void>;
  readonly #conn: Connection;
  readonly #options: PeerOptions;
  readonly #wire: Wire;
  readonly #codec: CountingCodec;
  readonly #channel: Messages<unknown>;
  readonly #calls: Calls;
  readonly #requests: Requests;
  readonly #report: (error: unknown, method?: string) => void;
  readonly #path: string | null;
  /** What the kernel had taken before. */
  readonly #writtenBefore: number;
  #state: "open" | "ending" | "over" = "open";
  /** Whether the end of the connection is noticed without reading. */
  #isWatching = false;
  #isDraining = false;
  /** Whether the peer has announced that it reads no more. */
  #isPeerClosing = false;
  /** Runs for a while after draining has begun. */
  #lingering: ReturnType<typeof setTimeout> | undefined;
  /** Aborts when draining, once nothing runs. */
  readonly #quiet = new AbortController();
  /** What sending waits for. */
  #held: Promise<void> | undefined;
  #unreadRefusals = 0;
  /** Resolves at the next change of what reading may wait for. */
  #change: PromiseWithResolvers<void> | undefined;
  /** Why the connection has ended. */
  #cause: unknown;

  constructor(conn: Connection, options: PeerOptions) {
    this.#conn = conn;
    this.#options = options;
    const { methods, maxConcurrent, maxCalls, cancelMethod, draining, onError } = options;
    const report = onError === undefined ? this.#print : surviving(onError);
    const context = new PeerContext("receive", conn as ByteChannel);
    this.#report = (error, method) => report(context.decoding(error), method);
    this.#wire = wireOf(options.codec);
    this.#codec = new CountingCodec(this.#wire.codec);
    this.#channel = messages(conn as ByteChannel, this.#codec as unknown as Codec<unknown>, {
      draining: this.#quiet.signal,
    });
    this.#path = conn.remoteAddr?.path ?? conn.localAddr?.path ?? null;
    this.#writtenBefore = conn.bytesWritten;
    this.#calls = new Calls(this.#path, maxCalls, (id) => {
      this.#changed();
      if (cancelMethod !== null) this.notify(cancelMethod, { id });
    });
    this.#requests = new Requests({
      methods,
      builtIns: options.builtIns,
      wire: this.#wire,
      maxConcurrent,
      report,
      notify: (method, params) => this.notify(method, params),
      onEnded: () => this.#changed(),
    });
    const stop = onAbort(draining, () => {
      this.#isDraining = true;
      this.#lingering = setTimeout(() => {
        this.#lingering = undefined;
        this.#changed();
      }, LINGER_MS);
    });
    this.closed = this.#run().finally(() => {
      stop();
      clearTimeout(this.#lingering);
    });
  }

  call(method: string, params?: object, options?: CallOptions): Promise<unknown> {
    try {
      checkCall(method, params);
      if (options !== undefined) {
        checkOptions("call", options, CALL_CHECKS);
        options.signal?.throwIfAborted();
      }
      if (!this.takesCalls) {
        throw this.#calls.interrupted(method, false, this.#cause);
      }
      const id = this.#calls.nextId(method);
      const frame = this.#wire.request(id, method, params);
      const start = this.#codec.encoded;
      const sent = this.#send(frame);
      const { timeout = this.#options.timeout, signal } = options ?? {};
      const answer = this.#calls.wait(id, method, start, { timeout, signal });
      // Reading goes on for the answer, also if too many requests wait.
      this.#changed();
      if (sent !== DONE) sent.catch((error) => this.#notSent(id, method, start, error));
      return answer;
    } catch (error) {
      return rejected(seenFrom(this.call, error));
    }
  }

  /** Whether the connection takes calls: neither side has ended it, or announced its end. */
  get takesCalls(): boolean {
    return this.#state === "open" && !this.#isPeerClosing;
  }

  /** The identifier of the latest call. */
  get lastId(): number {
    return this.#calls.lastId;
  }

  notify(method: string, params?: object): Promise<void> {
    try {
      checkCall(method, params);
      const sent = this.#send(this.#wire.request(undefined, method, params));
      if (sent === DONE) return sent;
      const changed = sent.catch((error) => {
        throw isSendFailure(error) ? this.#calls.notSent(method, error) : error;
      });
      return seen(changed, true);
    } catch (error) {
      return rejected(seenFrom(this.notify, error));
    }
  }

  close(): void {
    if (this.#state === "over") return;
    this.#channel.close();
    this.#finish(undefined);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#state !== "over") await this.#channel[Symbol.asyncDispose]();
    } catch (error) {
      throw seenFrom(this[Symbol.asyncDispose], error);
    } finally {
      this.close();
      await this.closed;
    }
  }

  /** How many of the encoded bytes the kernel has taken, at least. */
  get #written(): number {
    return this.#conn.bytesWritten - this.#writtenBefore;
  }

  /** Resolves to how many of the encoded bytes the kernel has taken, at most. */
  async #finallyWritten(): Promise<number> {
    if (this.#calls.size === 0) return Infinity;
    // A write under way may have more. If the peer has gone, it fails at once.
    const isSettled = await settlesWithin(this.#channel.flush(), FLUSH_MS);
    return isSettled ? this.#written : Infinity;
  }

  /** Reads until the end. Never rejects. */
  async #run(): Promise<void> {
    try {
      for await (const frames of this.#channel.batches()) {
        for (const frame of frames) {
          this.#receive(frame);
          while (this.#mustWait) await this.#nextChange();
          if (this.#isOver) break;
        }
      }
    } catch (error) {
      this.#cause = error;
      this.#reportReturn(error);
    }
    await this.#end();
  }

  /** Prints an error, with the method that was called. */
  readonly #print = (error: unknown, method?: string): void => {
    const over = this.#path === null ? "" : ` over ${quoteAddress(this.#path)}`;
    print(error, method === undefined ? undefined : `A call of ${show(method)}${over}`);
  };

  /** Reports that a handler has returned while its peer could still call the methods. */
  #reportReturn(cause: unknown): void {
    if (!(cause instanceof ConnectionClosed) || !this.#hasMethods) return;
    const message = `${cause.message}. Use "await peer.closed" after rpc()`;
    const { operation, path } = cause;
    reportLate(this.#conn, new ConnectionClosed(message, { operation, path, cause }));
  }

  get #hasMethods(): boolean {
    return Object.keys(this.#options.methods).length > 0;
  }

  /** Drops the requests of a peer that leaves while nothing is read. */
  #watch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#conn.closed.then(() => {
      const reason = new Deno.errors.ConnectionAborted("The caller has closed the connection");
      this.#requests.abandon(reason);
    });
  }

  /** Whether reading must wait. It goes on while a call of ours waits for its answer. */
  get #mustWait(): boolean {
    return this.#state === "open" && this.#calls.size === 0 && this.#isFull;
  }

  get #isFull(): boolean {
    return this.#requests.waiting >= this.#options.maxQueued;
  }

  #nextChange(): Promise<void> {
    this.#watch();
    return (this.#change ??= Promise.withResolvers<void>()).promise;
  }

  #changed(): void {
    this.#change?.resolve();
    this.#change = undefined;
    if (!this.#isDraining || this.#lingering !== undefined) return;
    if (this.#requests.isIdle && this.#calls.size === 0) this.#quiet.abort();
  }

  /** Nothing comes any more. */
  async #end(): Promise<void> {
    if (this.#state === "over") return;
    this.#state = "ending";
    const cause = this.#cause;
    this.#calls.end(cause, await this.#finallyWritten());
    if (isMalformed(cause)) {
      this.#report(cause);
      // The peer need not learn the path.
      const message = messageOf(errorFrom(cause));
      this.#reply(this.#wire.error(null, { code: PARSE_ERROR, message }));
    } else if (cause !== undefined) {
      this.#requests.abandon(cause);
    }
    // A peer that has only ended its direction waits for the answers.
    while (!this.#requests.isIdle && !this.#isOver) await this.#nextChange();
    if (cause === undefined && this.#quiet.signal.aborted && !this.#isOver) {
      handled(this.#send(this.#wire.request(undefined, CLOSING_METHOD, undefined)));
    }
    // The peer may have gone meanwhile.
    await Promise.resolve(this.#channel[Symbol.asyncDispose]()).catch(() => {});
    this.#finish(cause);
  }

  #finish(cause: unknown): void {
    if (this.#isOver) return;
    this.#state = "over";
    this.#cause = cause ?? new ConnectionClosed("The connection is closed", {
      operation: "call",
      path: this.#path,
    });
    this.#calls.end(this.#cause, Infinity);
    this.#requests.drop(this.#cause);
  }

  // A getter, because TypeScript does not expect that the state changes during an `await`.
  get #isOver(): boolean {
    return this.#state === "over";
  }

  #receive(frame: unknown): void {
    let message: unknown;
    try {
      message = this.#wire.read(frame);
    } catch (error) {
      this.#report(isSocketError(error) ? error : malformed("its text is not JSON", error));
      const message = `Parse error: ${messageOf(error)}`;
      return this.#reply(this.#wire.error(null, { code: PARSE_ERROR, message }));
    }
    if (Array.isArray(message)) this.#receiveBatch(message);
    else this.#receiveOne(message, this.#reply);
  }

  #receiveBatch(batch: unknown[]): void {
    const { maxBatch } = this.#options;
    if (batch.length === 0 || batch.length > maxBatch) {
      const state = batch.length === 0 ? "the batch is empty" : `a batch has at most ${maxBatch}`;
      return this.#refuse(null, state, this.#reply);
    }
    const answers: unknown[] = [];
    const ids: Id[] = [];
    let left = batch.length;
    const reply: Reply = (answer, id) => {
      if (answer !== undefined) answers.push(answer), ids.push(id ?? null);
      if (--left > 0 || answers.length === 0) return;
      const instead = (error: WireError) =>
        this.#wire.batch(ids.map((id) => this.#wire.error(id, error)));
      let batch: unknown;
      try {
        batch = this.#wire.batch(answers);
      } catch (error) {
        // A string cannot hold all of them.
        return this.#answerInstead(error, instead);
      }
      this.#answer(batch, instead);
    };
    for (const message of batch) {
      this.#receiveOne(message, reply);
      // A method or `onError` may have closed the connection.
      if (this.#isOver) return;
    }
  }

  #receiveOne(message: unknown, reply: Reply): void {
    if (typeof message !== "object" || message === null || Array.isArray(message)) {
      return this.#refuse(null, `${show(message)} is not an object`, reply);
    }
    const { id, method, params, result, error } = message as Message;
    if (method === undefined && (result !== undefined || error != null || this.#calls.has(id))) {
      this.#settle(id, result, error ?? undefined);
      return reply(undefined);
    }
    const state = stateOfRequest(message as Message);
    if (state === undefined) {
      return this.#request(id as Id | undefined, method as string, params ?? undefined, reply);
    }
    this.#refuse(typeof method === "string" && isId(id) ? id : null, state, reply);
  }

  #refuse(id: Id, state: string, reply: Reply): void {
    this.#report(malformed(`it is not a request: ${state}`));
    this.#requests.refuse(id, INVALID_REQUEST, `Invalid request: ${state}`, reply);
  }

  #request(id: Id | undefined, method: string, params: object | undefined, reply: Reply): void {
    if (id === undefined) {
      if (method === this.#options.cancelMethod) {
        this.#requests.cancel((params as { id?: Id } | undefined)?.id ?? null);
        return reply(undefined);
      }
      if (method === CLOSING_METHOD) {
        this.#isPeerClosing = true;
        this.#calls.refuseAll({ code: DRAINING, message: DRAINING_MESSAGE });
        this.#changed();
        return reply(undefined);
      }
    } else if (this.#isDraining) {
      return this.#requests.refuse(id, DRAINING, DRAINING_MESSAGE, reply);
    }
    if (this.#isFull && this.#calls.size > 0) return this.#refuseBusy(id, reply);
    this.#requests.accept(id, method, params, reply);
  }

  #refuseBusy(id: Id | undefined, reply: Reply): void {
    if (this.#held !== undefined && ++this.#unreadRefusals > MAX_UNREAD_REFUSALS) {
      this.#report(malformed(`${MAX_UNREAD_REFUSALS} refusals were not read`));
      return this.close();
    }
    const message = "Too many requests wait, and the method has not run";
    this.#requests.refuse(id, BUSY, message, reply);
  }

  #settle(id: unknown, result: unknown, error: unknown): void {
    const known = error === undefined ? undefined : wireErrorOf(error);
    if (this.#calls.settle(id, result, known)) return this.#changed();
    const state = id == null
      ? `the peer could not use a message: ${shortened(known?.message ?? "")}`
      : `the id of an answer is unknown: ${showId(id)}`;
    this.#report(malformed(state));
  }

  readonly #reply: Reply = (answer, id = null) => {
    if (answer !== undefined) this.#answer(answer, (error) => this.#wire.error(id, error));
  };

  /**
   * Sends an answer.
   *
   * @param instead Returns what to send if the frames do not take it: it is too large.
   */
  #answer(answer: unknown, instead: (error: WireError) => unknown): void {
    this.#tryAnswer(answer, (error) => this.#answerInstead(error, instead));
  }

  /**
   * Reports why an answer could not be sent, and sends an error instead. If that is too large as
   * well, because of its ids, it is one without an id.
   */
  #answerInstead(error: unknown, instead: (error: WireError) => unknown): void {
    this.#report(error);
    const failure = { code: INTERNAL_ERROR, message: messageOf(error) };
    this.#tryAnswer(
      instead(failure),
      () => handled(this.#send(this.#wire.error(null, failure))),
    );
  }

  /** Sends an answer. Calls back with the error if the frames do not take it. */
  #tryAnswer(answer: unknown, onRefused: (error: unknown) => void): void {
    const sent = this.#send(answer);
    if (sent === DONE) return;
    sent.catch((error) => {
      if (!isSendFailure(error)) onRefused(error);
    });
  }

  /** Sends a frame. While the peer does not read, requests are held back. */
  #send(frame: unknown): Promise<void> {
    const before = this.#channel.pending;
    const sent = this.#channel.send(frame);
    // The peer can begin with these while the next ones are encoded.
    if (before < EARLY_BYTES && this.#channel.pending >= EARLY_BYTES) writeEarly(this.#channel);
    if (sent !== DONE && sent !== this.#held) {
      this.#held = sent;
      this.#requests.hold(true);
      const release = () => {
        if (this.#held !== sent) return;
        this.#held = undefined;
        this.#unreadRefusals = 0;
        this.#requests.hold(false);
        this.#changed();
      };
      sent.then(release, release);
    }
    return sent;
  }

  #notSent(id: number, method: string, start: number, error: unknown): void {
    if (!isSendFailure(error)) this.#calls.refuse(id, error);
    else if (start >= this.#written) {
      this.#calls.refuse(id, this.#calls.interrupted(method, false, error));
    }
  }
}

/** Throws unless a method and its parameters are of the right kind. */
export function checkCall(method: string, params: object | undefined): void {
  if (typeof method !== "string") {
    throw new TypeError(`Invalid method: expected a string, got ${show(method)}`);
  }
  if (params !== undefined && (typeof params !== "object" || params === null)) {
    const remedy = "JSON-RPC has no others: put several arguments into an array, such as [1, 2]";
    throw new TypeError(
      `Invalid params: expected an object or an array, got ${show(params)}. ${remedy}`,
    );
  }
}

/** Reports whether the connection does not take messages any more. */
function isSendFailure(error: unknown): error is Error {
  return readThrown(() => isSocketError(error) && error.operation === "send", false);
}

/** Reports whether the peer sent what is not a message: it is still there. */
function isMalformed(cause: unknown): boolean {
  return cause !== undefined &&
    !["ECONNRESET", "EPIPE", "ETIMEDOUT"].includes(codeOf(cause) ?? "") &&
    !readThrown(() => cause instanceof ConnectionClosed, false);
}
