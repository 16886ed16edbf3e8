/**
 * Looking at a path: is a server there?
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import { permissions } from "./permissions.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import { isSameFile, lstat } from "./_internal/base/file.ts";
import { requireGrants } from "./_internal/base/deno_permissions.ts";
import { knock } from "./_internal/path/try_connect.ts";
import { checkArguments, checkBoolean, checkOptions, type Checks } from "./_internal/base/check.ts";
import { peekLock } from "./_internal/lock/path_lock.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { attempt, systemError } from "./_internal/base/failure.ts";
import { delay } from "./_internal/base/event_loop.ts";

/**
 * What is at a path.
 *
 * - `"free"`: nothing, and nobody holds its lock.
 * - `"claimed"`: somebody holds its lock, and no connection was made: the server is starting or
 *   ending, or `connect` was `false`.
 * - `"alive"`: a server accepts connections.
 * - `"full"`: a server is there, and its backlog has no place just now.
 * - `"stale"`: a socket file that nobody listens on.
 * - `"denied"`: the file system does not let this process see or connect, or see whether the lock is
 *   held. Or nobody answers, and another program's file is in the place of the lock: no server of this
 *   package starts there.
 * - `"not-a-socket"`: another kind of file, or a socket that is no stream socket.
 */
export type SocketState =
  | "free"
  | "claimed"
  | "alive"
  | "full"
  | "stale"
  | "denied"
  | "not-a-socket";

/** What {@linkcode probe} found. */
export interface ProbeResult {
  /** What is at the path. */
  state: SocketState;
  /** The permission bits of the file, where there is one that could be looked at. */
  mode?: number;
  /** The user who owns it. */
  uid?: number;
  /** Its group. */
  gid?: number;
  /** The process that holds the lock of the path, where somebody does. */
  holder?: number;
}

/** Options of {@linkcode probe}. */
export interface ProbeOptions {
  /**
   * Whether to connect, and close again at once, where only that can tell. A connection is not
   * harmless: the server sees a client that says nothing, `nc -lU` ends after it, and a service that
   * systemd starts on demand is started.
   *
   * @default {true}
   */
  connect?: boolean;
}

/** When to ask again: a socket between its bind and its listen refuses like a dead one. */
const STALE_MS = 100;

/** How often another socket may have come to the path meanwhile, before the last answer counts. */
const MAX_CHANGES = 5;

/**
 * Tells what is at the path of a socket.
 *
 * - A symbolic link is followed, as connecting does.
 * - With `connect: false` no server is disturbed: the state comes from the file and from its lock.
 *   Where those cannot tell a foreign server from a stale file, it rejects.
 * - `"stale"` takes 100 ms: the socket has to refuse twice.
 * - The answer is of that moment. To own a path use `claim()`, `listen()` or `serve()`, which hold its
 *   lock while they look.
 *
 * **Permissions**: what `permissions("probe", path, options)` says: read for the path and for
 * `<path>.lock`; to connect also write and `--allow-net=unix:<path>`. On Windows it rejects with
 * `NotSupported`.
 *
 * @param path The path of the socket, or an abstract name.
 * @param options Whether to connect.
 * @returns The state, and of the file what can be seen.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long.
 * @throws {Deno.errors.NotSupported} when `connect` is `false` and only a connection can tell.
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
 */
export async function probe(path: SocketPath, options: ProbeOptions = {}): Promise<ProbeResult> {
  try {
    checkArguments("probe", arguments, 2, "probe(path, { connect })");
    return await lookAt(path, options);
  } catch (error) {
    throw seenFrom(probe, error);
  }
}

const CHECKS: Checks<ProbeOptions> = { connect: checkBoolean };

/** Checks the options, and looks. */
async function lookAt(path: SocketPath, options: ProbeOptions): Promise<ProbeResult> {
  checkOptions("probe", options, CHECKS);
  const connect = options.connect ?? true;
  const absolute = resolveSocketPath(path);
  requireRuntime();
  const start = attempt("probe", absolute);
  const fields = { operation: "probe", path: absolute };
  requireGrants(start, permissions("probe", absolute, { connect }), fields);
  try {
    return absolute.startsWith("\0")
      ? await probeAbstract(absolute, connect)
      : await probeFile(absolute, connect);
  } catch (error) {
    if ((error as { operation?: string }).operation !== undefined) throw error;
    throw systemError(start, error, fields);
  }
}

/** @param changes How often another socket has come to the path since the first look. */
async function probeFile(path: string, connect: boolean, changes = 0): Promise<ProbeResult> {
  let info;
  try {
    info = lstat(path);
    if (info?.isSymlink) info = Deno.statSync(path);
  } catch (error) {
    // A symbolic link to nothing: the path is taken, but by no socket.
    if (error instanceof Deno.errors.NotFound) return { state: "not-a-socket" };
    if (error instanceof Deno.errors.PermissionDenied) return { state: "denied" };
    throw error;
  }
  const file: Omit<ProbeResult, "state"> = {};
  if (info?.mode != null) file.mode = info.mode & 0o777;
  if (info?.uid != null) file.uid = info.uid;
  if (info?.gid != null) file.gid = info.gid;
  if (info !== null && !info.isSocket) return { state: "not-a-socket", ...file };

  const lock = await peekLock(path);
  if (lock.holder !== undefined) file.holder = lock.holder;
  const noFile: ProbeResult = {
    state: lock.held ? "claimed" : lock.hidden ? "denied" : "free",
    ...(lock.holder !== undefined && { holder: lock.holder }),
  };
  if (info === null) return noFile;
  const unheard = noFile.state === "free" ? "stale" : noFile.state;
  if (!connect) {
    if (lock.held) return { state: "claimed", ...file };
    throw onlyConnectionTells(
      path,
      lock.hidden ?? "nobody holds its lock",
    );
  }

  let state = await ask(path, unheard);
  if (state === "stale") {
    await delay(STALE_MS);
    // Another program may exchange it for as long as it likes.
    if (changes < MAX_CHANGES && !isSameFile(info, statOrNull(path))) {
      return await probeFile(path, connect, changes + 1);
    }
    state = await ask(path, unheard);
  }
  // It has gone between the look and the question.
  return state === "free" ? noFile : { state, ...file };
}

async function probeAbstract(name: string, connect: boolean): Promise<ProbeResult> {
  if (!connect) throw onlyConnectionTells(name, "an abstract name has no lock");
  return { state: await ask(name, "free") };
}

/** Connects once; `unheard` is the state where nobody answers. */
async function ask(path: string, unheard: SocketState): Promise<SocketState> {
  const { answer } = await knock(path);
  switch (answer) {
    case "refused":
      return unheard;
    case "absent":
      return "free";
    case "mistyped":
      return "not-a-socket";
    default:
      return answer;
  }
}

function statOrNull(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function onlyConnectionTells(path: string, reason: string): Error {
  const error = new Deno.errors.NotSupported(
    `${attempt("probe", path)}: ${reason}, and only a connection can tell a server from a stale ` +
      `file. Leave out connect: false`,
  );
  return Object.assign(error, { operation: "probe", path });
}
