/** A small message there and back with node:net. */

import { connect, counted, listen, report, TASK, timed } from "../_program.mjs";

if (TASK.role === "server") {
  await listen((socket) => {
    socket.on("data", (chunk) => {
      socket.write(chunk);
      counted.bytes += chunk.length;
    });
    socket.on("end", () => socket.end());
  });
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  const message = Buffer.alloc(TASK.size);
  const seconds = await timed(async (items) => {
    const socket = await connect();
    await new Promise((resolve) => {
      let got = 0;
      let trips = 0;
      socket.on("data", (chunk) => {
        got += chunk.length;
        if (got < TASK.size) return;
        counted.items++;
        counted.bytes += got;
        got = 0;
        if (++trips < items) socket.write(message);
        else resolve();
      });
      socket.write(message);
    });
    socket.destroy();
  });
  report({ seconds });
}
