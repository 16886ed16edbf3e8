/** JSON lines one way with node:net and node:readline. */

import readline from "node:readline";
import { connect, counted, ended, listen, report, TASK, timed, writeMany } from "../_program.mjs";
import { recordOf } from "./_record.mjs";

if (TASK.role === "server") {
  await listen((socket) => {
    let items = 0;
    readline.createInterface({ input: socket, crlfDelay: Infinity }).on("line", (line) => {
      const record = JSON.parse(line);
      if (record.id !== 1_000_000 + items % 1_000_000) throw new Error("out of order");
      items++;
    }).on("close", () => {
      counted.items += items;
      counted.bytes += socket.bytesRead;
      socket.end();
    });
  });
  report();
} else {
  const seconds = await timed(async (items) => {
    const socket = await connect();
    await writeMany(socket, items, (sent) => JSON.stringify(recordOf(sent - 1)) + "\n");
    socket.end();
    await ended(socket);
    counted.items += items;
    counted.bytes += socket.bytesWritten;
    socket.destroy();
  });
  report({ seconds });
}
