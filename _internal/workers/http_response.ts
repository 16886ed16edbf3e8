/** The response of `fetch`, to the client by node:http. */

import type { ServerResponse } from "node:http";
import { show } from "../base/check.ts";
import { handled } from "../base/rejection.ts";

/** How many microtasks a read of a body that is in memory takes at most. */
const FEW = 10;

/** Headers of `fetch` that are not sent: node:http decides on them, or fails with them. */
const DROPPED_HEADERS = new Set(["keep-alive", "trailer", "transfer-encoding"]);

/** Answers without `fetch`, or instead of a response of `fetch` that cannot be sent. */
export function refuse(response: ServerResponse, status: number, text: string): void {
  // A header that cannot be sent comes behind others.
  for (const name of response.getHeaderNames()) {
    if (name !== "connection") response.removeHeader(name);
  }
  response.statusMessage = "";
  const headers = { "content-type": "text/plain", "content-length": text.length };
  response.writeHead(status, headers).end(text);
}

/**
 * Sends a response. Resolves when node:http has all of it. Cancels its body if the client leaves.
 *
 * @param left Aborts when the client leaves, which may be before this call.
 * @throws {unknown} What its body throws. If the first chunk fails, no head was sent.
 */
export async function send(
  answer: Response,
  response: ServerResponse,
  left: AbortSignal,
): Promise<void> {
  if (!(answer instanceof Response)) {
    throw new TypeError(`"fetch" must return a Response, got ${show(answer)}`);
  }
  if (answer.type === "error") throw new TypeError(`"fetch" has returned Response.error()`);
  if (answer.status === 101) {
    throw new TypeError(`"fetch" has returned status 101: a worker does not upgrade connections`);
  }
  if (answer.bodyUsed) throw new TypeError(`The body of the response of "fetch" was read before`);
  const reader = answer.body?.getReader();
  const cancel = () => reader?.cancel().catch(() => {});
  if (left.aborted) return void cancel();
  // Cancelling does nothing if all of it was read.
  response.on("close", cancel);
  if (reader === undefined) {
    setHead(answer, response);
    return void response.end();
  }
  let next = handled(reader.read());
  const first = checked(await soon(next));
  if (first?.done === false) next = handled(reader.read());
  const last = first?.done === false ? await soon(next) : first;
  if (last?.done) {
    setHead(answer, response, first?.value?.length ?? 0);
    return void response.end(first?.value);
  }
  setHead(answer, response);
  response.flushHeaders();
  if (response.req.method === "HEAD") return void response.end();
  // Otherwise a body of another length would shift the next response.
  response.strictContentLength = true;
  if (first?.done === false && !response.write(first.value)) await takesMore(response);
  for (let chunk = checked(await next); !chunk.done; chunk = checked(await reader.read())) {
    if (!response.write(chunk.value)) await takesMore(response);
  }
  response.end();
}

/** Returns what a read of a body has resolved to. Throws unless that is bytes, or the end. */
function checked<T extends ReadableStreamReadResult<unknown> | undefined>(chunk: T): T {
  if (chunk === undefined || chunk.done || chunk.value instanceof Uint8Array) return chunk;
  throw new TypeError(
    `The body of the response of "fetch" must consist of Uint8Array, got ${show(chunk.value)}`,
  );
}

/**
 * Sets the status and the headers. The content-length is that of the body, if it is known. An
 * answer to HEAD, and a 304, keep that of `fetch`: they have no body.
 *
 * @param length The length of the body, if it is known.
 */
function setHead(
  { status, statusText, headers, body }: Response,
  response: ServerResponse,
  length?: number,
): void {
  const hasBody = response.req.method !== "HEAD" && status !== 304;
  const isUnknown = body !== null && length === undefined;
  response.statusCode = status;
  if (statusText !== "") response.statusMessage = statusText;
  for (const [name, value] of headers) {
    if (DROPPED_HEADERS.has(name)) continue;
    if (name === "content-length" && (hasBody && !isUnknown || !/^\d+$/.test(value))) continue;
    if (name !== "connection") response.appendHeader(name, value);
    else if (/\bclose\b/i.test(value)) response.setHeader(name, "close");
  }
  if (length !== undefined && !response.hasHeader("content-length")) {
    response.setHeader("content-length", length);
  }
}

/** Returns the result of a promise, unless it waits for more than memory. */
async function soon<T>(promise: Promise<T>): Promise<T | undefined> {
  let isSettled = false;
  const settle = () => isSettled = true;
  promise.then(settle, settle);
  for (let i = 0; i < FEW && !isSettled; i++) await undefined;
  return isSettled ? await promise : undefined;
}

/** Resolves when the client has read enough, or has left. */
function takesMore(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      response.off("drain", settle).off("close", settle);
      resolve();
    };
    response.on("drain", settle).on("close", settle);
  });
}
