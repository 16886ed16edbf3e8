/** Messages one way, one write each, with loops of Deno's `write` and `read`. */

import { connectRaw, counted, listenRaw, report, TASK, timed, writeAll } from "../_program.ts";
import { FrameCounter } from "./_frames.ts";

if (TASK.role === "server") {
  await listenRaw(async (conn) => {
    const frames = new FrameCounter();
    for (;;) {
      const count = await conn.read(frames.buffer.subarray(frames.end));
      if (count === null) break;
      frames.add(count);
    }
    counted.items += frames.items;
    counted.bytes += frames.bytes;
  });
  report();
} else {
  const message = new Uint8Array(TASK.size);
  const seconds = await timed(async (items) => {
    using conn = await connectRaw();
    const frame = new Uint8Array(4 + TASK.size);
    const view = new DataView(frame.buffer);
    for (let i = 0; i < items; i++) {
      view.setUint32(0, message.length);
      frame.set(message, 4);
      await writeAll(conn, frame);
    }
    await conn.closeWrite();
    await conn.read(new Uint8Array(1));
    counted.items += items;
    counted.bytes += items * message.length;
  });
  report({ seconds });
}
