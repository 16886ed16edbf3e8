/** The response of `fetch`, to the client by node:http. */

import type { ServerResponse } from "node:http";
import { show } from "../base/check.ts";

/** How many turns of microtasks a body that is in memory needs to end after its only chunk. */
const FEW = 5;

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
  let chunk = await reader?.read();
  const next = reader?.read();
  writeHead(answer, response);
  if (reader === undefined) return void response.end();
  if (await endsNow(next!)) {
    // Of an answer to HEAD, it is all that the client learns.
    if (!response.hasHeader("content-length")) {
      response.setHeader("content-length", chunk?.value?.length ?? 0);
    }
    return void response.end(chunk?.value);
  }
  for (let coming = next; chunk?.value !== undefined; coming = reader.read()) {
    if (response.destroyed) return;
    if (!response.write(chunk.value)) await takesMore(response);
    chunk = await coming;
  }
  response.end();
}

function writeHead({ status, statusText, headers }: Response, response: ServerResponse): void {
  response.statusCode = status;
  if (statusText !== "") response.statusMessage = statusText;
  for (const [name, value] of headers) response.appendHeader(name, value);
}

/** Reports whether a body ends, without a wait for anything but memory. */
async function endsNow(next: Promise<ReadableStreamReadResult<Uint8Array>>): Promise<boolean> {
  let ended = false;
  next.then(({ done }) => ended = done, () => {});
  for (let i = 0; i < FEW && !ended; i++) await undefined;
  return ended;
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
