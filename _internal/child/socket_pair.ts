/** Two connections that are each other's peer, both in this process. */

import { requireGrants } from "../base/deno_permissions.ts";
import { connectToSelf } from "../accept/marker.ts";
import { SocketConnection } from "../connection/socket_connection.ts";
import { systemError } from "../base/failure.ts";

/** Two ends in this process. */
export async function openSocketPair(): Promise<[SocketConnection, SocketConnection]> {
  const isLinux = Deno.build.os === "linux" || Deno.build.os === "android";
  const start = "Cannot make a socket pair";
  const fields = { operation: "socketpair", path: null };
  requireGrants(start, { net: true }, fields);
  if (!isLinux) requireGrants(start, { read: true, write: true }, fields);
  try {
    return wrap(
      isLinux ? await meet(`\0uds-pair-${crypto.randomUUID()}`) : await meetInDirectory(),
    );
  } catch (error) {
    throw systemError(start, error, fields);
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
  const { accepted, connected, later, acceptor, accepting } = await connectToSelf(listener, path);
  for (const { conn } of later) conn.close();
  accepting.then((conn) => conn.close(), () => {});
  await acceptor.close();
  return [accepted, connected];
}

function wrap(ends: [Deno.UnixConn, Deno.UnixConn]): [SocketConnection, SocketConnection] {
  const addr = { transport: "unix", path: null } as const;
  const [a, b] = ends.map((end) =>
    new SocketConnection(end, { localAddr: addr, remoteAddr: addr })
  );
  return [a as SocketConnection, b as SocketConnection];
}
