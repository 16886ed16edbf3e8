/** The tries of one connect, until a server answers or the time is over. */

import {
  ConnectDenied,
  ConnectTimeout,
  InsecurePath,
  NothingListening,
  type SocketError,
  SocketNotFound,
} from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";
import { isSameFile } from "../base/file.ts";
import { GrowingPauses } from "../base/growing_pauses.ts";
import { ObservedTime } from "../base/silence.ts";

/** The pauses between two tries: one try takes microseconds. */
const FIRST_PAUSE_MS = 2;
const LAST_PAUSE_MS = 100;

const DEFAULT_TIMEOUT_MS = 5000;

/**
 * The refusals of a server that is still starting. Some servers set the mode of their file last.
 */
const STARTING = [SocketNotFound, NothingListening, ConnectDenied];

/** How long to try, and which servers are trusted. */
interface Tries {
  timeout?: number | undefined;
  wait?: boolean | undefined;
  owner?: number | number[] | undefined;
  signal?: AbortSignal | undefined;
}

/** One way to connect. */
export interface Connecting<T> {
  /** Connects once. */
  open(): T | Promise<T>;
  /** Returns the error for what `open` threw, or for a file that cannot be described. */
  refusal(cause: unknown): Error;
}

/**
 * Connects by checked options. It tries again while the backlog is full, and with `wait` while the
 * server is still starting.
 */
export async function connectWithin<T extends { close(): void }>(
  context: ErrorContext,
  { timeout = DEFAULT_TIMEOUT_MS, wait = false, owner, signal }: Tries,
  connecting: Connecting<T>,
): Promise<T> {
  const owners = owner === undefined ? undefined : [owner].flat();
  let time: ObservedTime | undefined;
  let pauses: GrowingPauses | undefined;
  for (;;) {
    let refusal: SocketError;
    try {
      const conn = await connectOnce(context, owners, connecting);
      if (!signal?.aborted) return conn;
      conn.close();
      throw signal.reason;
    } catch (error) {
      signal?.throwIfAborted();
      const again = codeOf(error) === "EAGAIN" ||
        wait && STARTING.some((Class) => error instanceof Class);
      if (!again || timeout === 0) throw error;
      refusal = error as SocketError;
    }
    // The first try took microseconds, because the kernel answers at once.
    time ??= new ObservedTime();
    pauses ??= new GrowingPauses(FIRST_PAUSE_MS, LAST_PAUSE_MS);
    const left = timeout - time.elapsed;
    if (left <= 0) {
      const state = `no connection within ${timeout} ms. The last attempt: ${refusal.message}`;
      throw context.error(ConnectTimeout, state, { cause: refusal });
    }
    await time.pause(Math.min(left, pauses.next()), signal);
  }
}

async function connectOnce<T extends { close(): void }>(
  context: ErrorContext,
  owners: number[] | undefined,
  connecting: Connecting<T>,
): Promise<T> {
  const before = owners && requireOwner(context, owners, connecting);
  let conn;
  try {
    conn = await connecting.open();
  } catch (cause) {
    throw connecting.refusal(cause);
  }
  if (owners === undefined) return conn;
  try {
    // If the file was replaced after the first look, the peer is not the server that was checked.
    if (!isSameFile(before ?? null, requireOwner(context, owners, connecting))) {
      throw context.error(InsecurePath, "the file was replaced while connecting. Try again");
    }
    return conn;
  } catch (error) {
    conn.close();
    throw error;
  }
}

/** Describes the socket file. Throws unless one of the owners owns it. */
function requireOwner(
  context: ErrorContext,
  owners: number[],
  connecting: Connecting<unknown>,
): Deno.FileInfo {
  let info;
  try {
    info = Deno.statSync(context.path);
  } catch (cause) {
    throw connecting.refusal(cause);
  }
  if (info.uid === null || !owners.includes(info.uid)) {
    const state = `it belongs to uid ${info.uid}, and only ${owners.join(" or ")} is trusted`;
    throw context.error(InsecurePath, state);
  }
  return info;
}
