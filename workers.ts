/**
 * Several processes that serve one path. This module is experimental.
 *
 * @experimental
 * @module
 */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import { claim, type ClaimOptions } from "./claim.ts";
import type { PairOptions } from "./pair.ts";
import type { ServeOptions } from "./server.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkCount,
  checkFunction,
  checkOptions,
  type Checks,
  checkSignal,
  duration,
  integer,
  show,
  showPath,
  unchecked,
} from "./_internal/base/check.ts";
import { pairPermissions } from "./_internal/base/deno_permissions.ts";
import { contextAt, ErrorContext } from "./_internal/base/error_context.ts";
import { pathOfUrl } from "./_internal/base/path.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { quoteAddress } from "./_internal/base/shown_address.ts";
import { checkPairOptions } from "./_internal/child/pair_options.ts";
import { OWN_CHECKS } from "./_internal/path/claim_options.ts";
import { requireDeno, startModule } from "./_internal/sandbox/module.ts";
import { Reporter } from "./_internal/server/reporter.ts";
import { Owner, type OwnerOptions, type WorkerServer } from "./_internal/workers/owner.ts";
import { IMPORTED, PROGRAM } from "./_internal/workers/program.ts";

export type {
  WorkerServer,
  WorkersStatistics,
  WorkerStatistics,
} from "./_internal/workers/owner.ts";

/**
 * Options of {@linkcode serveWorkers}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode ClaimOptions.mode | mode}: The permission bits of the socket file, at most `0o777`,
 *   with the owner's write bit.
 * - {@linkcode ClaimOptions.uid | uid}: The user that owns the socket file.
 * - {@linkcode ClaimOptions.gid | gid}: The group of the socket file.
 * - {@linkcode ClaimOptions.existing | existing}: What to do about a socket file that exists
 *   already.
 * - {@linkcode ClaimOptions.onReplaced | onReplaced}: Called once, when a successor with `existing:
 *   "replace"` has taken over the path.
 * - {@linkcode ClaimOptions.createDirectory | createDirectory}: Whether to create the directory of
 *   the socket, and missing ones above it, with mode 0700.
 * - {@linkcode ClaimOptions.verifyDirectory | verifyDirectory}: Whether to reject with
 *   `InsecurePath` unless the directory of the socket is safe: no other user can put another file
 *   in the place of the socket.
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
 * - {@linkcode ServeOptions.idleTimeout | idleTimeout}: How long, in milliseconds, a read may wait
 *   for data before it rejects with `Deno.errors.TimedOut` and the connection closes.
 * - {@linkcode ServeOptions.firstByteTimeout | firstByteTimeout}: How long, in milliseconds, a read
 *   may wait for the first byte of a connection.
 * - {@linkcode ServeOptions.writeTimeout | writeTimeout}: How long, in milliseconds, a write may
 *   wait while the client reads nothing.
 *
 * @category Servers
 */
export interface ServeWorkersOptions extends
  Omit<ClaimOptions, "publish">,
  Pick<
    PairOptions,
    "args" | "clearEnv" | "config" | "cwd" | "env" | "grace" | "modules" | "permissions"
  >,
  Pick<ServeOptions, "firstByteTimeout" | "idleTimeout" | "writeTimeout"> {
  /**
   * The path of the socket. It may have four bytes fewer than usual: see `publish` of `listen()`.
   */
  path: SocketPath;
  /** A descriptor instead of a path: see {@linkcode ServeWorkersFdOptions}. */
  fd?: undefined;
  /**
   * The number of workers.
   *
   * @default {the number of processors}
   */
  count?: number | undefined;
  /**
   * The maximum number of connections that one worker serves at the same time. Further ones wait in
   * the backlog, for any worker.
   *
   * @default {Infinity}
   */
  maxConnections?: number | undefined;
  /**
   * The longest pause, in milliseconds, before a worker that has ended is replaced. The first one
   * is at most 10.
   *
   * @default {1000}
   */
  maxRestartPause?: number | undefined;
  /**
   * How long, in milliseconds, a worker may take to load its module, with what the module awaits
   * when it is imported. A worker that takes longer is killed, and its start fails with `TimedOut`.
   *
   * @default {30_000}
   */
  startTimeout?: number | undefined;
  /**
   * Called with each failure: a worker has ended, or another one could not start in its place.
   * Failures of handlers are printed by their worker.
   *
   * @default {prints a line on standard error: at most one a second of each kind}
   */
  onError?: ((error: unknown) => void) | undefined;
  /** Shuts down. Before the workers serve, the promise rejects. */
  signal?: AbortSignal | undefined;
}

/**
 * Options of {@linkcode serveWorkers} at a descriptor that another process opened.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode ServeWorkersOptions.count | count}: The number of workers.
 * - {@linkcode ServeWorkersOptions.maxConnections | maxConnections}: The maximum number of
 *   connections that one worker serves at the same time.
 * - {@linkcode ServeWorkersOptions.maxRestartPause | maxRestartPause}: The longest pause, in
 *   milliseconds, before a worker that has ended is replaced.
 * - {@linkcode ServeWorkersOptions.startTimeout | startTimeout}: How long, in milliseconds, a
 *   worker may take to load its module, with what the module awaits when it is imported.
 * - {@linkcode ServeWorkersOptions.onError | onError}: Called with each failure: a worker has
 *   ended, or another one could not start in its place.
 * - {@linkcode ServeWorkersOptions.signal | signal}: Shuts down.
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
 * - {@linkcode ServeOptions.idleTimeout | idleTimeout}: How long, in milliseconds, a read may wait
 *   for data before it rejects with `Deno.errors.TimedOut` and the connection closes.
 * - {@linkcode ServeOptions.firstByteTimeout | firstByteTimeout}: How long, in milliseconds, a read
 *   may wait for the first byte of a connection.
 * - {@linkcode ServeOptions.writeTimeout | writeTimeout}: How long, in milliseconds, a write may
 *   wait while the client reads nothing.
 *
 * @category Servers
 */
export interface ServeWorkersFdOptions
  extends Omit<ServeWorkersOptions, keyof ClaimOptions | "path" | "fd"> {
  /**
   * The number of a descriptor from 3 on, for example of `listenFds()`: a Unix stream socket that
   * is listening, or bound. Children must inherit it, so it must not be close-on-exec.
   *
   * - It is closed in this process at the end, also if a worker does not start. A descriptor that
   *   is refused stays open.
   * - It has a path already, or none. Nothing is locked, created or removed, and `addr` has no
   *   path. Every option about a file is refused.
   * - A shutdown serves the clients that have connected, for half a second at most. Later ones wait
   *   for the next process that accepts there.
   */
  fd: number;
  /** A path instead of a descriptor: see {@linkcode ServeWorkersOptions}. */
  path?: undefined;
}

const CHECKS: Checks<ServeWorkersOptions> = {
  ...OWN_CHECKS,
  path: unchecked,
  // The workers have other standard streams.
  fd: integer(3, 0x7fff_ffff),
  count: integer(1, 1024),
  maxConnections: checkCount,
  idleTimeout: duration(1),
  firstByteTimeout: duration(1),
  writeTimeout: duration(1),
  maxRestartPause: duration(),
  startTimeout: duration(1),
  onError: checkFunction,
  signal: checkSignal,
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

/**
 * Serves a path by several processes, to use several processors. Each runs the module, in the
 * sandbox of `pair()`, and accepts clients itself. The module exports a handler of connections, as
 * `serve()` has it, or one of HTTP requests, as `deno serve` has it:
 *
 * ```ts ignore
 * import type { Connection, ServeHandlerInfo } from "@uds/uds";
 *
 * export async function connection(conn: Connection, info: ServeHandlerInfo) {
 *   await conn.readable.pipeTo(conn.writable);
 * }
 * ```
 *
 * ```ts ignore
 * export default {
 *   fetch(request) {
 *     return new Response(`hello ${new URL(request.url).pathname}`);
 *   },
 * } satisfies Deno.ServeDefaultExport;
 * ```
 *
 * - **`fetch`** is called with a `Request` and the information that `Deno.serve` passes, with
 *   `draining` and `signal` added. The signal of the request aborts if the client leaves. Bodies
 *   are streams, and connections are kept. A worker that drains ends a connection with its next
 *   answer, or after a second without a request.
 * - **This process** owns the path as `claim()` does, with `publish: "rename"`. It handles no
 *   client. If it dies, the workers stop accepting at once, and end within five seconds.
 * - **A client** goes to a worker that is free to accept it. There is no turn: a worker that
 *   computes accepts nothing meanwhile.
 * - **A worker that ends** costs its own connections. Clients in the backlog go to the others.
 *   Another worker starts, after pauses that grow from 10 ms to `maxRestartPause` while workers end
 *   one after the other.
 * - **At a descriptor** (`fd`), for example of a service manager, this process owns nothing. See
 *   {@linkcode ServeWorkersFdOptions}.
 * - **A successor** with `existing: "replace"` takes over the path. Clients that connect before its
 *   workers have started wait in the backlog.
 * - **The sandbox** is that of `pair()`, and the listening socket. A worker can also read the files
 *   of this package, if those are local.
 *
 * **Permissions**: `permissions("claim", path, { publish: "rename" })`, unless `fd` is passed, and
 * `permissions("pair", module)`.
 *
 * @param options The path or the descriptor, how many workers, and what they may do.
 * @param module The `file:` URL of the module.
 * @returns The workers, when all of them accept.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when a running process holds the path.
 * @throws {Deno.errors.InvalidData} when the module cannot be loaded, throws, or does not export
 * exactly one of `connection` and `fetch`.
 * @throws {Deno.errors.TimedOut} when the module has not loaded within `startTimeout`.
 * @throws {NotASocket} when `fd` is not a Unix stream socket that can listen.
 * @throws {Deno.errors.NotSupported} on Windows, and in a compiled program.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 * @throws {unknown} the reason of `signal` when it aborts before the workers accept.
 *
 * @example Usage
 * ```ts
 * import { connect } from "@uds/uds";
 * import { serveWorkers } from "@uds/uds/workers";
 * import { assertEquals } from "@std/assert";
 *
 * // In your program it is a file: new URL("./echo.ts", import.meta.url).
 * const directory = await Deno.makeTempDir();
 * const module = new URL(`file://${directory}/echo.ts`);
 * await Deno.writeTextFile(
 *   module,
 *   `export const connection = (conn) => conn.readable.pipeTo(conn.writable);`,
 * );
 *
 * {
 *   await using server = await serveWorkers({ path: `${directory}/echo.sock`, count: 2 }, module);
 *   await using conn = await connect(`${directory}/echo.sock`);
 *   await conn.writeText("hello");
 *   await conn.closeWrite();
 *   assertEquals(await new Response(conn.readable).text(), "hello");
 *   await server.reload();
 * }
 * await Deno.remove(directory, { recursive: true });
 * ```
 *
 * @category Servers
 */
export async function serveWorkers(
  options: ServeWorkersOptions | ServeWorkersFdOptions,
  module: URL,
): Promise<WorkerServer> {
  try {
    checkArguments("serveWorkers", arguments, 2, "serveWorkers({ path, count }, module)");
    return await openWorkers(options, module);
  } catch (error) {
    throw seenFrom(serveWorkers, error);
  }
}

async function openWorkers(
  options: ServeWorkersOptions | ServeWorkersFdOptions,
  module: URL,
): Promise<WorkerServer> {
  checkOptions("serveWorkers", options, CHECKS);
  const { args, clearEnv, config, cwd, env, grace, modules, permissions, ...rest } = options;
  const pairOptions = { args, clearEnv, config, cwd, env, grace, modules, permissions };
  checkModule(module);
  checkPairOptions(module, pairOptions);
  requireRuntime();
  if (options.fd !== undefined) checkGiven(options);
  const path = rest.fd === undefined ? resolveSocketPath(rest.path) : null;
  const url = new URL(module);
  const startContext = new ErrorContext("pair", null, `Cannot start ${showPath(url)}`);
  requireDeno(startContext);
  startContext.require(pairPermissions(url, clearEnv));
  const { signal, onError, ...others } = rest;
  signal?.throwIfAborted();
  const place = path === null ? `descriptor ${rest.fd}` : quoteAddress(path);
  const reporter = new Reporter({ onError });
  const { count = navigator.hardwareConcurrency, maxRestartPause = 1000 } = others;
  const { startTimeout = 30_000 } = others;
  const { maxConnections, idleTimeout, firstByteTimeout, writeTimeout } = others;
  const all = { maxConnections, idleTimeout, firstByteTimeout, writeTimeout };
  // JSON has no Infinity, which is the default of each.
  const limits = Object.fromEntries(Object.entries(all).filter(([, limit]) => limit !== Infinity));
  const start = {
    ...pairOptions,
    cwd: cwd instanceof URL ? pathOfUrl(cwd) : cwd,
    // Ctrl-C in a terminal reaches the owner alone, which drains them.
    detached: true,
  };
  const files = PROGRAM.protocol === "file:"
    ? IMPORTED.map((name) => pathOfUrl(new URL(`../../${name}`, PROGRAM)))
    : [];
  const owning: OwnerOptions = {
    start(fd, signal) {
      return startModule(startContext, url, { ...start, signal }, { program: PROGRAM, files, fd });
    },
    count,
    limits,
    maxRestartPause,
    startTimeout,
    startContext,
    reloadContext: new ErrorContext("reload", path, `Cannot reload the workers of ${place}`),
    context: new ErrorContext("serveWorkers", path, `Cannot keep a worker of ${place}`),
    report: reporter.report,
  };
  if (rest.fd !== undefined) {
    return await Owner.openGiven(contextAt(rest.fd)("serve"), rest.fd, owning, signal);
  }
  const { mode, uid, gid, existing, createDirectory, verifyDirectory, onReplaced } = rest;
  const owned = { mode, uid, gid, existing, createDirectory, verifyDirectory, onReplaced };
  return await Owner.open(await claim(path!, { ...owned, publish: "rename" }), owning, signal);
}

/** Throws if an option is about a file, which the socket of a descriptor has already. */
function checkGiven(options: ServeWorkersFdOptions): void {
  const ofFile = Object.entries(options).find(([name, value]) =>
    value !== undefined && (name === "path" || Object.hasOwn(OWN_CHECKS, name))
  );
  if (ofFile === undefined) return;
  throw new TypeError(`Invalid ${ofFile[0]}: the socket of fd has its path and its file already`);
}

function checkModule(module: unknown): void {
  if (module instanceof URL && module.protocol === "file:") return;
  throw new TypeError(
    `Invalid module: expected a file: URL, such as new URL("./worker.ts", import.meta.url), got ` +
      show(module instanceof URL ? module.href : module),
  );
}
