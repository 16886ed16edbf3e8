/**
 * The error context of a channel: what it was doing, and with which peer. Unlike the context of a
 * public function it may have no path, because the ends of a pair have none.
 */

import type { UnixAddr } from "../../address.ts";
import { ConnectionClosed, type SocketError } from "../../errors.ts";
import type { ByteChannel } from "../../framing/codec.ts";
import { show } from "../base/check.ts";
import { systemError } from "../base/failure.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { errorFrom } from "./codec_support.ts";
import { andUnsent, stateAlone } from "../connection/connection_error.ts";

type Operation = "send" | "receive" | "detach";

/** The call that ended a channel, or a direction of it. */
export type EndingCall = "close()" | "closeWrite()" | "detach()";

const VERBS = { send: "send to", receive: "receive from", detach: "detach from" };

/** The operation and the peer that an error names. */
export class PeerContext {
  readonly #operation: Operation;
  readonly #conn: { remoteAddr?: UnixAddr; localAddr?: UnixAddr };

  constructor(operation: Operation, conn: ByteChannel) {
    this.#operation = operation;
    this.#conn = conn as { remoteAddr?: UnixAddr; localAddr?: UnixAddr };
  }

  /** Returns the error for a call after this side has ended its own part. */
  closed(by: EndingCall, unsent?: Uint8Array): ConnectionClosed {
    const state = `${by} was called on this side${andUnsent(unsent)}`;
    return new ConnectionClosed(`${this.#start}: ${state}`, {
      operation: this.#operation,
      path: this.#path,
      unsent,
    });
  }

  /** Returns an error of the cause's own class. */
  fail(cause: unknown, state: string = stateAlone(cause), unsent?: Uint8Array): SocketError {
    const fields = { operation: this.#operation, path: this.#path, ...(unsent && { unsent }) };
    return systemError(this.#start, cause, fields, state);
  }

  /** Returns an error of a codec that names the peer. Other values stay as they are. */
  decoding(error: unknown): unknown {
    return errorFrom(error, this.#peer, this.#path);
  }

  /** The path that identifies the peer, if there is one. */
  get #path(): string | null {
    return this.#conn.remoteAddr?.path ?? this.#conn.localAddr?.path ?? null;
  }

  /** The beginning of a message: `Cannot send to "/run/app.sock"`. */
  get #start(): string {
    return `Cannot ${VERBS[this.#operation]} ${this.#peer}`;
  }

  /** The peer as a message names it: `a client of "/run/app.sock"`. */
  get #peer(): string {
    const path = this.#path;
    if (path === null) return "the peer";
    return `${this.#conn.remoteAddr?.path == null ? "a client of " : ""}${quoteAddress(path)}`;
  }
}

/** Throws unless a connection made progress: otherwise it would be called again and again. */
export function checkProgress(call: string, count: unknown, most: number): void {
  if (!Number.isInteger(count) || (count as number) < 1 || (count as number) > most) {
    throw new TypeError(`Invalid connection: ${call} gave ${show(count)} for ${most} bytes`);
  }
}
