import { resolveSocketPath, type SocketPath } from "../address.ts";
import { connect } from "../client.ts";
import {
  type AnyMethods,
  type MethodName,
  type MethodParams,
  type MethodResult,
  rpc,
  type RpcOptions,
  type RpcPeer,
} from "./rpc.ts";
import { checked } from "../_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkFunction,
  checkOptions,
  type Checks,
  checkUsers,
  duration,
  show,
  unchecked,
  withPath,
} from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { type ClientCallOptions, ReconnectingClient } from "../_internal/rpc/client.ts";
import { RPC_CHECKS, withDefaults } from "../_internal/rpc/options.ts";
import type { Peer } from "../_internal/rpc/peer.ts";

export type { ClientCallOptions } from "../_internal/rpc/client.ts";

/**
 * Options of {@linkcode rpcClient}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode RpcOptions.methods | methods}: The methods that the peer may call: an object of
 *   functions.
 * - {@linkcode RpcOptions.codec | codec}: The codec of the messages: `json(contentLength())` for
 *   language servers, or a codec of objects in another format.
 * - {@linkcode RpcOptions.maxConcurrent | maxConcurrent}: The maximum number of methods that run at
 *   the same time.
 * - {@linkcode RpcOptions.maxQueued | maxQueued}: The maximum number of requests that wait to run.
 * - {@linkcode RpcOptions.maxBatch | maxBatch}: The maximum number of requests in a batch.
 * - {@linkcode RpcOptions.maxCalls | maxCalls}: The maximum number of calls of this side that wait
 *   for an answer.
 * - {@linkcode RpcOptions.timeout | timeout}: How long, in milliseconds, a call waits for its
 *   answer, unless it has its own `timeout`.
 * - {@linkcode RpcOptions.cancelMethod | cancelMethod}: The notification about a call that was
 *   given up, in both directions.
 * - {@linkcode RpcOptions.onError | onError}: Called with each failure that no call rejects with.
 *
 * @category Calls
 */
export interface RpcClientOptions<Remote = AnyMethods> extends Omit<RpcOptions, "draining"> {
  /** The path of the socket, or an abstract name. */
  path: SocketPath;
  /**
   * The user, or a list of users, that must own the socket file, as for `connect()`.
   *
   * @default {any user}
   */
  owner?: number | number[] | undefined;
  /**
   * How long, in milliseconds, a call waits for a server that answers. Then it rejects with
   * `ConnectTimeout`.
   *
   * @default {5000}
   */
  connectTimeout?: number | undefined;
  /**
   * The methods that the server may run twice: see {@linkcode ClientCallOptions.idempotent}.
   *
   * @default {none}
   */
  idempotent?: MethodName<Remote>[] | undefined;
  /**
   * Called with each new connection before other calls are sent on it, to log in or to subscribe.
   * Calls wait for its promise. If it throws, the connection closes, and these calls reject with
   * the same error. If the connection ends meanwhile, or the server drains, the next connection is
   * tried instead.
   */
  onConnect?: ((peer: RpcPeer<Remote>) => void | Promise<void>) | undefined;
}

/**
 * A client that connects when it is needed, which {@linkcode rpcClient} returns.
 *
 * @category Calls
 */
export interface RpcClient<Remote = AnyMethods> extends Disposable, AsyncDisposable {
  /**
   * Calls a method of the server.
   *
   * - **Not sent yet**: the call waits for a connection. It is sent once, in the order of the
   *   calls.
   * - **In flight**: if the connection ends before the answer, it rejects with `CallInterrupted`,
   *   which has the `method`. The server may have run it. An idempotent call is sent again instead.
   * - **Refused** by a server that shuts down: the method has not run, so the call goes to the next
   *   server.
   * - A rejection for another reason is final: the server's error, `timeout`, `signal`, or a
   *   failure that waiting does not mend, such as a missing permission.
   *
   * @param method The method.
   * @param args Its parameters, and options.
   * @returns Its result.
   * @throws {RpcError} when the server answers with an error.
   * @throws {CallInterrupted} when the connection ends before the answer; `sent` is true.
   * @throws {ConnectTimeout} when `connectTimeout` or `timeout` is over before the call was sent.
   * The last refusal is the `cause`.
   * @throws {Deno.errors.TimedOut} when `timeout` is over before the answer.
   * @throws {ConnectDenied} when the file system does not allow to connect, for 250 ms.
   * @throws {InsecurePath} when no user in `owner` owns the file.
   * @throws {ConnectionClosed} when `close()` was called before the call was sent.
   * @throws {Deno.errors.Busy} when `maxCalls` calls wait.
   * @throws {TypeError} when an argument is of the wrong kind.
   * @throws {unknown} the reason of `signal` when it aborts.
   * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
   */
  call<M extends MethodName<Remote>>(
    method: M,
    ...args: [...MethodParams<Remote[M]>, options?: ClientCallOptions]
  ): Promise<MethodResult<Remote[M]>>;
  /**
   * Sends a notification, as soon as there is a connection. No answer comes: it is lost if the
   * connection ends before the server has read it.
   *
   * @param method The method.
   * @param args Its parameters.
   * @throws {ConnectTimeout} when it cannot connect within `connectTimeout`.
   * @throws {Deno.errors.BrokenPipe} when the connection ends before it was sent.
   */
  notify<M extends MethodName<Remote>>(method: M, ...args: MethodParams<Remote[M]>): Promise<void>;
  /**
   * Closes the connection. Calls in flight reject with `CallInterrupted`, and those that wait and
   * further ones with `ConnectionClosed`. Idempotent; so is disposal.
   *
   * `await using` first waits until the kernel has what was sent, for 5 seconds at most.
   */
  close(): void;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 5000;

const { draining: _, ...RPC_CLIENT_CHECKS } = RPC_CHECKS;

const CHECKS: Checks<RpcClientOptions> = {
  ...RPC_CLIENT_CHECKS,
  path: unchecked,
  owner: checkUsers,
  connectTimeout: duration(1),
  idempotent: checkNames,
  onConnect: checkFunction,
};

function checkNames(name: string, value: unknown): void {
  if (Array.isArray(value) && value.every((method) => typeof method === "string")) return;
  throw new TypeError(`Invalid ${name}: expected an array of names of methods, got ${show(value)}`);
}

/**
 * Makes a client of a server: it connects at the first call, and again after the server has gone.
 *
 * - **Connecting**: the first call connects. While the server is not there, it is tried again after
 *   pauses that grow from 2 to 100 ms, as long as a call waits.
 * - **After the connection has ended**, the next call connects anew. If no call was answered on the
 *   last connection, it pauses first. These pauses grow from 2 ms to a second.
 * - **A restart** fails no call if the server answers or refuses every call that it got, as `rpc()`
 *   with `draining` does. A call in flight at the end of a connection rejects with
 *   {@linkcode CallInterrupted}, because its method may have run. An idempotent one is sent again.
 * - **Each call settles exactly once.** A call that is not idempotent runs at most once.
 * - **Its own methods**, which the server may call, run on each connection.
 * - An open connection keeps the process running. Close the client when you are done.
 *
 * **Permissions**: what `permissions("connect", path)` returns. They are checked when it connects.
 *
 * @param options The path, or the path with options.
 * @returns The client. It has not connected yet.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long or a number is out of range.
 *
 * @example A client that outlives its server
 * ```ts
 * import { serve } from "@uds/uds";
 * import { rpc, rpcClient } from "@uds/uds/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * interface Api {
 *   add(numbers: [number, number]): number;
 * }
 *
 * const path = `${await Deno.makeTempDir()}/sum.sock`;
 * const start = () =>
 *   serve(path, (conn, { draining }) =>
 *     rpc(conn, { methods: { add: ([a, b]: [number, number]) => a + b }, draining }).closed);
 *
 * await using client = rpcClient<Api>({ path, idempotent: ["add"] });
 * for (let i = 0; i < 2; i++) {
 *   await using _server = await start();
 *   assertEquals(await client.call("add", [i, 1]), i + 1);
 * }
 * ```
 *
 * @category Calls
 */
export function rpcClient<Remote = AnyMethods>(
  options: SocketPath | RpcClientOptions<Remote>,
): RpcClient<Remote> {
  return checked(rpcClient, () => {
    checkArguments("rpcClient", arguments, 1, "rpcClient({ path, idempotent })");
    const given: RpcClientOptions<Remote> = withPath(options);
    checkOptions("rpcClient", given, CHECKS as Checks<RpcClientOptions<Remote>>);
    const {
      path,
      owner,
      connectTimeout = DEFAULT_CONNECT_TIMEOUT_MS,
      idempotent = [],
      onConnect,
      ...others
    } = given;
    const context = new ErrorContext("connect", resolveSocketPath(path));
    const { timeout, maxCalls } = withDefaults(others);
    const client = new ReconnectingClient({
      context,
      async open(timeout, signal) {
        const conn = await connect({ path: context.path, wait: true, timeout, signal, ...owners });
        return rpc(conn, others) as unknown as Peer;
      },
      onConnect: onConnect as ((peer: unknown) => unknown) | undefined,
      idempotent: new Set<string>(idempotent),
      connectTimeout,
      timeout,
      maxCalls,
    });
    const owners = owner === undefined ? {} : { owner };
    return client as unknown as RpcClient<Remote>;
  });
}
