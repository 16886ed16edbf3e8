/** A child of Node's `fork` with its IPC, serialized with `advanced`, which supports bytes. */

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CHILD_ARGS, drive, PASSES, SIGNAL_SIZE, TASK } from "./_parent.mjs";

const item = Buffer.alloc(TASK.size);

/** Returns a channel over a ChildProcess or over this process, which have the same methods. */
function channel(end) {
  const read = (total) =>
    new Promise((resolve) => {
      let got = 0;
      const onMessage = (message) => {
        got += message.length;
        if (got < total) return;
        end.off("message", onMessage);
        resolve(got);
      };
      end.on("message", onMessage);
    });
  const write = (data) => new Promise((resolve) => end.send(data, resolve));
  const writeMany = async (items) => {
    for (let i = 0; i < items; i++) await write(item);
  };
  return { read, write, writeMany };
}

if (TASK.role === "parent") {
  await drive(() => {
    const child = fork(fileURLToPath(import.meta.url), CHILD_ARGS, { serialization: "advanced" });
    const { read, write, writeMany } = channel(child);
    return {
      trip() {
        const reply = read(TASK.size);
        write(item);
        return reply;
      },
      down(total) {
        const bytes = read(total);
        write(Buffer.alloc(SIGNAL_SIZE));
        return bytes;
      },
      async up(items) {
        const answer = read(SIGNAL_SIZE);
        await writeMany(items);
        await answer;
        return items * TASK.size;
      },
      end() {
        const exited = new Promise((resolve) => child.on("exit", resolve));
        child.disconnect();
        return exited;
      },
    };
  });
} else {
  const { read, write, writeMany } = channel(process);
  if (TASK.what === "down") {
    for (const items of PASSES) {
      await read(SIGNAL_SIZE);
      await writeMany(items);
    }
  } else if (TASK.what === "up") {
    for (const items of PASSES) {
      await read(items * TASK.size);
      await write(Buffer.alloc(SIGNAL_SIZE));
    }
  } else {
    process.on("message", (message) => process.send(message));
  }
}
