/**
 * A marker: a connection of this process to its own listener. Its first bytes are a secret, sent
 * before it is accepted. The backlog is a queue, so a marker separates the clients ahead of it from
 * those behind it.
 */

import { type AcceptedSocket, Acceptor } from "./acceptor.ts";
import { ErrorContext } from "../base/error_context.ts";
import { turn } from "../base/event_loop.ts";
import { codeOf } from "../base/failure.ts";
import { connectNatively } from "../connection/native_slot.ts";
import type { Transport } from "../connection/socket_connection.ts";

/** A connection, and its first bytes where a marker was looked for. */
export interface Accepted {
  conn: AcceptedSocket;
  readAhead?: Promise<Uint8Array>;
}

/** A marker that was found. */
export interface Marker {
  /** The two ends of the marker. */
  accepted: Deno.UnixConn;
  connected: Deno.UnixConn;
  /** Connections from behind the marker that were accepted too. */
  behind: Accepted[];
  /** Accepts from the listener. */
  acceptor: Acceptor;
  /** The accept that is still pending. */
  accepting: Promise<Deno.UnixConn>;
}

/** Enough bytes that no client guesses them. */
const SECRET_BYTES = 32;

/** How many connections are searched together. */
const WINDOW = 64;
/** How many turns the secret may take to arrive. */
const FIRST_TURNS = 3;

/** How long accepting may fail, for example because no descriptor is free. */
const FAILING_MS = 1000;
const DEADLINE_MS = 10_000;

const NOTHING = new Uint8Array(0);

/** Returns the first bytes of a marker. */
export function newSecret(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
}

/** Reports whether two runs of bytes are equal. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * Reads as many bytes as a secret has, or looks at them if the connection can. Returns fewer if it
 * ends or fails.
 */
export async function readSecret(conn: Transport): Promise<Uint8Array> {
  const buffer = new Uint8Array(SECRET_BYTES);
  const reading = conn.peek === undefined ? conn.read(buffer) : conn.peek(buffer);
  const count = await reading.catch(() => null);
  return buffer.subarray(0, count ?? 0);
}

/**
 * Places a marker in the backlog and accepts it. Drops every client ahead of it.
 *
 * - Clients may be silent, so a full window is dropped without an answer. In a busy process the
 *   marker may be in it, unread. Then another marker follows, which may take longer.
 *
 * @param listener The listener.
 * @param path The path that it is bound to.
 * @param shown The path that clients use, for the errors.
 */
export async function connectToSelf(
  listener: Deno.UnixListener,
  path: string,
  shown: string = path,
): Promise<Marker> {
  const acceptor = new Acceptor(listener, new ErrorContext("accept", shown));
  const { promise: failed, reject } = Promise.withResolvers<never>();
  const orFail = <T>(work: Promise<T>) => Promise.race([work, failed]);
  failed.catch(() => {});
  const late = "nothing could be accepted in time";
  const timer = setTimeout(() => reject(new Deno.errors.TimedOut(late)), DEADLINE_MS);
  let first = 0;
  let last = -Infinity;
  acceptor.onFailure = (error) => {
    // Any other failure cost one client, and accepting works.
    if (!acceptor.backingOff) return;
    const now = performance.now();
    if (now - last > FAILING_MS / 2) first = now;
    last = now;
    if (now - first > FAILING_MS) reject(error);
  };
  const secret = newSecret();
  const { promise: found, resolve: find } = Promise.withResolvers<Deno.UnixConn>();
  let isFound = false;
  const window: Accepted[] = [];
  const dropWindow = () => window.splice(0).forEach(({ conn }) => conn.close());
  let connected: Deno.UnixConn | undefined;
  try {
    for (let turns = FIRST_TURNS;; turns *= 4) {
      connected = await connectPast(path, () => orFail(acceptor.accept()));
      await orFail(connected.write(secret));
      for (let isThere = true; isThere;) {
        while (isFound || window.length < WINDOW) {
          const accepting = acceptor.accept();
          const next = await orFail(Promise.race([accepting.then((conn) => ({ conn })), found]));
          if (!("conn" in next)) {
            const behind = window.splice(window.findIndex(({ conn }) => conn === next)).slice(1);
            dropWindow();
            return { accepted: next, connected, behind, acceptor, accepting };
          }
          const { conn } = next;
          const readAhead = readSecret(conn);
          readAhead.then((bytes) => {
            if (!isSame(bytes, secret)) return;
            isFound = true;
            find(conn);
          });
          window.push({ conn, readAhead });
        }
        for (let i = 0; i < turns && !isFound; i++) await turn();
        if (isFound) continue;
        dropWindow();
        // Writing no bytes fails if the marker was dropped.
        isThere = await orFail(connected.write(NOTHING).then(() => true, () => false));
      }
      connected.close();
    }
  } catch (error) {
    dropWindow();
    connected?.[Symbol.dispose]();
    await acceptor.close();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Connects. Drops clients from a full backlog to make room. */
async function connectPast(
  path: string,
  accept: () => Promise<Deno.UnixConn>,
): Promise<Deno.UnixConn> {
  for (;;) {
    try {
      return await connectNatively(path);
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      (await accept()).close();
    }
  }
}
