/**
 * An HTTP server on a path that it has claimed.
 *
 * Terminal 1: deno run -RWN examples/http_server.ts /tmp/http.sock
 * Terminal 2: curl --unix-socket /tmp/http.sock http://localhost/hello
 */

import { claim } from "@uds/uds";
import { stopSignal } from "./shared/stop_signal.ts";

const signal = stopSignal();

await using path = await claim(Deno.args[0] ?? "./http.sock", { mode: 0o660 });
const server = await path.bind(() =>
  Deno.serve(
    { path: path.path, signal, onListen() {} },
    (request) => new Response(`${request.method} ${new URL(request.url).pathname}\n`),
  )
);
console.log(`listening on ${path.path}`);
await server.finished;
