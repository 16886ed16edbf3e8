/** The response of `fetch`, to the client by node:http. */

import type { ServerResponse } from "node:http";
import { show } from "../base/check.ts";
import { handled } from "../base/rejection.ts";

/** How many microtasks a read of a body that is in memory takes at most. */
const FEW = 10;

/** Answers without `fetch`. */
export function refuse(response: ServerResponse, status: number, text: string): void {
  const headers = { "content-type": "text/plain", "content-length": text.length };
  response.writeHead(status, { ...headers, connection: "close" }).end(text);
}

/**
 * Sends a response. Resolves when node:http has all of it, and cancels its body if the client
 * leaves.
 *
 * @throws {unknown} what its body throws.
 */
export async function send(answer: Response, response: ServerResponse): Promise<void> {
  if (!(answer instanceof Response)) {
    throw new TypeError(`"fetch" must return a Response, got ${show(answer)}`);
  }
  if (answer.type === "error") throw new TypeError(`"fetch" has returned Response.error()`);
  if (answer.bodyUsed) throw new TypeError(`The body of the response of "fetch" was read before`);
  const reader = answer.body?.getReader();
  response.on("close", () => {
    if (!response.writableFinished) reader?.cancel().catch(() => {});
  });
  writeHead(answer, response);
  if (reader === undefined) return void response.end();
  let next = handled(reader.read());
  const first = await soon(next);
  if (first?.done === false) next = handled(reader.read());
  const last = first?.done === false ? await soon(next) : first;
  if (last?.done) {
    // Of an answer to HEAD, it is all that the client learns.
    if (!response.hasHeader("content-length")) {
      response.setHeader("content-length", first?.value?.length ?? 0);
    }
    return void response.end(first?.value);
  }
  response.flushHeaders();
  if (response.req.method === "HEAD") {
    response.end();
    return await reader.cancel();
  }
  if (first?.done === false && !response.write(first.value)) await takesMore(response);
  for (let chunk = await next; !chunk.done; chunk = await reader.read()) {
    if (!response.write(chunk.value)) await takesMore(response);
  }
  response.end();
}

function writeHead({ status, statusText, headers }: Response, response: ServerResponse): void {
  response.statusCode = status;
  if (statusText !== "") response.statusMessage = statusText;
  for (const [name, value] of headers) response.appendHeader(name, value);
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
