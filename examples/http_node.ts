/**
 * A server of node:http with a restart without downtime: see http_deno.ts.
 *
 * Terminal 1: deno run -RWN examples/http_node.ts /tmp/http.sock "version 1"
 * Terminal 2: curl --unix-socket /tmp/http.sock http://localhost/
 * Terminal 3: deno run -RWN examples/http_node.ts /tmp/http.sock "version 2"
 */

import { claim, shutdownOnSignal } from "@uds/uds";
import { once } from "node:events";
import { createServer } from "node:http";

const version = Deno.args[1] ?? `process ${Deno.pid}`;
let isReplaced = false;

await using owned = await claim(Deno.args[0] ?? "./http.sock", {
  publish: "rename",
  existing: "replace",
  onReplaced: () => isReplaced = true,
});
const server = await owned.bind((path) =>
  createServer((_request, response) => {
    // The client then opens its next connection to the successor.
    if (isReplaced) response.setHeader("connection", "close");
    response.end(`${version}\n`);
  }).listen(path)
);
using _signals = shutdownOnSignal({ shutdown: () => owned.release() });
console.log(`listening on ${owned.path}`);
await once(server, "close");
