/** A listener on a path: `listen()` accepts connections one by one. */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import type { ClaimOptions } from "./claim.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkBoolean,
  checkOptions,
  type Checks,
  checkSignal,
  integer,
  unchecked,
  withPath,
} from "./_internal/base/check.ts";
import { contextAt, ErrorContext } from "./_internal/base/error_context.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { lowLatencyFor, nativeNeeds } from "./_internal/connection/native_slot.ts";
import { FILE_CHECKS, planToListen } from "./_internal/path/claim_options.ts";
import { Listener, type UnixListener } from "./_internal/server/listener.ts";
import { ListeningSocket } from "./_internal/server/listening_socket.ts";
import { Reporter } from "./_internal/server/reporter.ts";
import type { PathLoss } from "./_internal/path/watch.ts";

export type { PathLoss } from "./_internal/path/watch.ts";
export type { UnixListener } from "./_internal/server/listener.ts";

/**
 * Options of {@linkcode listen}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode ClaimOptions.mode | mode}: The permission bits of the socket file, at most `0o777`,
 *   with the owner's write bit.
 * - {@linkcode ClaimOptions.uid | uid}: The user that owns the socket file.
 * - {@linkcode ClaimOptions.gid | gid}: The group of the socket file.
 * - {@linkcode ClaimOptions.createDirectory | createDirectory}: Whether to create the directory of
 *   the socket, and missing ones above it, with mode 0700.
 * - {@linkcode ClaimOptions.verifyDirectory | verifyDirectory}: Whether to reject with
 *   `InsecurePath` unless the directory of the socket is safe: no other user can put another file
 *   in the place of the socket.
 *
 * @category Servers
 */
export interface ListenOptions extends Omit<ClaimOptions, "existing"> {
  /**
   * The path of the socket, or an abstract name. With an abstract name, every other option of
   * these except `signal` is refused.
   */
  path: SocketPath;
  /** A descriptor instead of a path: see {@linkcode ListenFdOptions}. */
  fd?: undefined;
  /**
   * How the socket file gets its name.
   *
   * - `"direct"` binds the path itself.
   * - `"rename"` binds `<path>.new`, secures it, and renames it over the path. A client never meets
   *   a socket that is not ready, and a successor can replace the server without a gap.
   *
   * With `"rename"`, a server that is killed while it starts may leave `<path>.new` and
   * `<path>.lock.new`; the next such start removes them. It needs permissions for both names, and
   * the path may have four bytes fewer.
   *
   * @default {"direct"}
   */
  publish?: "direct" | "rename" | undefined;
  /**
   * What to do if a socket file exists.
   *
   * - `"reclaim"` removes it if it is stale: no process holds its lock, and it refuses two
   *   connections, 100 ms apart.
   * - `"fail"` rejects with `SocketInUse`.
   * - `"replace"` takes over the path from a running server. That must be a server of this package
   *   and of the same user, and must have `publish: "rename"` too. Otherwise it is the same as
   *   `"reclaim"`.
   *
   * During a takeover no client is refused. The old server notices within 250 ms, serves the
   * clients that had reached it, and ends: see `onReplaced`. If the new server fails before it
   * listens, the old one goes on. Taking over a path (`"replace"`) is experimental.
   *
   * A file that is not a socket is never touched. Neither is the socket of a running server that
   * does not use the lock.
   *
   * @default {"reclaim"}
   */
  existing?: "reclaim" | "fail" | "replace" | undefined;
  /**
   * Whether to bind the path again after its socket file was removed. No connection is dropped, and
   * another file is never displaced. It needs `publish: "rename"`.
   *
   * Without it, the path is still bound again if a successor is killed during its takeover.
   *
   * @experimental
   * @default {false}
   */
  selfHeal?: boolean | undefined;
  /**
   * Called once, when a successor with `existing: "replace"` has taken over the path. You need not
   * do anything: a server shuts itself down. A listener returns the clients that had reached it,
   * and closes.
   *
   * - Emptying its backlog takes some seconds, longer if the process is busy. Then `draining`
   *   aborts, and handlers have 5 seconds to finish. For another deadline, call `shutdown({ timeout
   *   })` here.
   *
   * @experimental
   */
  onReplaced?: (() => void) | undefined;
  /**
   * Called when the path no longer leads to this server, because its socket file was removed or
   * replaced: once for each loss. Open connections go on. It takes up to a second, and up to six if
   * the directory was moved or another machine made the change.
   *
   * @default {prints a line on standard error}
   */
  onPathLost?: ((loss: PathLoss) => void) | undefined;
  /**
   * Whether descriptors can be sent and received over the accepted connections, by
   * `sendDescriptors()` and `receiveDescriptors()` of `@uds/uds/native`. The program must import
   * that module, and needs `--allow-ffi`.
   *
   * @default {false}
   */
  descriptors?: boolean | undefined;
  /**
   * Whether a read of an accepted connection looks for bytes for some microseconds before it waits:
   * see `lowLatency()` of `@uds/uds/native`, for when this pays. The program must import that
   * module, and needs `--allow-ffi`. If its descriptor cannot be found, the connection stays as it
   * is.
   *
   * @default {false}
   */
  lowLatency?: boolean | undefined;
  /**
   * The maximum number of clients that wait to be accepted. Further clients are refused with
   * `EAGAIN`, and `connect()` tries again. Another number than Deno's needs the import of
   * `@uds/uds/native`, and `--allow-ffi`. Linux allows at most `net.core.somaxconn`, 4,096 by
   * default, and uses that without an error if the number is larger.
   *
   * @default {1024}
   */
  backlog?: number | undefined;
  /** Closes the listener, or shuts down the server. Before it listens, the promise rejects. */
  signal?: AbortSignal | undefined;
}

/**
 * Options of {@linkcode listen} at a descriptor that another process opened.
 *
 * @category Servers
 */
export interface ListenFdOptions {
  /**
   * The number of a descriptor that this process was given, for example by `listenFds()`: a Unix
   * stream socket that is listening, or bound.
   *
   * - It has a path already, or none. Nothing is locked, created, watched or removed, and `addr`
   *   has no path. Every option about a file is refused.
   * - Closing closes the descriptor in this process. If another process has it too, clients go on
   *   connecting: they wait for the next process that accepts there.
   * - It works only in the main thread. Pass only a number that the parent has agreed on. A
   *   descriptor that is refused stays open.
   * - At most a few dozen clients are accepted before there is room for them. They wait in this
   *   process, all others in the backlog. `close()` of a listener resets them: nothing can put them
   *   back, and nothing accepts them any more. `serve()` serves them at its shutdown.
   */
  fd: number;
  /** A path instead of a descriptor: see {@linkcode ListenOptions}. */
  path?: undefined;
  /**
   * Whether descriptors can be sent and received over the accepted connections: see {@linkcode
   * ListenOptions.descriptors}.
   *
   * @default {false}
   */
  descriptors?: boolean | undefined;
  /**
   * Whether a read looks for bytes before it waits: see {@linkcode ListenOptions.lowLatency}.
   *
   * @default {false}
   */
  lowLatency?: boolean | undefined;
  /** Closes the listener, or shuts down the server. Before it listens, the promise rejects. */
  signal?: AbortSignal | undefined;
}

/**
 * Listens on a path that only this process owns.
 *
 * - When it resolves, the socket is ready and has its mode and its owner. By default only its owner
 *   can connect, from the first instant. Where the file must be created with a wider mode (see
 *   `permissions()` on the umask), clients that connect before its mode is set are dropped
 *   unserved.
 * - A stale socket file is replaced. A running server never is, whatever program it is (see
 *   `claim()`), unless both sides agree to it: see `existing`.
 * - The path is watched: see `onPathLost`, `selfHeal` and `onReplaced`. The watch does not keep the
 *   process running.
 * - The backlog is Deno's, 1,024 connections: see `backlog`. Further clients are refused with
 *   `EAGAIN`, and `connect()` retries.
 * - With `fd` it listens at a descriptor that another process opened, such as systemd: see
 *   {@linkcode ListenFdOptions}.
 *
 * **Permissions**: what `permissions("serve", path, options)` returns.
 * - Read and write for the path and for `<path>.lock`, and `--allow-net=unix:<path>`.
 * - With `publish: "rename"`, also read and write for `<path>.new` and `<path>.lock.new`, and
 *   `--allow-net=unix:<path>.new`.
 * - For an abstract name, `--allow-net`. For `fd`, none.
 *
 * On Windows it rejects with `NotSupported`.
 *
 * @param options The path, or the path or a descriptor with options.
 * @returns The listener.
 * @throws {TypeError} when an argument has the wrong type, or `bind()` of a claim in this process
 * is opening the path.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when a running process holds the path.
 * @throws {NotASocket} when the path leads to something else, or the descriptor is another one.
 * @throws {ConnectDenied} when this process may not connect to the socket that is there.
 * @throws {InsecurePath} when the lock file is another program's, or the directory is not safe to
 * use.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.PermissionDenied} when this process may not create a file in the directory,
 * or may not give it to the user or the group.
 * @throws {Deno.errors.Busy} when this process uses the descriptor already.
 * @throws {Error} with `code` `"EMFILE"` when this process has no descriptor left, and `"EROFS"`
 * when the file system is read-only.
 * @throws {Deno.errors.NotSupported} on Windows, before Deno 2.9.5, for `fd` in a worker, and under
 * a umask that takes permissions from the owner.
 * @throws {unknown} the reason of `signal` when it aborts before the server listens.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Usage
 * ```ts
 * import { connect, listen } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * await using listener = await listen({ path, mode: 0o660 });
 *
 * const client = await connect(path);
 * const server = await listener.accept();
 * await server.writeText("hello");
 * server.close();
 * assertEquals(await new Response(client.readable).text(), "hello");
 * client.close();
 * ```
 *
 * @category Servers
 */
export async function listen(
  options: SocketPath | ListenOptions | ListenFdOptions,
): Promise<UnixListener> {
  try {
    checkArguments("listen", arguments, 1, "listen({ path, mode })");
    return await openListener(options);
  } catch (error) {
    throw seenFrom(listen, error);
  }
}

/**
 * The checks of the options of {@linkcode listen}.
 *
 * @category Servers
 */
export const LISTEN_CHECKS: Checks<ListenOptions> = {
  path: unchecked,
  fd: integer(0, 0x7fff_ffff),
  ...FILE_CHECKS,
  descriptors: checkBoolean,
  lowLatency: checkBoolean,
  backlog: integer(0, 0x7fff_ffff),
  signal: checkSignal,
};

async function openListener(
  options: SocketPath | ListenOptions | ListenFdOptions,
): Promise<UnixListener> {
  const given = withPath(options);
  checkOptions("listen", given, LISTEN_CHECKS);
  return new Listener(await openSocket("listen", given, new Reporter(given)));
}

/**
 * Opens the socket of a call with checked options.
 *
 * @category Servers
 */
export async function openSocket(
  operation: "listen" | "serve",
  given: ListenOptions | ListenFdOptions,
  reporter: Reporter,
): Promise<ListeningSocket> {
  if (given.fd === undefined) {
    const context = new ErrorContext(operation, resolveSocketPath(given.path));
    context.later = nativeNeeds(given);
    const plan = planToListen(context, given);
    const prepare = lowLatencyFor(context, given);
    const socket = await ListeningSocket.open(plan, reporter, given);
    return Object.assign(socket, { prepare });
  }
  const ofFile = Object.entries(given).find(([name, value]) =>
    value !== undefined && (["path", "backlog"].includes(name) || Object.hasOwn(FILE_CHECKS, name))
  );
  if (ofFile !== undefined) {
    throw new TypeError(`Invalid ${ofFile[0]}: the socket of fd has its path and its file already`);
  }
  requireRuntime();
  given.signal?.throwIfAborted();
  const { fd, signal } = given;
  const prepare = lowLatencyFor(contextAt(fd)(operation), given);
  const socket = ListeningSocket.openGiven(operation, fd, signal, reporter, given);
  return Object.assign(socket, { prepare });
}
