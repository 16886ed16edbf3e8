/**
 * HTTP on the connections of a worker, for a module that exports `fetch`. In the sandbox nothing
 * but node:http speaks it: `Deno.serve` takes an address only.
 *
 * ```text
 * idle ──request──▶ body ──complete──▶ answering ──sent──▶ idle
 *   └── silent, or draining ──▶ closed ◀── the client has left ── any
 * ```
 *
 * - Bytes that come while an answer is due wait until it is sent. Requests that have come together
 *   are answered in their order.
 * - While an answer is due, up to 64 KiB are read ahead. The end of file means that the client has
 *   left, as for `Deno.serve`, unless all answers are complete. Beyond 64 KiB the client waits, and
 *   the end of file is not seen.
 * - The timeouts count the silence of a client that is idle or sends a body, not the answer.
 */

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Connection } from "../../connection.ts";
import { onAbort } from "../base/event_loop.ts";
import { builtin } from "../base/node.ts";
import { readBuffer } from "../base/read_buffer.ts";
import { SilenceTimer } from "../base/silence.ts";
import { concat } from "../connection/input.ts";
import type { Timeouts } from "../connection/socket_connection.ts";
import type { ServeHandler, ServeHandlerInfo } from "../server/serving.ts";
import { requestOf } from "./http_request.ts";
import { refuse, send } from "./http_response.ts";
import { RequestBody } from "./request_body.ts";

/** What `fetch` of a module is called with. */
export type FetchInfo = ServeHandlerInfo & Deno.ServeHandlerInfo;

/** A module's handler of requests. */
export type Fetch = (request: Request, info: FetchInfo) => Response | Promise<Response>;

/** How requests are served. */
interface HttpOptions {
  readonly fetch: Fetch;
  /** How long a client may be silent. */
  readonly timeouts: Timeouts;
  /** Called with each failure of `fetch`, and of the body of its response. */
  readonly report: (error: unknown) => void;
}

/** How long a kept connection without a request stays open in a worker that drains. */
const KEPT_MS = 1000;

/** The size of the memory that reads fill one after the other, and the least for one of them. */
const BUFFER_SIZE = 32 * 1024;
const MIN_READ_SIZE = 4 * 1024;

/** The maximum number of bytes that wait for an answer: as many as `closed` reads ahead. */
const MAX_HELD_BYTES = 64 * 1024;

const NO_UPGRADE = "A worker does not upgrade connections. Serve WebSockets with Deno.serve()\n";

/** Returns a handler of connections that answers their requests. */
export function httpHandler(options: HttpOptions): ServeHandler {
  const connections = new WeakMap<object, HttpConnection>();
  // The timeouts are ours.
  const settings = { keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 };
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    connections.get(request.socket)!.answer(request, response);
  };
  const server: Server = builtin("node:http").createServer(settings, answer);
  // Otherwise node:http drops headers beyond the first thousand. Their size is limited.
  server.maxHeadersCount = 0;
  // Otherwise it writes this behind the head of an answer that waits for its turn.
  server.on("checkContinue", (request, response) => {
    const proceed = (socket: Duplex) => socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    if (response.socket === null) response.on("socket", proceed);
    else proceed(response.socket);
    answer(request, response);
  });
  // Otherwise it answers an unknown expectation itself, and reads nothing after it.
  server.on("checkExpectation", answer);
  // Otherwise it closes each connection after its first answer.
  Object.defineProperty(server, "listening", { value: true });
  return async (conn, info) => {
    const connection = new HttpConnection(conn, info, options);
    connections.set(connection.stream, connection);
    server.emit("connection", connection.stream);
    await connection.closed;
  };
}

/** A connection that requests come from. */
class HttpConnection {
  /** The connection, for node:http. */
  readonly stream: Duplex;
  /** Resolves when it has closed. */
  readonly closed: Promise<void>;
  readonly #conn: Connection;
  readonly #info: ServeHandlerInfo;
  readonly #options: HttpOptions;
  readonly #silence: SilenceTimer = new SilenceTimer(() => {
    if (this.#isAwaited) this.stream.destroy();
  });
  /** How long the client may be silent now. */
  #limitMs: number;
  /** The answers that are due. */
  readonly #due: Set<ServerResponse> = new Set();
  /** The last request. */
  #last: IncomingMessage | undefined;
  /** Bytes that node:http does not have yet. */
  #held: Uint8Array = new Uint8Array(0);
  /** Where the next read puts its bytes: behind those that are held. */
  #memory: Uint8Array = new Uint8Array(0);
  #isReading = false;
  /** Whether node:http waits for bytes. */
  #isWanted = false;
  /** Whether it ends without a further request. */
  #isEnding = false;

  constructor(conn: Connection, info: ServeHandlerInfo, options: HttpOptions) {
    this.#conn = conn;
    this.#info = info;
    this.#options = options;
    const { idleTimeout = Infinity, firstByteTimeout = idleTimeout } = options.timeouts;
    this.#limitMs = firstByteTimeout;
    this.stream = new (builtin("node:stream").Duplex)({
      read: () => {
        this.#isWanted = true;
        this.#advance();
      },
      write: (chunk: Uint8Array, _encoding, done) => this.#write(chunk, done),
      // In one call of the system.
      writev: (chunks, done) => this.#write(concat(chunks.map(({ chunk }) => chunk)), done),
      destroy(error, done) {
        conn.close();
        done(error);
      },
    });
    // The client may still send the body of a request that was answered.
    this.stream.on("finish", () => this.stream.destroy());
    // node:http answers a request that is not valid. Other failures are those of the client.
    this.stream.on("error", () => {});
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onAbort(info.draining, () => timer = setTimeout(() => this.#end(), KEPT_MS));
    this.closed = new Promise((resolve) => {
      this.stream.on("close", () => {
        stop();
        clearTimeout(timer);
        this.#silence.stop();
        // node:http emits `close` for the first one only.
        for (const response of this.#due) response.emit("close");
        resolve();
      });
    });
  }

  /** Answers a request. */
  async answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#due.add(response);
    this.#last = message;
    const { draining, signal } = this.#info;
    const left = new AbortController();
    const { promise: completed, resolve, reject } = Promise.withResolvers<void>();
    completed.catch(() => {});
    response.on("close", () => {
      if (!this.#due.delete(response)) return;
      if (response.writableFinished) resolve();
      else {
        const error = new Deno.errors.Interrupted("The client has left before it had the response");
        left.abort(error);
        reject(error);
      }
      body.end();
      // Deno's node:http stops reading while many bytes of answers wait. Only `drain` resumes it,
      // and small writes do not cause one.
      if (this.stream.isPaused()) this.stream.emit("drain");
      if (this.#due.size === 0) this.#next();
    });
    const body = new RequestBody(message);
    try {
      const request = requestOf(message, body.stream, left.signal);
      const { upgrade } = message.headers;
      // node:http of Deno drops what has come together with such a request.
      if (upgrade !== undefined) response.setHeader("connection", "close");
      if (typeof request === "string") return this.#refuse(response, 400, request);
      if (upgrade?.toLowerCase() === "websocket") return this.#refuse(response, 501, NO_UPGRADE);
      const remoteAddr = this.#conn.remoteAddr as Deno.UnixAddr;
      const info = { remoteAddr, completed, draining, signal };
      const answer = await this.#options.fetch(request, info);
      this.#announceEnd(response);
      await send(answer, response, left.signal);
    } catch (error) {
      if (left.signal.aborted) return;
      this.#options.report(error);
      if (response.headersSent) return void this.stream.destroy();
      this.#refuse(response, 500, "Internal Server Error");
    }
  }

  #refuse(response: ServerResponse, status: number, text: string): void {
    this.#announceEnd(response);
    refuse(response, status, text);
  }

  /** Ends the connection after an answer, if it is the last one and this worker drains. */
  #announceEnd(response: ServerResponse): void {
    const isLast = this.#info.draining.aborted && response.req === this.#last;
    if (isLast) response.setHeader("connection", "close");
  }

  /** Whether the client has nothing to send. */
  get #isAnswering(): boolean {
    return this.#due.size > 0 && this.#last?.complete === true;
  }

  /**
   * Whether the client may not be silent for long. While `fetch` does not read a body, it may,
   * unless a read was already pending.
   */
  get #isAwaited(): boolean {
    return this.#due.size === 0 || this.#isReading && !this.#isAnswering;
  }

  /** Passes on the bytes that are held, unless an answer is due. Reads more. */
  #advance(): void {
    if (this.#isWanted && !this.#isAnswering && this.#held.length > 0) {
      const bytes = this.#held;
      this.#held = bytes.subarray(bytes.length);
      this.#isWanted = false;
      this.stream.push(bytes);
    }
    if (this.stream.destroyed) return;
    if (this.#isWanted && !this.#isReading) this.#read();
    if (this.#isAwaited) this.#silence.start(this.#limitMs);
  }

  #read(): void {
    const held = this.#held;
    if (held.length === MAX_HELD_BYTES) return;
    if (this.#memory.length < MIN_READ_SIZE) {
      const memory = readBuffer(held.length + BUFFER_SIZE);
      memory.set(held);
      this.#held = memory.subarray(0, held.length);
      this.#memory = memory.subarray(held.length);
    }
    const room = this.#memory.subarray(0, MAX_HELD_BYTES - held.length);
    this.#isReading = true;
    this.#conn.read(room).then((count) => {
      this.#isReading = false;
      this.#silence.stop();
      if (count === null) return this.#reachEnd();
      this.#limitMs = this.#options.timeouts.idleTimeout ?? Infinity;
      this.#hold(count);
      this.#advance();
    }, (error) => this.stream.destroy(error));
  }

  #write(bytes: Uint8Array, done: () => void): void {
    // An error passed to `done` would end the answers as if they were sent, before it closes.
    this.#conn.write(bytes).then(() => done(), (error) => this.stream.destroy(error));
  }

  /** Holds bytes at the start of the memory, behind those that are held. */
  #hold(count: number): void {
    const held = this.#held.length;
    const { buffer, byteOffset } = this.#memory;
    this.#held = new Uint8Array(buffer, byteOffset - held, held + count);
    this.#memory = this.#memory.subarray(count);
  }

  /**
   * Handles the client's end of file. Closes the connection unless all answers that are due are
   * complete. After them, the next read ends here again.
   */
  #reachEnd(): void {
    const isComplete = this.#isAnswering && [...this.#due].every((answer) => answer.writableEnded);
    if (!isComplete) this.stream.destroy();
  }

  /** Begins to wait for the next request, because all answers were sent. */
  #next(): void {
    if (this.#isEnding) this.stream.destroy();
    else this.#advance();
  }

  /** Ends it, after its requests. */
  #end(): void {
    this.#isEnding = true;
    if (this.#due.size === 0) this.stream.destroy();
  }
}
