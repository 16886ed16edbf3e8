/** The same child as most people would write it: `node:net` on descriptor 3, with events. */

import net from "node:net";

const [what, total] = [Deno.args[0], Number(Deno.args[1])];
const socket = new net.Socket({ fd: 3, allowHalfOpen: true });
if (what === "echo") {
  socket.on("data", (chunk) => socket.write(chunk));
  socket.on("end", () => socket.end());
} else if (what === "send") {
  const buffer = new Uint8Array(256 * 1024);
  let sent = 0;
  const more = () => {
    while (sent < total) {
      sent += buffer.length;
      if (!socket.write(buffer)) return;
    }
    socket.end();
  };
  socket.on("drain", more);
  more();
} else {
  let received = 0;
  socket.on("data", (chunk) => received += chunk.length);
  socket.on("end", () => socket.end(String(received)));
}
