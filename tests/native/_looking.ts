/**
 * The library, with connections that look for bytes at every read and write without waiting. The
 * tests of connections import it in place of the library.
 */

import * as uds from "../../mod.ts";
import type { Connection } from "../../mod.ts";
import { look } from "./_latency.ts";

export * from "../../mod.ts";

/** Makes a connection look at each read, also at the first one. */
function looks<T>(conn: T): T {
  const counting = look(conn as unknown as Connection, 0);
  if (counting === undefined) throw new Error("its descriptor is not known");
  return conn;
}

export async function connect(
  ...args: Parameters<typeof uds.connect>
): Promise<uds.Connection> {
  return looks(await uds.connect(...args));
}

export function toConnection(...args: Parameters<typeof uds.toConnection>): uds.Connection {
  return looks(uds.toConnection(...args));
}

export async function socketpair(
  ...args: Parameters<typeof uds.socketpair>
): ReturnType<typeof uds.socketpair> {
  const [a, b] = await uds.socketpair(...args);
  return [looks(a), looks(b)] as Awaited<ReturnType<typeof uds.socketpair>>;
}

export async function pair(...args: Parameters<typeof uds.pair>): Promise<uds.Child> {
  const child = await uds.pair(...args) as unknown as uds.Child;
  looks(child.conn);
  return child;
}

export function serve(
  options: Parameters<typeof uds.serve>[0],
  handler: uds.ServeHandler,
): Promise<uds.UnixServer> {
  if (typeof handler !== "function") return uds.serve(options, handler);
  return uds.serve(options, (conn, info) => handler(looks(conn), info));
}

export async function listen(
  ...args: Parameters<typeof uds.listen>
): Promise<uds.UnixListener> {
  const listener = await uds.listen(...args);
  const accept = listener.accept.bind(listener);
  listener.accept = async () => looks(await accept());
  return listener;
}
