/**
 * A socket with a name: a path that is owned as `listen()` owns one, or an abstract
 * name.
 *
 * libc's close does not unlink a path, so only our own file is removed.
 */

import { InsecurePath } from "../../errors.ts";
import type { PacketType } from "../../native/packet_socket.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { failureToOwn } from "../base/failure.ts";
import type { Libc } from "../libc/library.ts";
import { lastFailure } from "../libc/failure.ts";
import { readiness } from "../libc/readiness.ts";
import { failureToBind } from "../path/abstract_name.ts";
import type { ListenPlan } from "../path/claim_options.ts";
import { OwnedPath } from "../path/owned_path.ts";
import { PathWatch } from "../path/watch.ts";
import type { Reporter } from "../server/reporter.ts";
import { bindTo, withSocket } from "./path_socket.ts";

/** What to open. */
export interface SocketKind {
  readonly type: PacketType;
  /** The maximum number of connections that wait; `undefined` for a socket without connections. */
  readonly backlog?: number | undefined;
}

/** A socket, and the path that it owns. */
export class PathOwner {
  /** The socket. Close it after {@linkcode release}. */
  readonly fd: number;
  readonly #owned: OwnedPath | undefined;
  readonly #watch: PathWatch | undefined;

  private constructor(fd: number, owned?: OwnedPath, reporter?: Reporter) {
    this.fd = fd;
    this.#owned = owned;
    if (owned === undefined) return;
    this.#watch = new PathWatch(owned, {
      // Only a path that was published by rename can be.
      replaced() {},
      lost: (isFirst) => {
        if (isFirst) reporter?.reportLoss(owned.path, false);
      },
    });
  }

  /** Acquires the path, and binds a new socket to it. */
  static async bind(
    libc: Libc,
    { context, owned: options, signal }: ListenPlan,
    kind: SocketKind,
    reporter: Reporter,
  ): Promise<PathOwner> {
    openWaits(libc, context);
    if (options === undefined) return new PathOwner(bindAbstract(libc, context, kind));
    const owned = await OwnedPath.acquire(context, options, signal);
    try {
      signal?.throwIfAborted();
      const { mode, uid, gid } = options;
      // Until chown, the group bits would apply to the wrong group.
      const firstMode = (uid ?? gid) === undefined ? mode : mode & 0o700;
      const { fd } = await owned.bind(
        () => openAt(libc, kind, owned.bindPath, firstMode),
        () => {
          throw context.error(
            InsecurePath,
            "the system created it with a wider mode, so another user may have reached it. " +
              'Run under "umask 077"',
          );
        },
      );
      if (!signal?.aborted) return new PathOwner(fd, owned, reporter);
      libc.close(fd);
      throw signal.reason;
    } catch (error) {
      await owned.cleanUpAfter(error, () => owned.release());
      throw error;
    }
  }

  /** Removes the socket file, if it is still ours, and releases the path. Idempotent. */
  release(): void {
    this.#watch?.stop();
    try {
      this.#owned?.release();
    } catch (error) {
      throw this.#owned?.failureToLeave(error);
    }
  }
}

/** Opens what waits need. Later, a lack of descriptors would leave a bound path behind. */
function openWaits(libc: Libc, context: ErrorContext): void {
  try {
    readiness(libc);
  } catch (cause) {
    throw failureToOwn(context, cause);
  }
}

/** A socket that was bound just now. */
interface Opened extends Disposable {
  readonly fd: number;
}

/** Binds a new socket to a path. Its file has no more permission bits than these. */
function openAt(libc: Libc, kind: SocketKind, path: string, mode: number): Opened {
  const fd = withSocket(libc, kind.type, (fd) => {
    // Linux takes the mode of the file from the socket (`unix_bind_bsd` in net/unix/af_unix.c).
    // Elsewhere it fails, and the mode is set after the bind.
    libc.fchmod(fd, mode);
    bindTo(libc, fd, path);
    startListening(libc, fd, kind);
    return fd;
  });
  return { fd, [Symbol.dispose]: () => void libc.close(fd) };
}

function startListening(libc: Libc, fd: number, { backlog }: SocketKind): void {
  if (backlog !== undefined && libc.listen(fd, backlog) < 0) throw lastFailure(libc);
}

function bindAbstract(libc: Libc, context: ErrorContext, kind: SocketKind): number {
  try {
    return withSocket(libc, kind.type, (fd) => {
      bindTo(libc, fd, context.path);
      startListening(libc, fd, kind);
      return fd;
    });
  } catch (cause) {
    throw failureToBind(context, cause);
  }
}
