/** The same child without the library: node:child_process and node:net, with events. */

import { spawn } from "node:child_process";
import net, { type Socket } from "node:net";
import { fromFileUrl } from "@std/path/posix";
import { denoArgs } from "./_child.ts";
import { CHILD_ARGS, drive, PASSES, SIGNAL_SIZE, TASK } from "./_parent.mjs";

const item = new Uint8Array(TASK.size);

/** Reads `total` bytes with events. */
function read(socket: Socket, total: number): Promise<number> {
  return new Promise((resolve) => {
    let got = 0;
    const onData = (chunk: Uint8Array) => {
      got += chunk.length;
      if (got < total) return;
      socket.off("data", onData);
      resolve(got);
    };
    socket.on("data", onData);
  });
}

/** Writes `items` items, as fast as the socket takes them. */
function writeMany(socket: Socket, items: number): Promise<void> {
  return new Promise((resolve) => {
    let sent = 0;
    const more = () => {
      while (sent < items) {
        sent++;
        if (!socket.write(item)) return void socket.once("drain", more);
      }
      resolve();
    };
    more();
  });
}

if (TASK.role === "parent") {
  await drive(() => {
    const args = denoArgs(fromFileUrl(import.meta.url), CHILD_ARGS);
    const child = spawn(Deno.execPath(), args, { stdio: ["ignore", "inherit", "inherit", "pipe"] });
    const socket = (child.stdio as unknown as Socket[])[3] as Socket;
    socket.allowHalfOpen = true;
    const exited = new Promise((resolve) => child.on("exit", resolve));
    return {
      trip() {
        const reply = read(socket, TASK.size);
        socket.write(item);
        return reply;
      },
      down(total: number) {
        const bytes = read(socket, total);
        socket.write(new Uint8Array(SIGNAL_SIZE));
        return bytes;
      },
      async up(items: number) {
        const answer = read(socket, SIGNAL_SIZE);
        await writeMany(socket, items);
        await answer;
        return items * TASK.size;
      },
      async end() {
        socket.destroy();
        await exited;
      },
    };
  });
} else {
  const socket = new net.Socket({ fd: 3, allowHalfOpen: true });
  if (TASK.what === "down") {
    for (const items of PASSES) {
      await read(socket, SIGNAL_SIZE);
      await writeMany(socket, items);
    }
  } else if (TASK.what === "up") {
    for (const items of PASSES) {
      if (await read(socket, items * TASK.size) !== items * TASK.size) throw new Error("too much");
      socket.write(new Uint8Array(SIGNAL_SIZE));
    }
  } else {
    socket.on("data", (chunk) => socket.write(chunk));
  }
  socket.on("end", () => socket.end());
  socket.resume();
}
