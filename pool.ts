/**
 * A pool of child processes that run methods on several cores.
 *
 * @module
 */

import { pair, type PairOptions } from "./pair.ts";
import type { AnyMethods, MethodName, MethodParams, MethodResult, RpcOptions } from "./rpc/rpc.ts";
import { checked } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkCount,
  checkOptions,
  type Checks,
  duration,
  integer,
  oneOf,
  show,
  unchecked,
} from "./_internal/base/check.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { checkPairOptions } from "./_internal/child/pair_options.ts";
import { ProcessPool } from "./_internal/pool/process_pool.ts";
import { RPC_CHECKS, withDefaults } from "./_internal/rpc/options.ts";
import { Peer } from "./_internal/rpc/peer.ts";
import type { PoolCallOptions } from "./_internal/pool/task.ts";
import { PROGRESS_METHOD } from "./_internal/pool/worker.ts";

export { CallInterrupted, RpcError } from "./errors.ts";
export type { PoolCallOptions } from "./_internal/pool/task.ts";

/**
 * Options of {@linkcode pool}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode PairOptions.args | args}: The arguments of the program; those of a module are its
 *   `Deno.args`.
 * - {@linkcode PairOptions.cwd | cwd}: The directory to start in.
 * - {@linkcode PairOptions.env | env}: Environment variables, in addition to the inherited ones.
 * - {@linkcode PairOptions.clearEnv | clearEnv}: Whether the child gets only the variables of
 *   `env`.
 * - {@linkcode PairOptions.permissions | permissions}: For a module: what it may do besides reading
 *   its own directories, as for a worker.
 * - {@linkcode PairOptions.modules | modules}: For a module: the directories that it may import
 *   from, and therefore read.
 * - {@linkcode PairOptions.config | config}: For a module: the `file:` URL of a `deno.json` with
 *   its import map and settings.
 * - {@linkcode PairOptions.grace | grace}: How long, in milliseconds, disposal waits for the child
 *   to exit before it sends SIGTERM, and again before it sends SIGKILL.
 * - {@linkcode RpcOptions.methods | methods}: The methods that the peer may call: an object of
 *   functions.
 * - {@linkcode RpcOptions.codec | codec}: The codec of the messages: `json(contentLength())` for
 *   language servers, or a codec of objects in another format.
 * - {@linkcode RpcOptions.onError | onError}: Called with each failure that no call rejects with.
 *
 * @category Children
 */
export interface PoolOptions<Remote = AnyMethods> extends
  Pick<
    PairOptions,
    "args" | "clearEnv" | "config" | "cwd" | "env" | "grace" | "modules" | "permissions"
  >,
  Pick<RpcOptions, "codec" | "methods" | "onError"> {
  /**
   * The maximum number of children.
   *
   * @default {the number of processors}
   */
  size?: number | undefined;
  /**
   * The maximum number of calls that a child runs at the same time. More than one helps methods
   * that wait, not those that compute.
   *
   * @default {1}
   */
  maxConcurrent?: number | undefined;
  /**
   * The maximum number of calls that wait while all children are busy. Further ones reject with
   * `Busy`: await {@linkcode Pool.ready} before each call.
   *
   * @default {65536}
   */
  maxQueued?: number | undefined;
  /**
   * How long, in milliseconds, a call may take: to wait for a child, and to run.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
  /**
   * The methods that may run twice: see {@linkcode PoolCallOptions.idempotent}.
   *
   * @default {none}
   */
  idempotent?: MethodName<Remote>[] | undefined;
  /**
   * How long, in milliseconds, a child may go on with a call that was canceled. Then it gets
   * SIGKILL: a method that computes without a pause does not see its `signal`.
   *
   * @default {1000}
   */
  cancelGrace?: number | undefined;
  /**
   * The longest pause, in milliseconds, before a child that has ended is replaced. The first one is
   * at most 10.
   *
   * @default {1000}
   */
  maxRestartPause?: number | undefined;
  /**
   * Standard output of the children. By default it is copied to this process's own.
   *
   * @default {a copy}
   */
  stdout?: "inherit" | "null" | undefined;
  /**
   * Standard error of the children. By default it is copied to this process's own.
   *
   * @default {a copy}
   */
  stderr?: "inherit" | "null" | undefined;
}

/**
 * Child processes that run methods, which {@linkcode pool} returns.
 *
 * @category Children
 */
export interface Pool<Remote = AnyMethods> extends Disposable, AsyncDisposable {
  /**
   * Runs a method in the child that has the fewest calls.
   *
   * - While all children are busy, calls wait, and run in their order.
   * - **A child that ends** before the answer: the call rejects with `CallInterrupted`, which has
   *   the `status` of the child. An idempotent call, and one that was not sent, runs again instead.
   * - **A module that cannot start**: the call rejects with the reason if no other child runs.
   * - **Cancellation** frees the place of a call that waits. One that runs keeps its child busy
   *   until the method ends, or the child is killed. Other calls of that child are interrupted.
   *
   * @param method The method.
   * @param args The parameters, an object or an array, and then options.
   * @returns Its result.
   * @throws {RpcError} when the method has failed.
   * @throws {CallInterrupted} when the child has ended, or `close()` was called.
   * @throws {Deno.errors.TimedOut} when `timeout` is over.
   * @throws {Deno.errors.InvalidData} when the module cannot be loaded.
   * @throws {Deno.errors.Busy} when `maxQueued` calls wait.
   * @throws {ConnectionClosed} when the pool was closed before the call ran.
   * @throws {MessageTooLarge} when the parameters are larger than the codec allows.
   * @throws {TypeError} when an argument is of the wrong kind.
   * @throws {unknown} the reason of `signal` when it aborts.
   * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
   */
  call<Name extends MethodName<Remote>>(
    method: Name,
    ...args: [...MethodParams<Remote[Name]>, options?: PoolCallOptions]
  ): Promise<MethodResult<Remote[Name]>>;
  /** Resolves when no call waits for a child. The next one then runs at once, or waits alone. */
  readonly ready: Promise<void>;
  /** The maximum number of children. */
  readonly size: number;
  /** The number of calls that children run, with those that were canceled and go on. */
  readonly running: number;
  /** The number of calls that wait for a child. */
  readonly waiting: number;
  /** The process ids of the children. */
  readonly pids: number[];
  /**
   * Kills all children. Calls that run reject with `CallInterrupted`, those that wait and further
   * ones with `ConnectionClosed`. Idempotent; so is disposal.
   *
   * `await using` waits for the calls that run, and then for the end of the children. The calls
   * that wait are rejected at once.
   */
  close(): void;
}

const checkOutput = oneOf("inherit", "null");

const CHECKS: Checks<PoolOptions> = {
  size: integer(1, Number.MAX_SAFE_INTEGER),
  maxConcurrent: checkCount,
  maxQueued: integer(0, Number.MAX_SAFE_INTEGER),
  timeout: duration(1),
  idempotent: checkNames,
  cancelGrace: duration(),
  maxRestartPause: duration(),
  codec: RPC_CHECKS.codec,
  methods: RPC_CHECKS.methods,
  onError: RPC_CHECKS.onError,
  stdout: checkOutput,
  stderr: checkOutput,
  // These are checked as options of pair().
  args: unchecked,
  clearEnv: unchecked,
  config: unchecked,
  cwd: unchecked,
  env: unchecked,
  grace: unchecked,
  modules: unchecked,
  permissions: unchecked,
};

function checkNames(name: string, value: unknown): void {
  if (Array.isArray(value) && value.every((method) => typeof method === "string")) return;
  throw new TypeError(`Invalid ${name}: expected an array of names of methods, got ${show(value)}`);
}

function checkModule(module: unknown): void {
  if (module instanceof URL && module.protocol === "file:") return;
  throw new TypeError(
    `Invalid module: expected a file: URL, such as new URL("./task.ts", import.meta.url), got ` +
      show(module instanceof URL ? module.href : module),
  );
}

/**
 * Makes a pool of child processes that run the methods of a module, each in the sandbox of
 * {@linkcode pair}. The module serves the calls of its parent:
 *
 * ```ts ignore
 * import { inherited } from "@uds/uds/child";
 * import { rpc } from "@uds/uds/rpc";
 *
 * const methods = {
 *   square: ({ n }: { n: number }) => n * n,
 * };
 * export type Tasks = typeof methods;
 * rpc(inherited(), { methods });
 * ```
 *
 * - **Children start when they are needed**: when a call comes and all are busy, up to `size`. They
 *   stay until the pool is closed, and keep this process running: dispose of the pool.
 * - **Order**: the child with the fewest calls gets the next one, at most `maxConcurrent` at a
 *   time. Further calls wait in their order, up to `maxQueued`. Await `ready` before each call to
 *   follow the pace of the children.
 * - **A child that ends is replaced** when a call needs one, after pauses that grow from 10 ms to
 *   `maxRestartPause` while children end one after the other. Its calls reject, or run again if
 *   they are idempotent.
 * - **A call that is canceled**, by its `signal` or its `timeout`, aborts the `signal` of the
 *   method. A child that does not heed it within `cancelGrace` is killed.
 * - **Progress**: what a method sends by `context.notify("progress", …)` goes to `onProgress` of
 *   its call. For everything else children may call the `methods` of the pool. If `methods`
 *   has a `progress`, it is called for all progress, and `onProgress` is refused.
 * - **Parameters and results** are JSON, of at most 16 MiB. Another `codec` must be the same in
 *   both processes.
 * - **If this process dies**, the children read the end of file and exit, unless they compute.
 *
 * **Permissions**: those of {@linkcode pair} for a module. They are checked when a child starts.
 *
 * @template Remote The methods of the module: an interface of functions.
 * @param module The `file:` URL of the module.
 * @param options How many children, what they may do, and limits of calls.
 * @returns The pool. No child has started yet.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when a number is out of range.
 * @throws {Deno.errors.NotSupported} on Windows.
 *
 * @example Usage
 * ```ts
 * import { pool } from "@uds/uds/pool";
 * import { assertEquals } from "@std/assert";
 *
 * // In your program it is a file: new URL("./task.ts", import.meta.url), without options.
 * const directory = await Deno.makeTempDir();
 * const module = new URL(`file://${directory}/task.ts`);
 * await Deno.writeTextFile(
 *   module,
 *   `import { inherited } from "@uds/uds/child";
 *    import { rpc } from "@uds/uds/rpc";
 *    rpc(inherited(), { methods: { square: ({ n }) => n * n } });`,
 * );
 * const clone = new URL(".", import.meta.resolve("@uds/uds"));
 * const options = { modules: [directory, clone], config: new URL("deno.json", clone) };
 *
 * interface Tasks {
 *   square(params: { n: number }): number;
 * }
 * {
 *   await using squares = pool<Tasks>(module, { size: 2, ...options });
 *   const calls = [1, 2, 3, 4].map((n) => squares.call("square", { n }));
 *   assertEquals(await Promise.all(calls), [1, 4, 9, 16]);
 * }
 * await Deno.remove(directory, { recursive: true });
 * ```
 *
 * @category Children
 */
export function pool<Remote = AnyMethods>(
  module: URL,
  options: PoolOptions<Remote> = {},
): Pool<Remote> {
  return checked(pool, () => {
    checkArguments("pool", arguments, 2, "pool(module, { size })");
    checkModule(module);
    checkOptions("pool", options, CHECKS as Checks<PoolOptions<Remote>>);
    const {
      size = navigator.hardwareConcurrency,
      maxConcurrent = 1,
      maxQueued = 65536,
      timeout = Infinity,
      idempotent = [],
      cancelGrace = 1000,
      maxRestartPause = 1000,
      codec,
      methods = {},
      onError,
      ...pairOptions
    } = options;
    checkPairOptions(module, pairOptions);
    requireRuntime();
    const url = new URL(module);
    return new ProcessPool({
      start: (signal) => pair(url, { ...pairOptions, signal }),
      connect({ conn }, onProgress) {
        return new Peer(conn, {
          ...withDefaults({ codec, methods, onError, maxCalls: maxConcurrent }),
          builtIns: new Map([[PROGRESS_METHOD, onProgress]]),
        });
      },
      methods,
      size,
      maxConcurrent,
      maxQueued,
      timeout,
      idempotent: new Set<string>(idempotent),
      cancelGrace,
      maxRestartPause,
    }) as unknown as Pool<Remote>;
  });
}
