/**
 * Calls: JSON-RPC 2.0 over a connection.
 *
 * @module
 */

import type { Connection } from "./connection.ts";
import type { Codec } from "./framing/codec.ts";
import { json } from "./framing/json.ts";
import { lines } from "./framing/lines.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkCount,
  checkFunction,
  checkInteger,
  checkOptions,
  type Checks,
  checkSignal,
  duration,
  show,
} from "./_internal/base/check.ts";
import { checkCodec } from "./_internal/messages/codec_support.ts";
import { Peer } from "./_internal/rpc/peer.ts";

export { CallInterrupted, RpcError } from "./errors.ts";
export { RPC_CODES } from "./_internal/rpc/codes.ts";

/** What a method gets besides its parameters. */
export interface RpcContext {
  /** Aborts when the caller has given up, or has gone. */
  readonly signal: AbortSignal;
  /**
   * Sends a notification to the caller, such as the progress of the method.
   *
   * @param method The method.
   * @param params Its parameters.
   */
  notify(method: string, params?: object): Promise<void>;
}

/** The methods that the peer may call, by their names. */
export type Methods = Record<string, (params: never, context: RpcContext) => unknown>;

/** The methods of an interface, each of which may return a promise and take the context. */
export type MethodsOf<Local> = {
  [Name in keyof Local]: Local[Name] extends (...args: infer Args) => infer Result
    ? (params: Args[0], context: RpcContext) => Result | Promise<Awaited<Result>>
    : never;
};

/** Methods of which nothing is known. */
export interface AnyMethods {
  /** A method takes any parameters. */
  [method: string]: (params?: object) => unknown;
}

/** The names of the methods of an interface. */
export type MethodName<Remote> =
  & {
    [Name in keyof Remote]: Remote[Name] extends (...args: never[]) => unknown ? Name : never;
  }[keyof Remote]
  & string;

/** The parameters of a method, which can be left out if it has none. */
export type Params<Method> = Method extends (...args: infer Args) => unknown
  ? Args extends [] ? [params?: undefined]
  : Args extends [infer P, ...unknown[]] ? undefined extends P ? [params?: P] : [params: P]
  : Args extends [(infer P)?, ...unknown[]] ? [params?: P]
  : never
  : never;

/** The result of a method. */
export type Result<Method> = Method extends (...args: never[]) => infer R ? Awaited<R> : never;

/** Options of {@linkcode RpcPeer.call}. */
export interface CallOptions {
  /** Cancels the call: its promise rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * How long, in milliseconds, to wait for the answer.
   *
   * @default {that of the peer}
   */
  timeout?: number;
}

/** Options of {@linkcode rpc}. */
export interface RpcOptions {
  /**
   * The methods that the peer may call.
   *
   * @default {none}
   */
  methods?: Methods;
  /**
   * The codec of the messages.
   *
   * @default {json(lines())}
   */
  codec?: Codec<unknown>;
  /**
   * The maximum number of methods that run at the same time.
   *
   * @default {100}
   */
  maxConcurrent?: number;
  /**
   * The maximum number of requests that wait to run. Then reading stops.
   *
   * @default {1000}
   */
  maxQueued?: number;
  /**
   * The maximum number of requests in a batch.
   *
   * @default {1000}
   */
  maxBatch?: number;
  /**
   * The maximum number of own calls that wait for an answer.
   *
   * @default {65536}
   */
  maxCalls?: number;
  /**
   * How long, in milliseconds, a call waits for its answer.
   *
   * @default {Infinity}
   */
  timeout?: number;
  /** Ends the connection. */
  draining?: AbortSignal;
  /**
   * The notification of a call that was given up; `null` for none.
   *
   * @default {"$/cancelRequest"}
   */
  cancelMethod?: string | null;
  /** Called with what a call cannot reject with. */
  onError?: (error: unknown, method?: string) => void;
}

/** One end of a connection of calls. */
export interface RpcPeer<Remote = AnyMethods> extends Disposable, AsyncDisposable {
  /**
   * Calls a method of the peer.
   *
   * @param method The method.
   * @param args Its parameters, and options.
   * @returns Its result.
   */
  call<M extends MethodName<Remote>>(
    method: M,
    ...args: [...Params<Remote[M]>, options?: CallOptions]
  ): Promise<Result<Remote[M]>>;
  /**
   * Sends a notification.
   *
   * @param method The method.
   * @param args Its parameters.
   */
  notify<M extends MethodName<Remote>>(method: M, ...args: Params<Remote[M]>): Promise<void>;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<void>;
  /** Closes the connection at once. */
  close(): void;
}

const CHECKS: Checks<RpcOptions> = {
  methods: checkMethods,
  codec: checkCodec,
  maxConcurrent: checkCount,
  maxQueued: (name, value) => checkInteger(name, value, 0, Number.MAX_SAFE_INTEGER),
  maxBatch: checkCount,
  maxCalls: checkCount,
  timeout: duration(1),
  draining: checkSignal,
  cancelMethod: checkCancelMethod,
  onError: checkFunction,
};

/**
 * Calls methods of the peer, and runs methods for it.
 *
 * @param conn The connection.
 * @param options The methods, and limits.
 * @returns This end.
 */
export function rpc<Remote = AnyMethods>(
  conn: Connection,
  options: RpcOptions = {},
): RpcPeer<Remote> {
  try {
    checkArguments("rpc", arguments, 2, "rpc(conn, { methods })");
    checkOptions("rpc", options, CHECKS);
    const {
      methods = {},
      codec = json(lines()),
      maxConcurrent = 100,
      maxQueued = 1000,
      maxBatch = 1000,
      maxCalls = 65536,
      timeout = Infinity,
      cancelMethod = "$/cancelRequest",
    } = options;
    return new Peer(conn, {
      ...options,
      methods,
      codec,
      maxConcurrent,
      maxQueued,
      maxBatch,
      maxCalls,
      timeout,
      cancelMethod,
    }) as unknown as RpcPeer<Remote>;
  } catch (error) {
    throw seenFrom(rpc, error);
  }
}

function checkMethods(name: string, value: unknown): void {
  const prototype = typeof value === "object" && value !== null && Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return;
  throw new TypeError(
    `Invalid ${name}: expected an object of functions, such as { add }, got ${show(value)}`,
  );
}

function checkCancelMethod(name: string, value: unknown): void {
  if (value === null || typeof value === "string") return;
  throw new TypeError(`Invalid ${name}: expected a string or null, got ${show(value)}`);
}
