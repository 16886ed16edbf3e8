/**
 * Deno.serve with a restart without downtime. Each new start takes over the path from the previous
 * one, which serves its remaining clients and exits. No client is refused.
 *
 * Terminal 1: deno run -RWN examples/http_deno.ts /tmp/http.sock "version 1"
 * Terminal 2: curl --unix-socket /tmp/http.sock http://localhost/
 * Terminal 3: deno run -RWN examples/http_deno.ts /tmp/http.sock "version 2"
 */

import { claim, shutdownOnSignal } from "@uds/uds";

const version = Deno.args[1] ?? `process ${Deno.pid}`;
let isReplaced = false;

await using owned = await claim(Deno.args[0] ?? "./http.sock", {
  publish: "rename",
  existing: "replace",
  onReplaced: () => isReplaced = true,
});
const server = await owned.bind((path) =>
  Deno.serve({ path, onListen() {} }, () => {
    const response = new Response(`${version}\n`);
    // The client then opens its next connection to the successor.
    if (isReplaced) response.headers.set("connection", "close");
    return response;
  })
);
using _signals = shutdownOnSignal({ shutdown: () => owned.release() });
console.log(`listening on ${owned.path}`);
await server.finished;
