/**
 * The requests of the peer: those that run, and those that wait to run.
 *
 * ```text
 * accepted ──► waits ──► runs ──► answered
 *    │           └──────► canceled, and answered
 *    └──► refused: an unknown method, draining, too many
 * ```
 */

import { RpcError } from "../../errors.ts";
import { show } from "../base/check.ts";
import { messageOf } from "../base/failure.ts";
import { readThrown } from "../base/thrown.ts";
import { RPC_CODES } from "./codes.ts";
import { showId } from "./message.ts";
import type { Id, Wire } from "./wire.ts";

/**
 * The methods that the peer may call, by their names. Each gets the parameters of the request, an
 * object or an array, or `undefined` if it has none.
 *
 * @category Calls
 */
export type Methods = Record<string, (params: never, context: RpcContext) => unknown>;

/** Methods of this library, for the names that are not in {@linkcode Methods}. */
export type BuiltIns = ReadonlyMap<string, Methods[string]>;

/**
 * What a method gets besides its parameters.
 *
 * @category Calls
 */
export interface RpcContext {
  /**
   * Aborts when the caller has given up or has gone, or when this side closes the connection. Pass
   * it to what the method waits for.
   */
  readonly signal: AbortSignal;
  /**
   * Sends a notification to the caller, such as the progress of the method. It resolves as
   * {@linkcode RpcPeer.notify} does.
   *
   * @param method The name of the notification.
   * @param params Its parameters.
   */
  notify(method: string, params?: object): Promise<void>;
}

/** Takes the answer to a request, or `undefined` for a notification. Called once for each. */
export type Reply = (answer: unknown, id?: Id) => void;

/** What the requests of one peer need. */
export interface RequestsOptions {
  readonly methods: Methods;
  readonly builtIns: BuiltIns | undefined;
  readonly wire: Wire;
  readonly maxConcurrent: number;
  readonly report: (error: unknown, method?: string) => void;
  readonly notify: (method: string, params?: object) => Promise<void>;
  /** Called when a request has ended. */
  readonly onEnded: () => void;
}

/** Runs the methods of one peer. */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #waiting: Request[] = [];
  /** Those that wait or run, without those that ended at once. */
  readonly #open = new Map<Id, Request>();
  readonly #running = new Set<Request>();
  /** The request of the method that is being called. */
  #starting: Request | undefined;
  #isHeld = false;

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** The number of requests that wait to run. */
  get waiting(): number {
    return this.#waiting.length;
  }

  get isIdle(): boolean {
    return this.#running.size === 0 && this.#waiting.length === 0;
  }

  /** Runs a method, now or when its turn comes. */
  accept(id: Id | undefined, method: string, params: unknown, reply: Reply): void {
    const { methods, builtIns, notify } = this.#options;
    const run = methodOf(methods, method) ?? builtIns?.get(method);
    if (run === undefined) {
      const message = `Method not found: ${show(method)}`;
      return this.refuse(id, RPC_CODES.METHOD_NOT_FOUND, message, reply);
    }
    if (id !== undefined && this.#open.has(id)) {
      const message = "Invalid request: a request with this id is not answered yet";
      this.#options.report(new Error(`${message}: ${showId(id)}`), method);
      return this.refuse(id, RPC_CODES.INVALID_REQUEST, message, reply);
    }
    const request = new Request(id, method, run, params, reply, notify);
    if (this.#waiting.length === 0 && this.#mayRun(request)) return this.#run(request);
    if (id !== undefined) this.#open.set(id, request);
    this.#waiting.push(request);
  }

  /** Answers a request with an error. A notification gets no answer. */
  refuse(id: Id | undefined, code: number, message: string, reply: Reply): void {
    reply(id === undefined ? undefined : this.#options.wire.error(id, { code, message }), id);
  }

  /** The caller has given up. */
  cancel(id: Id): void {
    const request = this.#open.get(id);
    if (request === undefined) return;
    const reason = new DOMException("The caller has canceled the call", "AbortError");
    const place = this.#waiting.indexOf(request);
    request.abort(reason);
    if (place < 0) return;
    this.#waiting.splice(place, 1);
    this.#open.delete(id);
    this.#fail(request, reason);
    this.#options.onEnded();
  }

  /** The caller has gone: drops its requests, and aborts those that run. Notifications stay. */
  abandon(reason: unknown): void {
    for (const request of this.#open.values()) {
      request.abort(reason);
      this.#running.delete(request);
    }
    this.#open.clear();
    const notifications = this.#waiting.filter(({ id }) => id === undefined);
    this.#waiting.splice(0, Infinity, ...notifications);
    this.#runWaiting();
    this.#options.onEnded();
  }

  /** This side has closed the connection: also drops the notifications. */
  drop(reason: unknown): void {
    this.#waiting.length = 0;
    this.abandon(reason);
    for (const request of this.#running) request.abort(reason);
    this.#running.clear();
    this.#starting?.abort(reason);
  }

  /** Holds requests back while the peer does not read their answers. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    this.#runWaiting();
  }

  #mayRun({ id }: Request): boolean {
    return this.#running.size < this.#options.maxConcurrent && (!this.#isHeld || id === undefined);
  }

  #runWaiting(): void {
    const waiting = this.#waiting;
    while (waiting.length > 0 && this.#mayRun(waiting[0]!)) this.#run(waiting.shift()!);
  }

  #run(request: Request): void {
    const { id, run, params } = request;
    let answer: () => void;
    const outer = this.#starting;
    this.#starting = request;
    try {
      const result: unknown = Reflect.apply(run, this.#options.methods, [params, request]);
      if (isThenable(result)) return void this.#follow(request, result);
      answer = () => this.#succeed(request, result);
    } catch (error) {
      answer = () => this.#fail(request, error);
    } finally {
      this.#starting = outer;
    }
    if (id !== undefined) this.#open.delete(id);
    answer();
  }

  /** Waits for the result of a method, and answers. Never rejects. */
  async #follow(request: Request, result: PromiseLike<unknown>): Promise<void> {
    const { id } = request;
    // Not if its method has closed the connection.
    if (!request.isAborted) {
      this.#running.add(request);
      if (id !== undefined) this.#open.set(id, request);
    }
    let answer: () => void;
    try {
      const value = await result;
      answer = () => this.#succeed(request, value);
    } catch (error) {
      answer = () => this.#fail(request, error);
    }
    this.#ended(request, answer);
  }

  #ended(request: Request, answer: () => void): void {
    // Without a caller there is nothing to answer.
    if (!this.#running.delete(request)) return;
    if (request.id !== undefined) this.#open.delete(request.id);
    answer();
    this.#runWaiting();
    this.#options.onEnded();
  }

  #succeed(request: Request, result: unknown): void {
    const { id, reply } = request;
    if (id === undefined) return reply(undefined);
    let answer: unknown;
    try {
      answer = this.#options.wire.result(id, result);
    } catch (error) {
      return this.#fail(request, error);
    }
    reply(answer, id);
  }

  #fail(request: Request, error: unknown): void {
    const { id, method, reply } = request;
    const { wire, report } = this.#options;
    const answer = id === undefined ? undefined : answerOf(id, error, wire);
    if (!request.isAborted && answer === undefined) report(error, method);
    if (id === undefined) return reply(undefined);
    const code = request.isAborted ? RPC_CODES.CANCELED : RPC_CODES.INTERNAL_ERROR;
    reply(answer ?? wire.error(id, { code, message: messageOf(error) }), id);
  }
}

/** Returns a method. One with a getter that throws becomes a method that throws the same. */
function methodOf(methods: Methods, name: string): Methods[string] | undefined {
  try {
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    return typeof method === "function" ? method : undefined;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/**
 * Returns the answer of an `RpcError`, without data that cannot be encoded. Returns `undefined` for
 * any other error, and for an `RpcError` that JSON-RPC does not allow: its code must be an integer.
 */
function answerOf(id: Id, error: unknown, wire: Wire): unknown {
  return readThrown(() => {
    if (!(error instanceof RpcError)) return undefined;
    const { code, message } = error;
    if (!Number.isInteger(code) || typeof message !== "string") return undefined;
    const withData = () => {
      const { data } = error;
      return data === undefined ? undefined : wire.error(id, { code, message, data });
    };
    return readThrown(withData, undefined) ?? wire.error(id, { code, message });
  }, undefined);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

/** A request, and the context of its method. */
class Request implements RpcContext {
  readonly id: Id | undefined;
  readonly method: string;
  readonly run: Methods[string];
  readonly params: unknown;
  readonly reply: Reply;
  readonly notify: RpcContext["notify"];
  /** Made when it is needed: most methods do not use it. */
  #controller: AbortController | undefined;
  #reason: { readonly value: unknown } | undefined;

  constructor(
    id: Id | undefined,
    method: string,
    run: Methods[string],
    params: unknown,
    reply: Reply,
    notify: RpcContext["notify"],
  ) {
    this.id = id;
    this.method = method;
    this.run = run;
    this.params = params;
    this.reply = reply;
    this.notify = notify;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason !== undefined) this.#controller.abort(this.#reason.value);
    return this.#controller.signal;
  }

  get isAborted(): boolean {
    return this.#reason !== undefined;
  }

  abort(reason: unknown): void {
    this.#reason ??= { value: reason };
    this.#controller?.abort(reason);
  }
}
