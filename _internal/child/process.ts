/**
 * A child process with a socket at its descriptor 3, from its start to its end. What `pair()`
 * returns.
 *
 * Only node:child_process can start a child with such a socket. This class works around two of its
 * faults:
 *
 * - It drops unread bytes when the child exits. So the streams are taken over at the start: see
 *   descriptor/fd_socket.ts.
 * - Its `kill()` sends one signal only, and reports that signal even if the child handles it and
 *   exits later. The two fields that it sets are reset.
 *
 * Disposal:
 *
 *     end our writing ── grace ──> SIGTERM ── grace ──> SIGKILL ── KILLED_MS ──> close
 *            └─────────── exited ─────┴────────────────────┴───────────────────────┘
 */

import type { ChildProcess as NodeChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { show } from "../base/check.ts";
import { ErrorContext } from "../base/error_context.ts";
import { onAbort } from "../base/event_loop.ts";
import { codeOf } from "../base/failure.ts";
import { builtin } from "../base/node.ts";
import { settlesWithin } from "../base/silence.ts";
import type { SocketConnection } from "../connection/socket_connection.ts";
import { FdSocket } from "../descriptor/fd_socket.ts";
import type { SignalWait } from "./realtime_signals.ts";
import { unnamedConnection } from "./unnamed_connection.ts";

/**
 * How one of the three standard streams is connected. A `"copied"` one is copied to this process's
 * own. A `"socket"` is a direction of the connection.
 */
export type ChildStdio = "piped" | "inherit" | "null" | "copied" | "socket";

/** The part of `PairOptions` that concerns a running child. */
export interface ChildOptions {
  stdio: readonly [stdin: ChildStdio, stdout: ChildStdio, stderr: ChildStdio];
  grace?: number | undefined;
  signal?: AbortSignal | undefined;
}

const DEFAULT_GRACE_MS = 2000;

/** A shell adds the number of a signal to this for an exit code. */
const SIGNAL_BASE = 128;

/** How long to wait for a child after SIGKILL: the kernel may hold it. */
export const KILLED_MS = 5000;

/**
 * The least and the longest time without bytes after which the reader of an output counts as gone.
 */
const LEAST_REST_MS = 100;
const LONGEST_REST_MS = 2000;

/** This end of the socket. */
export interface ChildConn {
  closeWrite(): Promise<void>;
  close(): void;
}

/** A child that was started. */
export class ChildProcess<Conn extends ChildConn = SocketConnection> {
  readonly conn: Conn;
  readonly pid: number;
  readonly status: Promise<Deno.CommandStatus>;
  readonly #process: NodeChildProcess;
  readonly #streams: (SocketConnection | undefined)[];
  readonly #stdio: ChildOptions["stdio"];
  readonly #grace: number;
  #hasExited = false;
  #killError: Error | undefined;
  #disposal: Promise<void> | undefined;

  /**
   * @param process A process that was started in this turn of the event loop.
   * @param pid Its number.
   * @param open Opens this process's end of the socket. Gets what reports that the child has
   * exited.
   * @param wait The wait for a signal without a name.
   * @param options How it was started.
   */
  constructor(
    process: NodeChildProcess,
    pid: number,
    open: (hasExited: () => boolean) => Conn,
    wait: SignalWait,
    { stdio, grace = DEFAULT_GRACE_MS, signal }: ChildOptions,
  ) {
    this.#process = process;
    this.pid = pid;
    this.conn = open(() => this.#hasExited);
    this.#stdio = stdio;
    this.#grace = grace;
    // After the start only kill() fails.
    process.on("error", (error: Error) => this.#killError = error);
    this.#streams = stdio.map((way, fd) => {
      const stream = process.stdio[fd] as Socket | null;
      if (stream === null || way === "socket") return undefined;
      const only = fd === 0 ? "write" : "read";
      return unnamedConnection(FdSocket.fromStream(stream, only), { only });
    });
    this.status = new Promise((resolve) => {
      const end = (code: number, signal: Deno.Signal | null) => {
        this.#hasExited = true;
        wait.cancel();
        resolve({ success: code === 0, code, signal });
      };
      process.once("exit", (exitCode: number | null, name: NodeJS.Signals | null) => {
        const number = name === null ? 0 : builtin("node:os").constants.signals[name];
        end(exitCode ?? SIGNAL_BASE + number, name as Deno.Signal | null);
      });
      wait.number.then((number) => end(SIGNAL_BASE + number, null));
    });
    for (const [fd, target] of [[1, Deno.stdout], [2, Deno.stderr]] as const) {
      const output = this.#streams[fd];
      if (output && stdio[fd] === "copied") copy(output, target);
    }
    this.status.then(onAbort(signal, () => void this.#terminate()));
  }

  get stdin(): WritableStream<Uint8Array> {
    return this.#piped(0, "stdin").writable;
  }

  get stdout(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#piped(1, "stdout").readable;
  }

  get stderr(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#piped(2, "stderr").readable;
  }

  #piped(fd: 0 | 1 | 2, name: string): SocketConnection {
    const stream = this.#streams[fd];
    const way = this.#stdio[fd];
    if (stream !== undefined && way === "piped") return stream;
    const state = way === "socket"
      ? "it is a direction of the connection. Use conn"
      : `it is not piped. Pass ${name}: "piped" to pair()`;
    throw new TypeError(`Cannot get ${name}: ${state}`);
  }

  kill(signal: Deno.Signal = "SIGTERM"): void {
    const { signals } = builtin("node:os").constants;
    if (typeof signal !== "string" || !Object.hasOwn(signals, signal)) {
      throw new TypeError(`Invalid signal: expected a name such as "SIGTERM", got ${show(signal)}`);
    }
    if (this.#hasExited) return;
    this.#killError = undefined;
    this.#process.kill(signal as NodeJS.Signals);
    // Otherwise no second signal would be sent, and a child that handles the first one would count
    // as killed by it.
    Object.assign(this.#process, { killed: false, signalCode: null });
    const cause = this.#killError as Error | undefined;
    if (cause === undefined) return;
    const denied = new Deno.errors.PermissionDenied(cause.message, { cause });
    throw new ErrorContext("pair", null, `Cannot send ${signal} to process ${this.pid}`).fail(
      Object.assign(denied, { code: codeOf(cause) }),
      "the system does not let this user send it a signal",
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    const [stdin, ...outputs] = this.#streams;
    // Not awaited: a child that does not read blocks both.
    for (const stream of [this.conn, stdin]) stream?.closeWrite().catch(() => {});
    if (!await settlesWithin(this.status, this.#grace)) await this.#terminate();
    await Promise.all(outputs.map((output) => output && this.#closeUnread(output)));
    stdin?.close();
    this.conn.close();
  }

  async #terminate(): Promise<void> {
    try {
      this.kill("SIGTERM");
      if (await settlesWithin(this.status, this.#grace)) return;
      this.kill("SIGKILL");
      await settlesWithin(this.status, KILLED_MS);
    } catch (error) {
      // The child has become another user's, and is left running.
      if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    }
  }

  /** Closes an output of the child, which has ended, as soon as nothing reads it. */
  async #closeUnread(output: SocketConnection): Promise<void> {
    const ms = Math.min(Math.max(this.#grace, LEAST_REST_MS), LONGEST_REST_MS);
    for (let before = -1; output.readable.locked && output.bytesRead > before;) {
      before = output.bytesRead;
      if (await settlesWithin(output.ended, ms)) return;
    }
    output.close();
  }
}

/** Copies an output to one of this process's own until either ends. */
async function copy(
  output: SocketConnection,
  target: { write(data: Uint8Array): Promise<number> },
): Promise<void> {
  output.unref();
  try {
    for await (const chunk of output.readable) {
      for (let at = 0; at < chunk.length;) at += await target.write(chunk.subarray(at));
    }
  } catch {
    // One of the two has no reader any more.
  }
}
