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
  const { method = "GET", url = "/", rawHeaders } = message;
  const pairs: [string, string][] = [];
  const hosts: string[] = [];
  const cookies: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    const value = rawHeaders[i + 1]!;
    if (name === "cookie") cookies.push(value);
    else pairs.push([name, value]);
    if (name === "host") hosts.push(value);
  }
  // Semicolons join cookies (RFC 6265): a comma would be part of a value.
  if (cookies.length > 0) pairs.push(["cookie", cookies.join("; ")]);
  // With an empty host, the URL would take the first segment of the path as its host.
  const host = hosts[0] || "localhost";
  if (hosts.length > 1 || NOT_IN_HOST.test(host)) return "The host is not valid\n";
  // The client of a proxy sends the whole URL.
  const whole = url.startsWith("/") ? `http://${host}${url}` : url;
  if (!/^https?:\/\//i.test(whole) || !URL.canParse(whole)) return "The URL is not valid\n";
  try {
    return new Request(whole, { method, headers: pairs, body, signal });
  } catch (error) {
    return `${(error as Error).message}\n`;
  }
}
