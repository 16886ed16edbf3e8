/**
 * Owning the path of a socket, whatever listens on it.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import { InsecurePath } from "./errors.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import { CLAIM_CHECKS, claimDefaults, requireClaimable } from "./_internal/path/claim_options.ts";
import { checkArguments, checkFunction, checkOptions } from "./_internal/base/check.ts";
import { turn } from "./_internal/base/event_loop.ts";
import { PathClaim } from "./_internal/path/owned_path.ts";
import { attempt } from "./_internal/base/failure.ts";

/** How a socket path is owned: for {@linkcode claim}, and for `listen()` and `serve()`. */
export interface ClaimOptions {
  /**
   * The permission bits of the socket file, at most `0o777`, with the owner's write bit. On Linux and macOS
   * anyone who may write may connect; some BSDs ignore the file's mode, and there the directory must keep
   * others out. The default admits the owner alone.
   *
   * The mode is set by `chmod` only in a directory that is known to be safe (see `verifyDirectory`), for which
   * this process needs read permission. Elsewhere another user could lead `chmod` to some other file. There
   * the socket keeps the mode that it was created with, if its write bits are right; its read and execute
   * bits, which have no effect, may differ. If they are wrong, the start rejects with `NotCapable`, or with
   * `InsecurePath` if the directory is not safe.
   *
   * @default {0o600}
   */
  mode?: number;
  /**
   * The user to give the socket file to. Only root may give files away, and only in a directory that is
   * known to be safe; otherwise as for `mode`.
   *
   * @default {the user of this process}
   */
  uid?: number;
  /**
   * The group to give the socket file to. Except for root it must be one of the user's own. As `uid`, it
   * needs a directory that is known to be safe, unless the file is created with that group.
   *
   * @default {the group that the system chooses}
   */
  gid?: number;
  /**
   * What to do about a socket file that is there already.
   *
   * - `"reclaim"` removes it if it is dead: nobody holds its lock, and it refuses twice, 100 ms apart.
   * - `"fail"` rejects with `SocketInUse`.
   *
   * A file that is not a socket, and a socket that answers, is left alone in either case.
   *
   * @default {"reclaim"}
   */
  existing?: "reclaim" | "fail";
  /**
   * Whether to make the directory of the socket, with mode 0700, and those above it, where they are
   * missing.
   *
   * @default {false}
   */
  createDirectory?: boolean;
  /**
   * Whether to reject with `InsecurePath` unless the directory of the socket is safe: no other user can
   * put another file in the place of the socket. The directory and each one above it must belong to root
   * or to this user, and be closed to other writers or have the sticky bit. The directory itself must not
   * be a symbolic link; one above it may be, if the directories that it leads through are safe.
   *
   * They are looked at before the bind and after it. That needs read permission for each of them, except
   * for the root directory, which is looked at where it is granted: therefore it is not the default.
   *
   * @default {false}
   */
  verifyDirectory?: boolean;
}

/** A path that is this process's own until it is released. */
export interface SocketClaim extends AsyncDisposable {
  /** The absolute path. */
  readonly path: string;
  /**
   * Binds the path and secures the file.
   *
   * - `open` must bind {@linkcode path} before it returns, as `Deno.listen`, `Deno.serve` and the
   *   `listen` of a `node:http` or `node:net` server do.
   * - The file gets the owner and the mode of the claim. With `--allow-sys` it is created under a
   *   umask that leaves no gap before.
   * - Without, a process umask that lets others write (such as 000 or 002) would let them connect
   *   before the mode is set. The claim cannot tell them from others later: it disposes of what `open`
   *   returned and rejects.
   *
   * @param open Starts a listener and returns it.
   * @returns What `open` returned. Close it before {@linkcode release}.
   * @throws {Deno.errors.BadResource} when the claim has been released.
   * @throws {InsecurePath} when the file was more open than asked for, belongs to another user than the
   * lock file, or its mode or owner cannot be set safely in its directory.
   * @throws {TypeError} when `open` bound nothing at the path.
   */
  bind<T extends Disposable | AsyncDisposable>(open: () => T): Promise<T>;
  /**
   * Gives the path back: removes the socket file if it is still the one that was bound, then the lock
   * file, then unlocks. Close what {@linkcode bind} returned first. Idempotent; disposal does the same.
   *
   * @throws {SocketError} when a file cannot be removed; the lock is free all the same.
   */
  release(): Promise<void>;
}

/**
 * Takes a socket path for this process alone, for a listener of any kind.
 *
 * - **Exclusive**: the claim holds a lock on `<path>.lock` (`flock`), which ends with the process
 *   however it ends. A second claim, `listen()` or `serve()` of the path rejects with `SocketInUse`,
 *   which names the process that holds it.
 * - **Careful**: a dead socket file is removed. A live one is left alone and the claim refused, even if its
 *   program does not use the lock; and so is anything that is not a socket.
 * - **Clean**: after the release, the path and the lock file are gone; a file that somebody else put there
 *   is not touched. But when `Deno.serve` and `node:http` close, they themselves remove whatever is at the
 *   path: `listen()` and `serve()` of this package prevent that, a claim cannot.
 * - Two programs that start at the same instant, one of which does not use the lock, can still race.
 *
 * **Permissions**: what `permissions("claim", path)` says: read and write for the path and for
 * `<path>.lock`, and `--allow-net=unix:<path>`. On Windows it rejects with `NotSupported`.
 *
 * @param path The path of the socket. Abstract names have no file to own.
 * @param options Mode, owner, and what to do about what is there.
 * @returns The claim; dispose of it to give the path back.
 * @throws {TypeError} when an argument is of the wrong kind, or the path is an abstract name.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when somebody alive has the path.
 * @throws {NotASocket} when something that is not a socket is there.
 * @throws {ConnectDenied} when a socket is there that this process may not connect to.
 * @throws {InsecurePath} when the lock file is another program's, or a directory on the way is not safe to
 * use.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.PermissionDenied} when the directory does not let this process make a file, or the
 * file cannot be given to the user or the group.
 * @throws {Deno.errors.NotSupported} on Windows, and before Deno 2.9.5.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example HTTP on a path that is yours alone
 * ```ts no-assert
 * import { claim } from "@uds/uds";
 *
 * const directory = await Deno.makeTempDir();
 * {
 *   await using path = await claim(`${directory}/http.sock`, { mode: 0o660 });
 *   await using _server = await path.bind(() =>
 *     Deno.serve({ path: path.path, onListen() {} }, () => new Response("hello\n"))
 *   );
 * }
 * await Deno.remove(directory);
 * ```
 */
export async function claim(path: SocketPath, options: ClaimOptions = {}): Promise<SocketClaim> {
  try {
    checkArguments("claim", arguments, 2, "claim(path, { mode })");
    return await acquire(path, options);
  } catch (error) {
    throw seenFrom(claim, error);
  }
}

/** Checks the options, and claims. */
async function acquire(path: SocketPath, options: ClaimOptions): Promise<SocketClaim> {
  checkOptions("claim", options, CLAIM_CHECKS);
  const checked = claimDefaults(options);
  const absolute = resolveSocketPath(path);
  requireClaimable("claim", absolute, options);
  return new Claim(await PathClaim.acquire(absolute, { ...checked, publish: "direct" }, "claim"));
}

class Claim implements SocketClaim {
  readonly path: string;
  readonly #claim: PathClaim;
  #released: Promise<void> | undefined;

  constructor(claim: PathClaim) {
    this.path = claim.path;
    this.#claim = claim;
  }

  async bind<T extends Disposable | AsyncDisposable>(open: () => T): Promise<T> {
    checkFunction("open", open);
    return await this.#claim.bind(open, () => {
      throw new InsecurePath(
        `${
          attempt("claim", this.path)
        }: this process's umask made the socket writable for others ` +
          `before its mode could be set, and somebody may have connected. Run with --allow-sys, or ` +
          `under "umask 077"`,
        { operation: "claim", path: this.path },
      );
    });
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    // A listener with a pending accept is closed, and unlinks its path, one turn after its close():
    // the next owner must not start before that.
    await turn();
    await turn();
    try {
      this.#claim.release();
    } catch (error) {
      throw this.#claim.failureToLeave(error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}
