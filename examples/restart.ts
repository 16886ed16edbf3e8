/**
 * A restart without downtime. Each new start takes over the path from the previous one, which
 * serves its remaining clients and exits. No client is refused.
 *
 * Terminal 1: deno run -RWN examples/restart.ts /tmp/app.sock "version 1"
 * Terminal 2: deno run -RWN examples/restart.ts /tmp/app.sock "version 2"
 */

import { serve, shutdownOnSignal } from "@uds/uds";

const path = Deno.args[0] ?? "./app.sock";
const version = Deno.args[1] ?? `process ${Deno.pid}`;

let served = 0;
await using server = await serve({
  path,
  publish: "rename",
  existing: "replace",
  onReplaced: () => console.log(`${version} was replaced`),
}, async (conn) => {
  await conn.writeText(`${version}\n`);
  served++;
});
using _signals = shutdownOnSignal(server);
console.log(`${version} listens on ${path}`);
await server.finished;
console.log(`${version} served ${served} clients and exits`);
