/**
 * A server on the other side of a shared file system. Its socket refuses connections from this side like a
 * stale one, and its lock looks free, unless the file system passes locks on.
 */

import { SocketInUse } from "../../errors.ts";
import { lstat } from "../base/file.ts";
import type { Attempt } from "../lock/lock_wait.ts";
import { peekLock, readLock } from "../lock/path_lock.ts";
import { requireVacant } from "./stale_socket.ts";
import { isShared, viewOf } from "../lock/shared_file_system.ts";
import { attempt } from "../base/failure.ts";

/**
 * Throws `SocketInUse` if such a server may be at a path. Call this before the lock is taken: taking it would
 * replace that server's lock file.
 *
 * @param wanted What is tried; its path is that of the socket.
 * @param options `hasTurns`: whether `<path>.new` is bound too. `holdsLock`: whether the lock is held by this
 * server already, and so says nothing of another one.
 */
export async function requireThisSide(
  wanted: Attempt,
  { hasTurns, holdsLock = false }: { hasTurns: boolean; holdsLock?: boolean },
  signal?: AbortSignal,
): Promise<void> {
  const { operation, path } = wanted;
  const suffixes = hasTurns ? ["", ".new"] : [""];
  for (const suffix of suffixes) {
    const socket = socketAt(path + suffix);
    if (socket === undefined || !isShared(path + suffix, socket)) continue;
    // A server writes down how it sees its socket. On another side it is another device.
    const view = viewOf(socket);
    const records = await Promise.all(suffixes.map((end) => readLock(`${path}.lock${end}`)));
    if (records.some((record) => record?.view === view)) continue;
    // A server on this side may not have written it yet. Its lock is what refuses, without a connection.
    if (!holdsLock && (await peekLock(path)).held) return;
    if (await requireVacant({ operation, path: path + suffix }, "reclaim", signal) === null) {
      continue;
    }
    throw new SocketInUse(
      `${attempt(operation, path)}: nobody answers there, but its file system may be shared with ` +
        `another machine or process (FUSE, NFS and the like), where its server runs. If it does ` +
        `not, remove the file by hand, or choose another path`,
      wanted,
    );
  }
}

function socketAt(path: string): Deno.FileInfo | undefined {
  try {
    const info = lstat(path);
    return info?.isSocket ? info : undefined;
  } catch {
    // What is wrong with the path is told by the call that takes its lock.
    return undefined;
  }
}
