/** Messages one way, one write each, with node:net. */

import { connect, counted, ended, listen, report, TASK, timed, writeMany } from "../_program.mjs";

if (TASK.role === "server") {
  await listen((socket) => {
    let rest = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let start = 0;
      while (bytes.length - start >= 4) {
        const length = bytes.readUInt32BE(start);
        if (bytes.length - start - 4 < length) break;
        const message = bytes.subarray(start + 4, start + 4 + length);
        counted.items++;
        counted.bytes += message.length;
        start += 4 + length;
      }
      rest = bytes.subarray(start);
    });
    socket.on("end", () => socket.end());
  });
  report();
} else {
  const message = Buffer.alloc(TASK.size);
  const seconds = await timed(async (items) => {
    const socket = await connect();
    await writeMany(socket, items, () => {
      const frame = Buffer.allocUnsafe(4 + message.length);
      frame.writeUInt32BE(message.length);
      message.copy(frame, 4);
      return frame;
    });
    socket.end();
    await ended(socket);
    counted.items += items;
    counted.bytes += items * message.length;
    socket.destroy();
  });
  report({ seconds });
}
