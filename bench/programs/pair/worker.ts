/** A `Worker` in the same process instead of a child, with `postMessage`, which copies. */

import { CHILD_ARGS, drive, SIGNAL_SIZE, TASK } from "./_parent.mjs";

const item = new Uint8Array(TASK.size);

await drive(() => {
  const worker = new Worker(import.meta.resolve("./worker_child.ts"), { type: "module" });
  worker.postMessage(CHILD_ARGS);
  const read = (total: number): Promise<number> =>
    new Promise((resolve) => {
      let got = 0;
      worker.onmessage = ({ data }: MessageEvent<Uint8Array>) => {
        got += data.length;
        if (got >= total) resolve(got);
      };
    });
  return {
    trip() {
      const reply = read(TASK.size);
      worker.postMessage(item);
      return reply;
    },
    down(total: number) {
      const bytes = read(total);
      worker.postMessage(new Uint8Array(SIGNAL_SIZE));
      return bytes;
    },
    async up(items: number) {
      const answer = read(SIGNAL_SIZE);
      for (let i = 0; i < items; i++) worker.postMessage(item);
      await answer;
      return items * TASK.size;
    },
    end() {
      worker.terminate();
      return Promise.resolve();
    },
  };
});
