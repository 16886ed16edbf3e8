/**
 * The callbacks of a server's user, and the lines that are printed without them. What a callback
 * throws never ends the server.
 */

import type { UnixAddr } from "../../address.ts";
import { isSocketError, type SocketError } from "../../errors.ts";
import { andMore, CountedLines, kindOfError, printError } from "../base/counted_lines.ts";
import { messageOf } from "../base/failure.ts";
import { lstat } from "../base/file.ts";
import { isPeerClosed } from "../base/peer_closed.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { readThrown } from "../base/thrown.ts";
import type { PathLoss } from "../path/watch.ts";
import type { ServeHandlerInfo } from "./serving.ts";

/** The callbacks of a server. */
interface Callbacks {
  onListen?: ((addr: UnixAddr) => void) | undefined;
  onPathLost?: ((loss: PathLoss) => void) | undefined;
  onReplaced?: (() => void) | undefined;
  onError?: ((error: unknown, info?: ServeHandlerInfo) => void) | undefined;
}

/**
 * Reports what happens to one server. Its errors are printed by default: at most one a second of
 * each kind.
 */
export class Reporter {
  readonly #lines = new CountedLines();
  readonly #callbacks: Callbacks;
  #path: string | null | undefined;

  constructor(callbacks: Callbacks = {}) {
    this.#callbacks = callbacks;
  }

  /**
   * Calls `onError`.
   *
   * @param name The function of the user that has failed.
   */
  readonly report = (error: unknown, info?: ServeHandlerInfo, name?: string): void => {
    const { onError } = this.#callbacks;
    if (onError !== undefined) return this.call("onError", () => onError(error, info));
    if (info === undefined || !this.#hasLeft(error)) this.#print(error, name);
  };

  /** Calls `onPathLost` with what is at the path now. */
  reportLoss(path: string, heals: boolean): void {
    const { onPathLost = printLoss } = this.#callbacks;
    this.call("onPathLost", () => onPathLost({ path, found: whatIsAt(path), heals }));
  }

  /** Calls `onReplaced`. */
  reportReplaced(): void {
    this.call("onReplaced", () => this.#callbacks.onReplaced?.());
  }

  /** Calls `onListen`. */
  reportListening(addr: UnixAddr): void {
    this.#path = addr.path;
    this.call("onListen", () => this.#callbacks.onListen?.(addr));
  }

  /** Calls back. Prints what the callback throws, or rejects with. */
  call(name: string, callback: () => void): void {
    const fail = (error: unknown) => this.#print(error, name);
    try {
      const result: unknown = callback();
      if (result instanceof Promise) result.catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  /** Prints the lines that were counted. Call this when the server ends. */
  flush(): void {
    this.#lines.flush();
  }

  #print(error: unknown, name: string | undefined): void {
    const of = this.#path == null ? "" : ` of ${quoteAddress(this.#path)}`;
    const what = name === undefined ? undefined : `The ${name}${of}`;
    this.#lines.add(kindOfError(error), (more) => printFailure(error, more, what));
  }

  /** Reports whether a handler failed only because its client closed, and nothing was unsent. */
  #hasLeft(error: unknown): boolean {
    return isPeerClosed(error) && readThrown(() => {
      const { path, unsent } = error as Partial<SocketError>;
      return path === this.#path && !unsent?.length;
    }, false);
  }
}

/** Returns what is at a path, or `"other"` if its directory cannot be searched. */
function whatIsAt(path: string): PathLoss["found"] {
  try {
    const there = lstat(path);
    return there === null ? "nothing" : there.isSocket ? "socket" : "other";
  } catch {
    return "other";
  }
}

function printLoss({ path, found, heals }: PathLoss): void {
  const how = found === "nothing" ? "was removed" : "was replaced";
  const then = heals ? "It is bound again" : "New clients do not reach this server any more";
  console.error(`uds: The socket ${JSON.stringify(path)} ${how}. ${then}`);
}

/** Prints a failure of the system as a line, and any other error with its stack. */
function printFailure(error: unknown, more: number, what: string | undefined): void {
  if (isSocketError(error)) printError(`uds: ${messageOf(error)}${andMore(more)}`, 0);
  else printError(error, more, what);
}
