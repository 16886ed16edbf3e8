import type { Connection } from "../connection.ts";
import { checked } from "../_internal/base/caller_stack.ts";
import { checkArguments, checkOptions } from "../_internal/base/check.ts";
import type { CallOptions } from "../_internal/rpc/calls.ts";
import { RPC_CHECKS, type RpcOptions, withDefaults } from "../_internal/rpc/options.ts";
import { Peer } from "../_internal/rpc/peer.ts";
import type { RpcContext } from "../_internal/rpc/requests.ts";

export type { CallOptions } from "../_internal/rpc/calls.ts";
export type { RpcOptions } from "../_internal/rpc/options.ts";
export type { Methods, RpcContext } from "../_internal/rpc/requests.ts";

/**
 * The methods that implement an interface. Each may return a promise, and gets the context as its
 * second parameter.
 *
 * @category Calls
 */
export type MethodsOf<Local> = {
  [Name in keyof Local]: Local[Name] extends (...args: infer Args) => infer Result
    ? (params: Args[0], context: RpcContext) => Awaited<Result> | Promise<Awaited<Result>>
    : never;
};

/**
 * Any methods, if the peer has no interface: parameters and results are not checked.
 *
 * @category Calls
 */
export interface AnyMethods {
  /** A method. */
  [method: string]: (params?: object) => unknown;
}

/**
 * The names of the methods of an interface.
 *
 * @category Calls
 */
export type MethodName<Remote> =
  & {
    [Name in keyof Remote]: Remote[Name] extends (...args: never[]) => unknown ? Name : never;
  }[keyof Remote]
  & string;

/**
 * The parameters of a method, as arguments of a call. They may be left out if the method's own
 * parameter is optional.
 *
 * @category Calls
 */
export type MethodParams<Method> = Method extends (...args: infer Args) => unknown
  ? Args extends [] ? [params?: undefined]
  : Args extends [infer First, ...unknown[]]
    ? undefined extends First ? [params?: First] : [params: First]
  : Args extends [(infer First)?, ...unknown[]] ? [params?: First]
  : never
  : never;

/**
 * The result of a method, without its promise.
 *
 * @category Calls
 */
export type MethodResult<Method> = Method extends (...args: never[]) => infer Result
  ? Awaited<Result>
  : never;

/**
 * One end of a connection of calls, which {@linkcode rpc} returns.
 *
 * @template Remote The methods of the peer: an interface of functions.
 * @category Calls
 */
export interface RpcPeer<Remote = AnyMethods> extends Disposable, AsyncDisposable {
  /**
   * Calls a method of the peer, and waits for its answer.
   *
   * - Calls are sent in the order in which they were made, all of one turn of the event loop in one
   *   write. Answers come in the order in which they are ready.
   * - A rejection that is not awaited does not end the process.
   * - An abort or a timeout stops the waiting. The method may have run, or may still run.
   *
   * @param method The name of the method.
   * @param args The parameters, an object or an array, and then options.
   * @returns The result.
   * @throws {RpcError} when the answer is an error.
   * @throws {CallInterrupted} when the connection has ended before the answer came. Its `sent` says
   * whether the peer may have got the call.
   * @throws {Deno.errors.TimedOut} when the `timeout` is over.
   * @throws {Deno.errors.Busy} when `maxCalls` calls wait already.
   * @throws {MessageTooLarge} when the parameters are larger than the codec allows.
   * @throws {TypeError} when the parameters have no JSON, or are not an object or an array.
   * @throws {unknown} the reason of `signal` when it aborts.
   */
  call<Name extends MethodName<Remote>>(
    method: Name,
    ...args: [...MethodParams<Remote[Name]>, options?: CallOptions]
  ): Promise<MethodResult<Remote[Name]>>;
  /**
   * Calls a method of the peer without an answer. Whether the method fails is not reported.
   *
   * - It resolves at once while less than a mebibyte waits to be written. Otherwise it waits until
   *   that is so.
   * - A rejection that is not awaited does not end the process.
   *
   * @param method The name of the method.
   * @param args The parameters, an object or an array.
   * @throws {Deno.errors.BrokenPipe} when the peer has closed the connection.
   * @throws {Deno.errors.ConnectionReset} when it has closed it without reading everything.
   * @throws {MessageTooLarge} when the parameters are larger than the codec allows.
   * @throws {ConnectionClosed} when this side has closed it.
   * @throws {TypeError} when the parameters have no JSON, or are not an object or an array.
   */
  notify<Name extends MethodName<Remote>>(
    method: Name,
    ...args: MethodParams<Remote[Name]>
  ): Promise<void>;
  /**
   * Resolves when the connection has ended, for any reason, and everything was answered that could
   * be. Never rejects.
   */
  readonly closed: Promise<void>;
  /**
   * Closes the connection at once. Calls that wait reject with `CallInterrupted`, and the signals
   * of running methods abort. Idempotent; so is disposal.
   *
   * `await using` first waits for everything that was sent, for at most 5 seconds. It does not wait
   * for calls or methods.
   */
  close(): void;
}

/**
 * Calls methods of the peer, and runs methods for it: JSON-RPC 2.0.
 *
 * - The result owns the connection from now on, and reads from it at once.
 * - **Types**: `Remote` is an interface of functions with one parameter, an object or an array. A
 *   wrong method, parameter or result does not compile. Declare your own methods as
 *   `MethodsOf<Interface>`. What the peer sends is not checked: a method checks its parameters, and
 *   throws an `RpcError` with `RPC_CODES.INVALID_PARAMS`.
 * - **Errors of methods**: the peer gets the message, the code and the data of an `RpcError`. For
 *   any other error it gets only the message, with `RPC_CODES.INTERNAL_ERROR`, and `onError` gets
 *   the error. A result that is `undefined` is sent as `null`.
 * - **Malformed messages** are answered as the specification says, and reported by `onError`: what
 *   is not JSON, what is not a request, a request with the id of one that is not answered yet. So
 *   are answers with an unknown id. The connection goes on, unless the codec cannot find the next
 *   message.
 * - **Batches** are answered as one. This side does not send any.
 * - **Backpressure**: methods run until `maxConcurrent`, requests wait until `maxQueued`, and no
 *   method starts while a mebibyte of answers waits for the peer to read.
 * - **Ends**: at the peer's end of file, calls of this side reject. Methods that run are finished
 *   and answered if the peer has only ended its direction. If it has gone, their signals abort.
 *   That is noticed at the end of file, or within a second.
 *
 * **Permissions**: none.
 *
 * @template Remote The methods of the peer: an interface of functions.
 * @param conn The connection.
 * @param options The methods for the peer, and limits.
 * @returns This end of the calls.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when a number is out of range.
 *
 * @example Both ends call, and an error has a code
 * ```ts
 * import { RpcError, socketpair } from "@uds/uds";
 * import { type MethodsOf, rpc, RPC_CODES } from "@uds/uds/rpc";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * interface Parent {
 *   ask(params: { question: string }): string;
 * }
 * interface Child {
 *   work(params: { size: number }): string;
 * }
 *
 * const [one, other] = await socketpair();
 * const work: MethodsOf<Child>["work"] = async ({ size }) => {
 *   const code = RPC_CODES.INVALID_PARAMS;
 *   if (!(size > 0)) throw new RpcError("size must be positive", { code });
 *   return `${size}: ${await child.call("ask", { question: "Continue?" })}`;
 * };
 * await using child = rpc<Parent>(one, { methods: { work } });
 * await using parent = rpc<Child>(other, { methods: { ask: () => "yes" } });
 *
 * assertEquals(await parent.call("work", { size: 2 }), "2: yes");
 * const error = await assertRejects(() => parent.call("work", { size: 0 }), RpcError);
 * assertEquals(error.code, -32602);
 * ```
 *
 * @example Give up
 * ```ts
 * import { socketpair } from "@uds/uds";
 * import { rpc, type RpcContext } from "@uds/uds/rpc";
 * import { assertRejects } from "@std/assert";
 *
 * const [one, other] = await socketpair();
 * const aborted = Promise.withResolvers<void>();
 * const methods = {
 *   sleep: (_params: undefined, { signal }: RpcContext) => {
 *     signal.addEventListener("abort", () => aborted.resolve());
 *     return aborted.promise;
 *   },
 * };
 * await using _server = rpc(one, { methods });
 * await using client = rpc<typeof methods>(other, { timeout: 60_000 });
 * const call = client.call("sleep", undefined, { timeout: 10 });
 * await assertRejects(() => call, Deno.errors.TimedOut);
 * await aborted.promise;
 * ```
 *
 * @category Calls
 */
export function rpc<Remote = AnyMethods>(
  conn: Connection,
  options: RpcOptions = {},
): RpcPeer<Remote> {
  return checked(rpc, () => {
    checkArguments("rpc", arguments, 2, "rpc(conn, { methods })");
    checkOptions("rpc", options, RPC_CHECKS);
    return new Peer(conn, withDefaults(options)) as unknown as RpcPeer<Remote>;
  });
}
