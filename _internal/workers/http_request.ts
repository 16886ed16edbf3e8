/** The request of a client, from node:http to `fetch`. */

import type { IncomingMessage } from "node:http";

/** What may not be in the host of a request: it would end the host in its URL. */
const NOT_IN_HOST = /[/?#@\\\s]/;

/** Returns a request, or what is wrong with it. */
export function requestOf(
  message: IncomingMessage,
  body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
  signal: AbortSignal,
): Request | string {
  const { method = "GET", url = "/", headers, rawHeaders } = message;
  const host = headers.host ?? "localhost";
  if (NOT_IN_HOST.test(host)) return "The host is not valid\n";
  // The client of a proxy sends the whole URL.
  const whole = url.startsWith("/") ? `http://${host}${url}` : url;
  if (!/^https?:\/\//i.test(whole) || !URL.canParse(whole)) return "The URL is not valid\n";
  const pairs: [string, string][] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) pairs.push([rawHeaders[i]!, rawHeaders[i + 1]!]);
  try {
    return new Request(whole, { method, headers: pairs, body, signal });
  } catch (error) {
    return `${(error as Error).message}\n`;
  }
}
