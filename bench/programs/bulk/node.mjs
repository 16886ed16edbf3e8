/** Many bytes one way with node:net. */

import { connect, counted, ended, listen, report, TASK, timed, writeMany } from "../_program.mjs";

if (TASK.role === "server") {
  await listen((socket, items) => {
    const total = items * TASK.size;
    let got = 0;
    socket.on("data", (chunk) => {
      got += chunk.length;
      counted.bytes += chunk.length;
      if (got >= total) socket.end();
    });
  });
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  const chunk = Buffer.alloc(TASK.size);
  const seconds = await timed(async (items) => {
    const socket = await connect();
    await writeMany(socket, items, () => chunk);
    await ended(socket);
    counted.items += items;
    counted.bytes += socket.bytesWritten;
    socket.destroy();
  });
  report({ seconds });
}
