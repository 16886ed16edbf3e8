/**
 * An HTTP server on a path that it has claimed.
 *
 * Terminal 1: deno run -RWN examples/http_server.ts /tmp/http.sock
 * Terminal 2: curl --unix-socket /tmp/http.sock http://localhost/hello
 */

import { claim, shutdownOnSignal } from "@uds/uds";

await using owned = await claim(Deno.args[0] ?? "./http.sock", { mode: 0o660 });
const server = await owned.bind((path) =>
  Deno.serve(
    { path, onListen() {} },
    (request) => new Response(`${request.method} ${new URL(request.url).pathname}\n`),
  )
);
using _signals = shutdownOnSignal(server);
console.log(`listening on ${owned.path}`);
await server.finished;
