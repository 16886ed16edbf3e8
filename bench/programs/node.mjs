/** Messages and JSON lines one way, with node:net. The word is the work. */

import net from "node:net";
import readline from "node:readline";
import { recordOf } from "./_record.mjs";

const [role, work, path, ...numbers] = process.argv.slice(2);
const [size, warm, count] = numbers.map(Number);
const PASSES = [warm, count];
const counted = { items: 0, bytes: 0 };

/** Each work: the server's receiver of a socket, and the client's next message. */
const WORKS = {
  messages: {
    receive(socket) {
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
    },
    next() {
      const frame = Buffer.allocUnsafe(4 + size);
      frame.writeUInt32BE(size);
      this.message.copy(frame, 4);
      return frame;
    },
    message: Buffer.alloc(size),
  },
  json: {
    receive(socket) {
      let items = 0;
      readline.createInterface({ input: socket, crlfDelay: Infinity }).on("line", (line) => {
        const { id } = JSON.parse(line);
        if (id !== 1_000_000 + items % 1_000_000) throw new Error("out of order");
        items++;
      }).on("close", () => {
        counted.items += items;
        counted.bytes += socket.bytesRead;
        socket.end();
      });
    },
    next: (i) => JSON.stringify(recordOf(i)) + "\n",
  },
};

const { [work]: task } = WORKS;
let seconds;
if (role === "server") {
  let ended = 0;
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    task.receive(socket);
    socket.on("close", () => {
      if (++ended < PASSES.length) return;
      server.close();
      console.log(JSON.stringify(counted));
    });
  });
  server.listen(path, () => console.log("ready"));
} else {
  for (const items of PASSES) {
    const begin = performance.now();
    const socket = net.connect({ path, allowHalfOpen: true });
    await new Promise((resolve) => socket.once("connect", resolve));
    for (let i = 0; i < items; i++) {
      if (socket.write(task.next(i))) continue;
      await new Promise((resolve) => socket.once("drain", resolve));
    }
    socket.end();
    socket.resume();
    await new Promise((resolve) => socket.on("end", resolve));
    counted.items += items;
    counted.bytes += items * size;
    socket.destroy();
    seconds = (performance.now() - begin) / 1000;
  }
  console.log(JSON.stringify({ ...counted, seconds }));
}
