/** HTTP servers that a claim protects, for its tests. */

import { createServer } from "node:http";

/** What a handler answers with, soon or later. */
export type Answer = () => string | Promise<string>;

/** HTTP servers that answer each request with a text. Each binds a path synchronously. */
export const HTTP_SERVERS: Record<string, (path: string, answer: Answer) => AsyncDisposable> = {
  "Deno.serve": (path, answer) =>
    Deno.serve({ path, onListen() {} }, async () => new Response(await answer())),
  "a node:http server": (path, answer) =>
    createServer(async (_request, response) => response.end(await answer())).listen(path),
};

/** Sends a request, and returns the body of the answer. */
export async function get(path: string): Promise<string> {
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  return await (await fetch("http://localhost/", { client })).text();
}
