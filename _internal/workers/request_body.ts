/** The body of a request, from node:http to `fetch`. */

import type { IncomingMessage } from "node:http";

/** The maximum number of bytes of a body that are dropped. Beyond it the connection ends. */
const MAX_DROPPED_BYTES = 16 * 1024 * 1024;

/**
 * The body of a request.
 *
 * - What is not read of it stays in the kernel while the answer is due.
 * - The next request follows it. So the rest is dropped when the stream is canceled, and after the
 *   answer if `fetch` has not begun to read. Otherwise `fetch` may read on after the answer.
 */
export class RequestBody {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>> | null;
  readonly #message: IncomingMessage;
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #isRead = false;
  #isDropped = false;

  constructor(message: IncomingMessage) {
    this.#message = message;
    this.stream = hasBody(message) ? this.#open() : null;
  }

  /** Drops it if nothing has begun to read it, because the answer was sent. */
  end(): void {
    if (this.#isRead || this.#message.complete) return;
    this.#controller?.error(new TypeError("The answer was sent before the body was read"));
    this.#drop();
  }

  #open(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const message = this.#message;
    message.pause();
    message.on("data", (chunk) => {
      if (this.#isDropped) return;
      message.pause();
      this.#controller!.enqueue(chunk);
    });
    message.on("end", () => {
      if (!this.#isDropped) this.#controller!.close();
    });
    message.on("error", (error) => this.#controller!.error(error));
    return new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => {
        this.#isRead = true;
        message.resume();
      },
      cancel: () => this.#drop(),
    }, { highWaterMark: 0 });
  }

  #drop(): void {
    this.#isRead = this.#isDropped = true;
    let dropped = 0;
    this.#message.on("data", (chunk) => {
      dropped += chunk.length;
      if (dropped > MAX_DROPPED_BYTES) this.#message.destroy();
    });
    this.#message.resume();
  }
}

/** Reports whether `fetch` gets the body of a request. For others a `Request` has none. */
function hasBody({ method, headers }: IncomingMessage): boolean {
  const isEmpty = headers["transfer-encoding"] === undefined &&
    (headers["content-length"] ?? "0") === "0";
  return !isEmpty && method !== "GET" && method !== "HEAD";
}
