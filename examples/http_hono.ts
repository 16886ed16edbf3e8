/**
 * Hono with a restart without downtime: see http_deno.ts.
 *
 * Terminal 1: deno run -RWN examples/http_hono.ts /tmp/http.sock "version 1"
 * Terminal 2: curl --unix-socket /tmp/http.sock http://localhost/
 * Terminal 3: deno run -RWN examples/http_hono.ts /tmp/http.sock "version 2"
 */

import { claim, shutdownOnSignal } from "@uds/uds";
import { Hono } from "hono";

const version = Deno.args[1] ?? `process ${Deno.pid}`;
let isReplaced = false;

const app = new Hono();
app.use(async (context, next) => {
  await next();
  // The client then opens its next connection to the successor.
  if (isReplaced) context.header("connection", "close");
});
app.get("/", (context) => context.text(`${version}\n`));

await using owned = await claim(Deno.args[0] ?? "./http.sock", {
  publish: "rename",
  existing: "replace",
  onReplaced: () => isReplaced = true,
});
const server = await owned.bind((path) => Deno.serve({ path, onListen() {} }, app.fetch));
using _signals = shutdownOnSignal({ shutdown: () => owned.release() });
console.log(`listening on ${owned.path}`);
await server.finished;
