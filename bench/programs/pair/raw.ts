/** The same child without the library: node:child_process and node:net, with events. */

import { spawn } from "node:child_process";
import net, { type Socket } from "node:net";
import { type End, run } from "./_pair.ts";

function endOf(socket: Socket, ended?: Promise<unknown>): End {
  return {
    read: (total) =>
      new Promise((resolve) => {
        let got = 0;
        const onData = (chunk: Uint8Array) => {
          got += chunk.length;
          if (got < total) return;
          socket.off("data", onData);
          resolve(got);
        };
        socket.on("data", onData);
      }),
    write: (data) => void socket.write(data),
    writeMany: (items, item) =>
      new Promise((resolve) => {
        let sent = 0;
        const more = () => {
          while (sent < items) {
            sent++;
            if (!socket.write(item)) return void socket.once("drain", more);
          }
          resolve();
        };
        more();
      }),
    echo: () =>
      new Promise((resolve) => {
        socket.on("data", (chunk) => socket.write(chunk));
        socket.on("end", resolve);
      }),
    close() {
      socket[ended === undefined ? "end" : "destroy"]();
      return ended;
    },
  };
}

await run(import.meta.url, (args) => {
  const child = spawn(Deno.execPath(), args, { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const socket = (child.stdio as unknown as Socket[])[3] as Socket;
  socket.allowHalfOpen = true;
  return endOf(socket, new Promise((resolve) => child.on("exit", resolve)));
}, () => {
  const socket = new net.Socket({ fd: 3, allowHalfOpen: true });
  return endOf(socket);
});
