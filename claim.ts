/**
 * The ownership of a socket path, for a listener of any kind.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import { InsecurePath } from "./errors.ts";
import { seen, seenFrom } from "./_internal/base/caller_stack.ts";
import { checkArguments, checkFunction, checkOptions } from "./_internal/base/check.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { turn } from "./_internal/base/event_loop.ts";
import { type ClaimOptions, OWN_CHECKS, planToOwn } from "./_internal/path/claim_options.ts";
import { OwnedPath } from "./_internal/path/owned_path.ts";
import { ClaimedServer } from "./_internal/server/claimed_server.ts";

export type { ClaimOptions } from "./_internal/path/claim_options.ts";

/**
 * A path that this process owns until it is released.
 *
 * @category Servers
 */
export interface SocketClaim extends AsyncDisposable {
  /** The absolute path. */
  readonly path: string;
  /**
   * Binds the path and secures the file.
   *
   * - `open` must bind the path that it gets before it returns, as `Deno.listen`, `Deno.serve` and
   *   the `listen` of a `node:http` or `node:net` server do. With `publish: "rename"` that is
   *   `<path>.new`, which is renamed then.
   * - Or `open` returns a promise, and binds the path before it resolves. If it fails, it must end
   *   what it has started, and reject. One call of `bind` at a time.
   * - The file gets the owner and the mode of the claim. With `--allow-sys` it is created under a
   *   umask, so it never has a wider mode than that. A program that `open` starts before its first
   *   `await` inherits the umask.
   * - Without `--allow-sys`, a process umask that allows others to write (such as 000 or 002) would
   *   allow them to connect before the mode is set. The claim cannot recognize their connections
   *   later. So it disposes of what `open` returned, and rejects.
   * - With `publish: "rename"` call it once, and soon after `claim()`. Until it resolves, no other
   *   server can start or end at the path.
   *
   * @param open Starts a listener on the path that it gets, and returns it or a promise of it.
   * @returns What `open` returned. Close it before {@linkcode release}, unless the claim does.
   * @throws {Deno.errors.BadResource} when the claim has been released, another `bind` is not over,
   * or with `publish: "rename"` it was bound before.
   * @throws {SocketInUse} when the listener of an earlier `bind` is still open.
   * @throws {InsecurePath} when the file was more open than asked for, belongs to another user than
   * the lock file, or its mode or owner cannot be set safely in its directory.
   * @throws {TypeError} when `open` bound nothing at the path, returned nothing that can be
   * disposed of, or called `listen()` or `serve()`, which claim their path themselves.
   */
  bind<T extends Disposable | AsyncDisposable>(open: (path: string) => T | Promise<T>): Promise<T>;
  /**
   * Removes the socket file if it is still the one that was bound, then the lock file, and unlocks
   * the path. Close what {@linkcode bind} returned first. It waits for a `bind` that is not over,
   * so its `open` must settle. Idempotent; disposal does the same.
   *
   * With `publish: "rename"` it closes what `bind` returned, and loses no client that has reached
   * the server:
   *
   * 1. The socket file is removed, unless it is a successor's.
   * 2. The server goes on until its backlog is empty. A connection that the claim makes, and ends
   *    at once, shows that. After a takeover it has no name to connect to, so it waits for a
   *    second.
   * 3. The server is disposed of, and the path is unlocked. `Deno.serve` and `node:http` then
   *    finish the requests that they have begun. It waits for them without a limit.
   *
   * @throws {SocketError} when a file cannot be removed. The path is unlocked nevertheless.
   */
  release(): Promise<void>;
}

/**
 * Takes a socket path for this process alone, for a listener of any kind.
 *
 * - **Exclusive**: the claim holds a lock on `<path>.lock` (`flock`), which ends with the process
 *   however it ends. A second claim, `listen()` or `serve()` of the path rejects with
 *   `SocketInUse`, which names the process that holds it.
 * - **Careful**: a stale socket file is removed. If a server listens there, the claim rejects, even
 *   if that program does not use the lock. It also rejects if the file is not a socket.
 * - **Clean**: after the release, the path and the lock file are gone. Another program's file there
 *   is not touched. But `Deno.serve` and `node:http` themselves remove whatever is at the path when
 *   they close: `listen()` and `serve()` of this package prevent that. A claim does so with
 *   `publish: "rename"` only.
 * - Two programs that start at the same instant can still race if one of them does not use the
 *   lock.
 *
 * **Permissions**: what `permissions("claim", path, options)` returns. On Windows it rejects with
 * `NotSupported`.
 * - Read and write for the path and for `<path>.lock`, and `--allow-net=unix:<path>`.
 * - With `publish: "rename"`, also read and write for `<path>.new`, `<path>.lock.new` and
 *   `<path>.old`, and `--allow-net=unix:…` for the first and the last.
 *
 * @param path The path of the socket. Abstract names have no file to own.
 * @param options Mode, owner, and what to do about an existing file.
 * @returns The claim. Dispose of it to release the path.
 * @throws {TypeError} when an argument is of the wrong kind, the path is an abstract name, or
 * `bind()` of a claim in this process is opening it.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when another server has the path.
 * @throws {NotASocket} when a file that is not a socket is there.
 * @throws {ConnectDenied} when a socket is there that this process may not connect to.
 * @throws {InsecurePath} when the lock file is another program's, or a directory on the way is not
 * safe.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.PermissionDenied} when the directory does not allow this process to create a
 * file, or the file cannot be given to the user or the group.
 * @throws {Error} with `code` `"EMFILE"` when this process has no descriptor left, and `"EROFS"`
 * when the file system is read-only.
 * @throws {Deno.errors.NotSupported} on Windows, before Deno 2.9.5, and under a umask that takes
 * permissions from the owner.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example HTTP on a path of your own
 * ```ts no-assert
 * import { claim } from "@uds/uds";
 *
 * const directory = await Deno.makeTempDir();
 * {
 *   await using owned = await claim(`${directory}/http.sock`, { mode: 0o660 });
 *   await using _server = await owned.bind((path) =>
 *     Deno.serve({ path, onListen() {} }, () => new Response("hello\n"))
 *   );
 * }
 * await Deno.remove(directory);
 * ```
 *
 * @category Servers
 */
export async function claim(path: SocketPath, options: ClaimOptions = {}): Promise<SocketClaim> {
  try {
    checkArguments("claim", arguments, 2, "claim(path, { mode })");
    return await acquire(path, options);
  } catch (error) {
    throw seenFrom(claim, error);
  }
}

/** Checks the options, and takes the path. */
async function acquire(path: SocketPath, options: ClaimOptions): Promise<SocketClaim> {
  checkOptions("claim", options, OWN_CHECKS);
  const context = new ErrorContext("claim", resolveSocketPath(path));
  const owned = await OwnedPath.acquire(context, planToOwn(context, options));
  return new Claim(context, owned, options.onReplaced);
}

type Open<T> = (path: string) => T | Promise<T>;

class Claim implements SocketClaim {
  readonly path: string;
  readonly #context: ErrorContext;
  readonly #owned: OwnedPath;
  readonly #onReplaced: (() => void) | undefined;
  /** The last call of `bind`. */
  #binding: Promise<unknown> | undefined;
  #isBinding = false;
  #server: ClaimedServer | undefined;
  #released: Promise<void> | undefined;

  constructor(context: ErrorContext, owned: OwnedPath, onReplaced: (() => void) | undefined) {
    this.path = context.path;
    this.#context = context;
    this.#owned = owned;
    this.#onReplaced = onReplaced;
  }

  bind<T extends Disposable | AsyncDisposable>(open: Open<T>): Promise<T> {
    return seen(this.#bindOnce(open));
  }

  async #bindOnce<T extends Disposable | AsyncDisposable>(open: Open<T>): Promise<T> {
    checkFunction("open", open);
    if (this.#released !== undefined) throw this.#refuse("the claim has been released");
    if (this.#binding !== undefined && this.#owned.bindPath !== this.path) {
      throw this.#refuse(
        'with publish: "rename" it is bound once. Release the claim, and claim again',
      );
    }
    if (this.#isBinding) throw this.#refuse("another bind() is not over. Await it first");
    this.#isBinding = true;
    try {
      const binding = this.#bind(open);
      this.#binding = binding;
      return await binding;
    } finally {
      this.#isBinding = false;
    }
  }

  async #bind<T extends Disposable | AsyncDisposable>(open: Open<T>): Promise<T> {
    const owned = this.#owned;
    const server = await owned.bind(() => open(owned.bindPath), () => {
      throw this.#context.error(
        InsecurePath,
        "this process's umask made the socket writable for others before its mode could be set, " +
          'so another user may have connected. Run with --allow-sys, or under "umask 077"',
      );
    });
    if (owned.bindPath !== owned.path) {
      this.#server = new ClaimedServer(owned, server, this.#onReplaced);
    }
    return server;
  }

  #refuse(state: string): Error {
    return this.#context.fail(new Deno.errors.BadResource(state));
  }

  release(): Promise<void> {
    return this.#released ??= this.#server === undefined
      ? seen(this.#release())
      : seen(this.#server.leave(), true);
  }

  async #release(): Promise<void> {
    // A listener with a pending accept closes, and unlinks its path, one turn after its close().
    // The next owner must not start before that.
    await turn();
    await turn();
    // The server must not be published after the path was released.
    await this.#binding?.catch(() => {});
    if (this.#server !== undefined) return await this.#server.leave();
    try {
      this.#owned.release();
    } catch (error) {
      throw this.#owned.failureToLeave(error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}
