/**
 * What `pair()` returns: a child process, from its start to its end.
 *
 * - It ends by itself when it sees the end of file; by SIGTERM where it takes too long, and by SIGKILL where
 *   that does not help either.
 * - Its outputs are closed after it, as soon as nobody is reading them any more.
 */

import { type ChildProcess, KILLED_MS } from "./process.ts";
import { show } from "../base/check.ts";
import { heardWithin } from "../base/silence.ts";
import type { SocketConnection } from "../connection/socket_connection.ts";

/** The options of `pair()` that concern a child that runs. */
export interface PairedChildOptions {
  grace?: number;
  signal?: AbortSignal;
  stdout?: unknown;
  stderr?: unknown;
}

/** How long a child's output may rest before it counts as read by nobody: at least, at most. */
const RESTING_MS = [100, 2000] as const;

/** A child and the connection to it, until it has ended. */
export class PairedChild {
  readonly #child: ChildProcess;
  readonly #grace: number;
  /** The outputs that are copied to this process's own: not the user's. */
  readonly #copied = new Set<SocketConnection>();
  #ended: Promise<void> | undefined;

  constructor(child: ChildProcess, options: PairedChildOptions, isModule: boolean) {
    const { grace, signal } = options;
    this.#child = child;
    this.#grace = grace ?? 2000;
    if (isModule) {
      const [, stdout, stderr] = child.streams;
      if (stdout && options.stdout === undefined) this.#copy(stdout, Deno.stdout);
      if (stderr && options.stderr === undefined) this.#copy(stderr, Deno.stderr);
    }
    const abort = () => void this.#terminate();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    child.status.then(() => signal?.removeEventListener("abort", abort));
  }

  get conn(): SocketConnection {
    return this.#child.conn;
  }

  get pid(): number {
    return this.#child.pid;
  }

  get status(): Promise<Deno.CommandStatus> {
    return this.#child.status;
  }

  get stdin(): WritableStream<Uint8Array> {
    return this.#stream(0, "stdin").writable;
  }

  get stdout(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#stream(1, "stdout").readable;
  }

  get stderr(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#stream(2, "stderr").readable;
  }

  kill(signal: Deno.Signal = "SIGTERM"): void {
    if (typeof signal !== "string") {
      throw new TypeError(`Invalid signal: expected a name such as "SIGTERM", got ${show(signal)}`);
    }
    this.#child.kill(signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  #stream(index: number, name: string): SocketConnection {
    const stream = this.#child.streams[index];
    if (stream === undefined || this.#copied.has(stream)) {
      throw new TypeError(`Cannot get ${name}: it is not piped. Pass ${name}: "piped" to pair()`);
    }
    return stream;
  }

  async #end(): Promise<void> {
    const { conn, streams } = this.#child;
    // Not waited for: a child that does not read holds both back for ever.
    for (const stream of [conn, streams[0]]) stream?.closeWrite().catch(() => {});
    if (!await this.#child.endsWithin(this.#grace)) await this.#terminate();
    const [stdin, ...outputs] = streams;
    await Promise.all(outputs.map((output) => output && this.#leave(output)));
    stdin?.close();
    conn.close();
  }

  async #terminate(): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
      if (await this.#child.endsWithin(this.#grace)) return;
      this.#child.kill("SIGKILL");
      await this.#child.endsWithin(KILLED_MS);
    } catch (error) {
      // It has become another user's: what remains is to leave it alone.
      if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    }
  }

  /**
   * Copies an output of a module's to one of ours. It does not get that one itself: it could read from it,
   * if it is a terminal or a socket, and shut it down.
   */
  async #copy(output: SocketConnection, target: { write(data: Uint8Array): Promise<number> }) {
    this.#copied.add(output);
    output.unref();
    try {
      for await (const chunk of output.readable) {
        for (let at = 0; at < chunk.length;) at += await target.write(chunk.subarray(at));
      }
    } catch {
      // Nobody is left to read it, here or there.
    }
  }

  /** Closes an output of the child, which has ended, as soon as nobody is reading it. */
  async #leave(output: SocketConnection): Promise<void> {
    const [least, most] = RESTING_MS;
    for (let before = -1; output.readable.locked && output.bytesRead > before;) {
      before = output.bytesRead;
      const ended = new AbortController();
      output.closed.then(() => ended.abort());
      const ms = Math.min(Math.max(this.#grace, least), most);
      if (await heardWithin(ms, ended.signal)) return;
    }
    output.close();
  }
}
