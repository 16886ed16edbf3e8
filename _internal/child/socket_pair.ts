/** Two connections that are each other's peer, both in this process. */

import { connectToSelf } from "../accept/marker.ts";
import type { ErrorContext } from "../base/error_context.ts";
import type { SocketConnection } from "../connection/socket_connection.ts";
import { unnamedConnection } from "./unnamed_connection.ts";

/** Whether sockets can have abstract names. */
const HAS_ABSTRACT_NAMES = ["linux", "android"].includes(Deno.build.os);

/** The permissions for the path at which the two ends meet. */
export const SOCKET_PAIR_PERMISSIONS: Deno.PermissionOptionsObject = HAS_ABSTRACT_NAMES
  ? { net: true }
  : { net: true, read: true, write: true };

/** Opens both ends. */
export async function openSocketPair(
  context: ErrorContext<null>,
): Promise<[SocketConnection, SocketConnection]> {
  try {
    const [a, b] = HAS_ABSTRACT_NAMES
      ? await meet(`\0uds-pair-${crypto.randomUUID()}`)
      : await meetInDirectory();
    return [unnamedConnection(a), unnamedConnection(b)];
  } catch (error) {
    throw context.fail(error);
  }
}

async function meetInDirectory(): Promise<[Deno.UnixConn, Deno.UnixConn]> {
  const directory = await Deno.makeTempDir({ prefix: "uds-" });
  try {
    return await meet(`${directory}/pair`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function meet(path: string): Promise<[Deno.UnixConn, Deno.UnixConn]> {
  const listener = Deno.listen({ transport: "unix", path });
  const { accepted, connected, behind, acceptor, accepting } = await connectToSelf(listener, path);
  for (const { conn } of behind) conn.close();
  accepting.then((conn) => conn.close(), () => {});
  await acceptor.close();
  return [accepted, connected];
}
