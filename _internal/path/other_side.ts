/**
 * A server on the other side of a shared file system. Its socket refuses connections from this side
 * like a stale one: see docs/design/file_systems.md.
 */

import { SocketInUse } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { lstat } from "../base/file.ts";
import { peekLock, readLock } from "../lock/peek_lock.ts";
import { isShared, viewOf } from "../lock/shared_file_system.ts";
import { requireReplaceable } from "./stale_socket.ts";

/**
 * Throws `SocketInUse` if such a server may be at a path. Call this before taking the lock, which
 * would replace that server's lock file.
 *
 * @param context What is tried.
 * @param options `byRename`: whether `<path>.new` is bound too. `holdsLock`: whether this server
 * holds the lock already, so that the lock reveals no other server.
 */
export async function requireThisSide(
  context: ErrorContext,
  { byRename, holdsLock = false }: { byRename: boolean; holdsLock?: boolean },
  signal?: AbortSignal,
): Promise<void> {
  const { path } = context;
  const suffixes = byRename ? ["", ".new"] : [""];
  for (const suffix of suffixes) {
    const socket = socketAt(path + suffix);
    if (socket === undefined || !isShared(path + suffix, socket)) continue;
    // A server records its view of its socket. On another side it is another device.
    const view = viewOf(socket);
    const records = await Promise.all(suffixes.map((end) => readLock(`${path}.lock${end}`)));
    if (records.some((record) => record?.view === view)) continue;
    // A server on this side may not have recorded it yet. Its lock refuses without a connection.
    if (!holdsLock && (await peekLock(path)).held) return;
    if (await requireReplaceable(context.at(path + suffix), signal) === null) continue;
    throw context.error(
      SocketInUse,
      "no server answers there, but its file system may be shared with another machine or process " +
        "(FUSE, NFS and the like), where its server runs. If it does not, remove the file by hand, " +
        "or choose another path",
    );
  }
}

function socketAt(path: string): Deno.FileInfo | undefined {
  try {
    const info = lstat(path);
    return info?.isSocket ? info : undefined;
  } catch {
    // The call that takes the lock reports what is wrong with the path.
    return undefined;
  }
}
