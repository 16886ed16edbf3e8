/**
 * The descriptors of Deno's connections, which Deno does not tell.
 *
 * - A connection that was accepted has the name of its listener. One that was connected has no
 *   name, and its peer has that of the server.
 * - Right after Deno has accepted or connected, exactly one such socket is new. The kernel gives
 *   each socket a number that no other one gets (`SO_COOKIE`), so those that were seen before are
 *   told apart, also after their descriptors were used again.
 * - If more than one is new, none is chosen.
 */

import { SO_ACCEPTCONN } from "../libc/constants.ts";
import { type Libc, libcIfGranted } from "../libc/library.ts";
import { ownName, peerName } from "../libc/socket_name.ts";
import { numberOption, socketCookie } from "../libc/socket_option.ts";
import type { Transport } from "../connection/socket_connection.ts";

/** A descriptor, and the number of its socket. */
export interface Noted {
  readonly fd: number;
  readonly cookie: bigint;
}

const noted = new WeakMap<object, Noted>();
const seen = new Set<bigint>();

/** Calls Deno's connect, and notes the new descriptor. */
export function connectAndNote(path: string): Promise<Deno.UnixConn> {
  const connect = () => Deno.connect({ transport: "unix", path });
  const libc = libcIfGranted();
  if (libc === undefined) return connect();
  const matches = (fd: number) => ownName(libc, fd) === "" && peerName(libc, fd) === path;
  find(libc, matches);
  const connecting = connect();
  const found = find(libc, matches);
  return connecting.then((conn) => {
    if (found !== undefined) noted.set(conn, found);
    return conn;
  });
}

/** Notes the descriptor of a connection that Deno accepted just now. */
export function noteAccepted(conn: unknown): void {
  const libc = libcIfGranted();
  if (libc === undefined) return;
  const { localAddr } = conn as Deno.UnixConn;
  if (localAddr.transport !== "unix") return;
  const found = find(
    libc,
    (fd) => ownName(libc, fd) === localAddr.path && numberOption(libc, fd, SO_ACCEPTCONN) === 0,
  );
  if (found !== undefined) noted.set(conn as object, found);
}

/** Returns the descriptor of a transport, if it is known. */
export function descriptorOf(transport: Transport): number | undefined {
  return transport.fd ?? noted.get(transport)?.fd;
}

/** Returns the only new socket that matches. */
function find(libc: Libc, matches: (fd: number) => boolean): Noted | undefined {
  const free = libc.dup(0);
  if (free >= 0) libc.close(free);
  const found: Noted[] = [];
  for (let fd = 3; fd < free + 64; fd++) {
    if (!matches(fd)) continue;
    const cookie = socketCookie(libc, fd);
    if (cookie === undefined || seen.has(cookie)) continue;
    seen.add(cookie);
    found.push({ fd, cookie });
  }
  return found.length === 1 ? found[0] : undefined;
}
