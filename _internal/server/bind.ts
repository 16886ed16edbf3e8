/** Listening on an owned path. */

import { Acceptor } from "../accept/acceptor.ts";
import type { Bound } from "../accept/accept_queue.ts";
import { connectToSelf, type Marker } from "../accept/marker.ts";
import { ErrorContext } from "../base/error_context.ts";
import type { Listen } from "../connection/native_slot.ts";
import type { PublishLock } from "../lock/path_locks.ts";
import type { OwnedPath } from "../path/owned_path.ts";

/**
 * Binds an owned path. If others could connect before the mode was set, a marker is placed, and the
 * clients ahead of it are dropped.
 *
 * @param listen Listens on the path that it is called with.
 */
export async function bind(
  owned: OwnedPath,
  listen: Listen,
  publishLock?: PublishLock,
): Promise<Bound> {
  let marker: Marker | undefined;
  try {
    const listener = await owned.bind(
      () => listen(owned.bindPath),
      async (bound) => {
        marker = await connectToSelf(bound, owned.bindPath, owned.path);
        marker.accepted.close();
        marker.connected.close();
      },
      publishLock,
    );
    return marker ?? { acceptor: new Acceptor(listener, new ErrorContext("accept", owned.path)) };
  } catch (error) {
    marker?.accepting.catch(() => {});
    await marker?.acceptor.close();
    throw error;
  }
}
