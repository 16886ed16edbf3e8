/**
 * The classic example: a server that sends back what it receives, one client after another.
 *
 * Terminal 1: deno run -RWN examples/echo_server.ts /tmp/echo.sock
 * Terminal 2: deno run -RWN examples/echo_client.ts /tmp/echo.sock
 */

import { listen, shutdownOnSignal } from "@uds/uds";

const path = Deno.args[0] ?? "./uds_socket";

await using listener = await listen(path);
// At the first signal the listener closes. The current client can still finish.
using _signals = shutdownOnSignal({ shutdown: () => listener.close() });
console.log(`starting up on ${listener.addr.path}`);

console.log("waiting for a connection");
for await (const conn of listener) {
  await using client = conn;
  const name = client.remoteAddr.path ?? "an unnamed client";
  console.log(`connection from ${name}`);
  const buffer = new Uint8Array(16);
  for (;;) {
    const count = await client.read(buffer);
    if (count === null) break;
    const data = buffer.subarray(0, count);
    console.log(`received ${JSON.stringify(new TextDecoder().decode(data))}`);
    console.log("sending data back to the client");
    await client.write(data);
  }
  console.log(`no more data from ${name}`);
  console.log("waiting for a connection");
}
