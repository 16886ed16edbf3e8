/**
 * The state of a path: whether a server is there.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import { permissions } from "./permissions.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import { checkArguments, checkBoolean, checkOptions, type Checks } from "./_internal/base/check.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { delay } from "./_internal/base/event_loop.ts";
import { isSameFile, lstat, ownership } from "./_internal/base/file.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { peekLock } from "./_internal/lock/peek_lock.ts";
import { STALE_RETRY_MS } from "./_internal/path/stale_socket.ts";
import { tryConnect } from "./_internal/path/try_connect.ts";

/**
 * The state of a path.
 *
 * - `"free"`: the file is missing, and the lock is free.
 * - `"claimed"`: a process holds the lock, and no connection was made: the server is starting or
 *   stopping, or `connect` was `false`.
 * - `"alive"`: a server accepts connections.
 * - `"full"`: a server is there, and its backlog is full at the moment.
 * - `"stale"`: a socket file on which no server listens.
 * - `"denied"`: the file system does not allow this process to examine the file, to connect, or to
 *   open the lock. Or no server answers, and another program's file is in the place of the lock: no
 *   server of this package starts there.
 * - `"other-type"`: a running program has a datagram or sequenced-packet socket there. `connect()`
 *   is refused; `connectPackets()` of `@uds/uds/native` is for these types.
 * - `"not-a-socket"`: another kind of file.
 *
 * @category Paths
 */
export type SocketState =
  | "free"
  | "claimed"
  | "alive"
  | "full"
  | "stale"
  | "denied"
  | "other-type"
  | "not-a-socket";

/**
 * The result of {@linkcode probe}.
 *
 * @category Paths
 */
export interface ProbeResult {
  /** The state of the path. */
  state: SocketState;
  /** The permission bits of the file, if there is one that could be examined. */
  mode?: number;
  /** The user that owns it. */
  uid?: number;
  /** Its group. */
  gid?: number;
  /** The process that holds the lock of the path, if it is held and the process is known. */
  holder?: number;
}

/**
 * Options of {@linkcode probe}.
 *
 * @category Paths
 */
export interface ProbeOptions {
  /**
   * Whether to connect, and close again at once, if only that can show whether a server listens. A
   * connection has side effects: the server sees a client that sends nothing, `nc -lU` ends after
   * it, and systemd starts a service that it starts on demand.
   *
   * @default {true}
   */
  connect?: boolean | undefined;
}

/** How many times another socket may come to the path before the last answer counts. */
const MAX_CHANGES = 5;

/**
 * Returns the state of a path, and the holder of its lock.
 *
 * - A symbolic link is followed, as by connecting.
 * - With `connect: false` no server is disturbed: the state comes from the file and from its lock.
 *   Where those cannot distinguish another program's server from a stale file, it rejects.
 * - `"stale"` takes 100 ms: the socket must refuse twice.
 * - The state can change at any time. To own a path use `claim()`, `listen()` or `serve()`, which
 *   hold its lock while they examine it.
 *
 * **Permissions**: what `permissions("probe", path, options)` says: read for the path and for
 * `<path>.lock`; to connect also write and `--allow-net=unix:<path>`. On Windows it rejects with
 * `NotSupported`.
 *
 * @param path The path of the socket, or an abstract name.
 * @param options Whether to connect.
 * @returns The state, and the mode and the owner of the file.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long.
 * @throws {Deno.errors.NotSupported} when `connect` is `false` and only a connection could show
 * whether a server listens.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.FilesystemLoop} when it has too many symbolic links.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Usage
 * ```ts
 * import { probe, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * assertEquals((await probe(path)).state, "free");
 *
 * await using _server = await serve(path, async () => {});
 * const { state, mode, holder } = await probe(path);
 * assertEquals([state, mode, holder], ["alive", 0o600, Deno.pid]);
 * ```
 *
 * @category Paths
 */
export async function probe(path: SocketPath, options: ProbeOptions = {}): Promise<ProbeResult> {
  try {
    checkArguments("probe", arguments, 2, "probe(path, { connect })");
    return await examine(path, options);
  } catch (error) {
    throw seenFrom(probe, error);
  }
}

const CHECKS: Checks<ProbeOptions> = { connect: checkBoolean };

/** Checks the options, and examines the path. */
async function examine(path: SocketPath, options: ProbeOptions): Promise<ProbeResult> {
  checkOptions("probe", options, CHECKS);
  const { connect = true } = options;
  const context = new ErrorContext("probe", resolveSocketPath(path));
  requireRuntime();
  context.require(permissions("probe", context.path, { connect }));
  try {
    if (!context.path.startsWith("\0")) return await probeFile(context, connect);
    if (!connect) throw needsConnection(context, "an abstract name has no lock");
    return { state: await ask(context.path, "free") };
  } catch (error) {
    throw (error as { operation?: string }).operation === undefined ? context.fail(error) : error;
  }
}

/** @param changes How many times another socket has come to the path since the first look. */
async function probeFile(
  context: ErrorContext,
  connect: boolean,
  changes = 0,
): Promise<ProbeResult> {
  const { path } = context;
  let info;
  try {
    info = lstat(path);
    if (info?.isSymlink) info = Deno.statSync(path);
  } catch (error) {
    // A symbolic link that leads to nothing.
    if (error instanceof Deno.errors.NotFound) return { state: "not-a-socket" };
    if (error instanceof Deno.errors.PermissionDenied) return { state: "denied" };
    throw error;
  }
  if (info !== null && !info.isSocket) return { state: "not-a-socket", ...ownership(info) };

  const lock = await peekLock(path);
  const holder = lock.holder === undefined ? {} : { holder: lock.holder };
  const held = lock.held ? "claimed" : lock.hidden ? "denied" : undefined;
  const absent: ProbeResult = { state: held ?? "free", ...holder };
  if (info === null) return absent;
  const file = { ...ownership(info), ...holder };
  if (!connect) {
    if (lock.held) return { state: "claimed", ...file };
    throw needsConnection(context, lock.hidden ?? "its lock is free");
  }
  const unanswered = held ?? "stale";
  let state = await ask(path, unanswered);
  if (state === "stale") {
    await delay(STALE_RETRY_MS);
    // Another program may exchange it any number of times.
    if (changes < MAX_CHANGES && !isSameFile(info, statOrNull(path))) {
      return await probeFile(context, connect, changes + 1);
    }
    state = await ask(path, unanswered);
  }
  // It has disappeared since the look.
  return state === "free" ? absent : { state, ...file };
}

/** Connects once. Returns `unanswered` if no server answers. */
async function ask(path: string, unanswered: SocketState): Promise<SocketState> {
  const { answer } = await tryConnect(path);
  if (answer === "refused") return unanswered;
  if (answer === "absent") return "free";
  return answer;
}

function statOrNull(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function needsConnection(context: ErrorContext, reason: string): Error {
  return context.error(
    Deno.errors.NotSupported,
    `${reason}, and only a connection can tell a server from a stale file. ` +
      `Leave out connect: false`,
  );
}
