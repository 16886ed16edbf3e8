/**
 * The descriptors of Deno's connections, which Deno does not tell. Each one is proven, or not
 * known.
 *
 * - A scan of all sockets of the process right after an accept contains the new one. So if exactly
 *   one of them cannot be another connection's, it is the new one.
 * - It cannot be a socket that a connection of this package has, or had. It cannot be one that was
 *   seen before the call of `accept` or `connect` that it came from.
 * - Deno connects within the call of `Deno.connect`. A scan before the call and one after it show
 *   which socket is new.
 * - If several are left, because another thread or other code uses the same path, the
 *   descriptor is unknown until all but one have closed.
 *
 * Before each use, the number of the socket (`SO_COOKIE`) is compared again.
 */

import type { Transport } from "../connection/socket_connection.ts";
import { type Libc, libcIfGranted } from "../libc/library.ts";
import { ownName, peerName } from "../libc/socket_name.ts";
import { numberOfSocket, type OpenSocket, OpenSockets } from "./open_sockets.ts";

/** A socket that was seen. */
interface Seen {
  readonly cookie: bigint;
  /** The scan that saw it first; {@linkcode TAKEN} if a connection of this package had it. */
  readonly first: number;
}

/** Before every scan: no other connection can have this socket. */
const TAKEN = 0;

/** The descriptors of the connections of this thread. */
class ConnectionDescriptors {
  readonly #libc: Libc;
  readonly #sockets: OpenSockets;
  /** What was seen at each descriptor that is not skipped. */
  readonly #seen: (Seen | undefined)[] = [];
  /** The sockets of connections, and where they are. */
  readonly #taken = new Map<bigint, number>();
  /** The sockets that an open connection may have. */
  readonly #candidates = new WeakMap<object, readonly OpenSocket[]>();
  /** The socket that it has. */
  readonly #proven = new WeakMap<object, OpenSocket>();
  /** How many scans there were. */
  scans = 0;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#sockets = new OpenSockets(libc);
  }

  /**
   * Scans the sockets that no connection has, and returns those that may be new.
   *
   * @param since How many scans there were when the new one did not exist yet.
   * @param all Whether to scan also sockets that cannot be written at the moment.
   */
  scan(since: number, all = false): OpenSocket[] {
    const scan = ++this.scans;
    const found: OpenSocket[] = [];
    const isWhole = this.#sockets.each((fd, isWritableSocket) => {
      if (!isWritableSocket && !all) return;
      const cookie = numberOfSocket(this.#libc, fd);
      if (cookie === undefined) return;
      let seen = this.#seen[fd];
      if (seen?.cookie !== cookie) seen = this.#seen[fd] = { cookie, first: scan };
      if (seen.first > since && !this.#taken.has(cookie)) found.push({ fd, cookie });
    });
    return isWhole ? found : [];
  }

  /**
   * Records which sockets a connection may have.
   *
   * @param found All sockets that may be new.
   */
  record(conn: Deno.UnixConn, found: readonly OpenSocket[]): void {
    const own = conn.localAddr.path ?? "";
    const peer = conn.remoteAddr.path ?? "";
    // A single one is the new one: its names only confirm it.
    const candidates = found.filter(({ fd }) =>
      ownName(this.#libc, fd) === own &&
      (own !== "" && found.length === 1 || peerName(this.#libc, fd) === peer)
    );
    conn.close = closeRecorded;
    conn[Symbol.dispose] = disposeRecorded;
    this.#keep(conn, candidates);
  }

  #keep(conn: object, candidates: readonly OpenSocket[]): void {
    this.#candidates.set(conn, candidates);
    const [socket, ...others] = candidates;
    if (socket === undefined || others.length > 0) return;
    this.#proven.set(conn, socket);
    this.#taken.set(socket.cookie, socket.fd);
    this.#sockets.skip(socket.fd);
  }

  /**
   * Examines each descriptor that was skipped. Reports whether one of them has another socket now,
   * because its connection was closed unnoticed.
   */
  dropStale(): boolean {
    const { size } = this.#taken;
    for (const [cookie, fd] of this.#taken) {
      if (numberOfSocket(this.#libc, fd) === cookie) continue;
      this.#taken.delete(cookie);
      this.#sockets.include(fd);
    }
    return this.#taken.size < size;
  }

  /** Reports whether a connection was descriptors. */
  has(conn: object): boolean {
    return this.#candidates.has(conn);
  }

  /** Returns the sockets that a connection may have: one if it is proven. */
  of(conn: object): readonly OpenSocket[] {
    const isThere = ({ fd, cookie }: OpenSocket) => numberOfSocket(this.#libc, fd) === cookie;
    const proven = this.#proven.get(conn);
    if (proven !== undefined) return isThere(proven) ? [proven] : [];
    const candidates = this.#candidates.get(conn) ?? [];
    if (candidates.length === 0) return candidates;
    this.#keep(conn, candidates.filter((one) => !this.#taken.has(one.cookie) && isThere(one)));
    return this.#candidates.get(conn)!;
  }

  /** Forgets a connection that closes now. */
  forget(conn: object): void {
    this.#candidates.set(conn, []);
    const proven = this.#proven.get(conn);
    if (proven === undefined || !this.#proven.delete(conn)) return;
    const { fd, cookie } = proven;
    this.#taken.delete(cookie);
    // A pending read keeps it open for a moment.
    this.#seen[fd] = { cookie, first: TAKEN };
    this.#sockets.include(fd);
  }

  /** Reserves the only new socket for a connection that Deno has not returned yet. */
  reserve(found: readonly OpenSocket[]): void {
    if (found.length === 1) this.#taken.set(found[0]!.cookie, found[0]!.fd);
  }

  /** Ends the reservation. */
  release(found: readonly OpenSocket[]): void {
    if (found.length === 1) this.#taken.delete(found[0]!.cookie);
  }
}

let all: ConnectionDescriptors | undefined;

/** Returns the descriptors of this thread, if libc may be used. */
function known(): ConnectionDescriptors | undefined {
  if (all !== undefined) return all;
  const libc = libcIfGranted();
  return libc && (all = new ConnectionDescriptors(libc));
}

/** Closes a connection of Deno's. */
function closeRecorded(this: Deno.UnixConn): void {
  all?.forget(this);
  (Object.getPrototypeOf(this) as Deno.UnixConn).close.call(this);
}

/** Closes a connection of Deno's, unless it is closed. */
function disposeRecorded(this: Deno.UnixConn): void {
  all?.forget(this);
  (Object.getPrototypeOf(this) as Deno.UnixConn)[Symbol.dispose].call(this);
}

/** Calls Deno's connect, and records the new descriptor. */
export function connectAndRecord(path: string): Promise<Deno.UnixConn> {
  const descriptors = known();
  if (descriptors === undefined) return Deno.connect({ transport: "unix", path });
  descriptors.scan(TAKEN);
  const since = descriptors.scans;
  const connecting = Deno.connect({ transport: "unix", path });
  const found = descriptors.scan(since);
  descriptors.reserve(found);
  return connecting.then((conn) => {
    descriptors.release(found);
    recordNew(descriptors, conn, since, found);
    return conn;
  }, (error) => {
    descriptors.release(found);
    throw error;
  });
}

/** Returns how many scans there were: for {@linkcode recordAccepted}. Call this before `accept`. */
export function beforeAccept(): number {
  const descriptors = known();
  // The first scan sees what was there before.
  if (descriptors?.scans === 0) descriptors.scan(TAKEN);
  return descriptors?.scans ?? 0;
}

/**
 * Records the descriptor of a connection that Deno accepted.
 *
 * @param since What {@linkcode beforeAccept} returned; 0 if it was not called.
 */
export function recordAccepted(conn: unknown, since: number): void {
  const descriptors = known();
  if (descriptors !== undefined && isUnixConn(conn)) {
    recordNew(descriptors, conn, since, descriptors.scan(since));
  }
}

/** Records the descriptor of a new connection. */
function recordNew(
  descriptors: ConnectionDescriptors,
  conn: Deno.UnixConn,
  since: number,
  found: readonly OpenSocket[],
): void {
  const isMissing = found.length === 0 && descriptors.dropStale();
  descriptors.record(conn, isMissing ? descriptors.scan(since) : found);
}

/** Records the descriptor of an open connection of Deno's, if it is not recorded yet. */
export function recordOpen(conn: unknown): void {
  const descriptors = known();
  if (descriptors === undefined || !isUnixConn(conn) || descriptors.has(conn)) return;
  descriptors.record(conn, descriptors.scan(TAKEN, true));
}

/** Returns the descriptor of a transport; `undefined` if it is closed, or not proven. */
export function descriptorOf(transport: Transport): number | undefined {
  const [fd, ...others] = descriptorsOf(transport);
  return others.length === 0 ? fd : undefined;
}

/** Returns the descriptors that a transport may have: one if it is proven. */
export function descriptorsOf(transport: Transport): number[] {
  if (transport.fd !== undefined) return [transport.fd];
  return known()?.of(transport).map(({ fd }) => fd) ?? [];
}

/** Reports whether a connection is one that Deno has made. */
function isUnixConn(conn: unknown): conn is Deno.UnixConn {
  const { constructor, localAddr } = conn as Deno.UnixConn;
  return constructor.name === "UnixConn" && localAddr.transport === "unix";
}
