/**
 * The client of the classic example. It sends a message and reads the echo, possibly in pieces.
 *
 * Terminal 1: deno run -RWN examples/echo_server.ts /tmp/echo.sock
 * Terminal 2: deno run -RWN examples/echo_client.ts /tmp/echo.sock
 */

import { connect } from "@uds/uds";

const path = Deno.args[0] ?? "./uds_socket";
const message = "This is the message. It will be repeated.";

console.log(`connecting to ${path}`);
const conn = await connect(path);
try {
  console.log(`sending "${message}"`);
  const sent = await conn.writeText(message);

  const buffer = new Uint8Array(16);
  for (let received = 0; received < sent;) {
    const count = await conn.read(buffer);
    if (count === null) {
      throw new Error("the server closed the connection before all bytes were back");
    }
    received += count;
    console.log(`received "${new TextDecoder().decode(buffer.subarray(0, count))}"`);
  }
} finally {
  console.log("closing socket");
  conn.close();
}
