/**
 * A connection to our own listener, told from strangers' by bytes that only we know and that are there
 * before it is accepted. The backlog is a queue, so it marks a place in it.
 */

import { Acceptor, explainAccept } from "./acceptor.ts";
import { turn } from "../base/event_loop.ts";
import { codeOf } from "../base/failure.ts";

/** A connection of which a little may have been read already, to see whose it is. */
export interface Candidate {
  conn: Deno.UnixConn;
  aside: Promise<Uint8Array>;
}

/** What {@linkcode connectToSelf} gives. */
export interface SelfConnection {
  /** The two ends of our own connection. */
  accepted: Deno.UnixConn;
  connected: Deno.UnixConn;
  /** Those who came after it, and have been accepted as well. */
  later: Candidate[];
  /** What accepts from the listener, */
  acceptor: Acceptor;
  /** and an accept of it that is still pending. */
  accepting: Promise<Deno.UnixConn>;
}

/** How many bytes nobody guesses. */
export const SECRET_SIZE = 32;

/** How many connections are looked at together, and within how many turns bytes that are there arrive. */
const WINDOW = 64;
const TURNS = 3;

/** How long accepting may fail, for want of descriptors say, until a start is given up. */
const FAILING_MS = 1000;
/** How long it may take altogether. */
const LIMIT_MS = 10_000;

const NOTHING = new Uint8Array(0);

/**
 * Connects to our own listener and accepts that connection. The backlog is a queue: everyone who stood
 * in it before is dropped; who came later is handed on.
 *
 * - Strangers may say nothing, so a window of them is dropped without knowing who they are. In a busy
 *   process ours may be one of them, because its bytes have not been read yet. Then there is another one,
 *   which is given more time.
 *
 * @param listener The listener.
 * @param path The path that it is bound to.
 * @param shown The path that clients use, for the errors.
 */
export async function connectToSelf(
  listener: Deno.UnixListener,
  path: string,
  shown: string = path,
): Promise<SelfConnection> {
  const acceptor = new Acceptor(listener, explainAccept(shown));
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {});
  const late = "nothing could be accepted in time";
  const timer = setTimeout(() => reject(new Deno.errors.TimedOut(late)), LIMIT_MS);
  let first = 0;
  let last = -Infinity;
  acceptor.onFailure = (error) => {
    // The others cost one client each.
    if (!acceptor.pausing) return;
    const now = performance.now();
    if (now - last > FAILING_MS / 2) first = now;
    last = now;
    if (now - first > FAILING_MS) reject(error);
  };
  try {
    return await connectBy(acceptor, path, failed);
  } catch (error) {
    await acceptor.close();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Does so until `failed` rejects. */
async function connectBy(
  acceptor: Acceptor,
  path: string,
  failed: Promise<never>,
): Promise<SelfConnection> {
  const secret = crypto.getRandomValues(new Uint8Array(SECRET_SIZE));
  let connected = await connectPast(acceptor, path, failed);
  let window: Candidate[] = [];
  try {
    await Promise.race([connected.write(secret), failed]);
    let turns = TURNS;
    let isFound = false;
    const { promise: found, resolve: find } = Promise.withResolvers<Deno.UnixConn>();
    for (;;) {
      const accepting = acceptor.accept();
      const next = await Promise.race([accepting.then((conn) => ({ conn })), found, failed]);
      if (!("conn" in next)) {
        const at = window.findIndex(({ conn }) => conn === next);
        for (const { conn } of window.slice(0, at)) conn.close();
        return { accepted: next, connected, later: window.slice(at + 1), acceptor, accepting };
      }
      const { conn } = next;
      const aside = readSome(conn, secret.length);
      aside.then((bytes) => {
        if (!isSame(bytes, secret)) return;
        isFound = true;
        find(conn);
      });
      window.push({ conn, aside });
      if (window.length < WINDOW) continue;
      for (let i = 0; i < turns && !isFound; i++) await turn();
      if (isFound) continue;
      for (const { conn } of window) conn.close();
      window = [];
      // A write of no bytes tells whether the other end is still there.
      const isThere = connected.write(NOTHING).then(() => true, () => false);
      if (await Promise.race([isThere, failed])) continue;
      connected.close();
      connected = await connectPast(acceptor, path, failed);
      await Promise.race([connected.write(secret), failed]);
      turns *= 4;
    }
  } catch (error) {
    for (const { conn } of window) conn.close();
    connected[Symbol.dispose]();
    throw error;
  }
}

/** Whether two runs of bytes are the same. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** What comes first, up to so many bytes; nothing where the connection ends or fails. */
export async function readSome(conn: Deno.UnixConn, size: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(size);
  const count = await conn.read(buffer).catch(() => null);
  return buffer.subarray(0, count ?? 0);
}

/** Connects; strangers who fill the backlog are dropped to make room. */
async function connectPast(
  acceptor: Acceptor,
  path: string,
  failed: Promise<never>,
): Promise<Deno.UnixConn> {
  for (;;) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      (await Promise.race([acceptor.accept(), failed])).close();
    }
  }
}
