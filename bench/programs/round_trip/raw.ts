/** A small message there and back with `Deno.listen` and `Deno.connect`. */

import { connectRaw, counted, listenRaw, report, TASK, timed, writeAll } from "../_program.ts";

const buffer = new Uint8Array(64 * 1024);
if (TASK.role === "server") {
  await listenRaw(async (conn) => {
    for (let count; (count = await conn.read(buffer)) !== null;) {
      await writeAll(conn, buffer.subarray(0, count));
      counted.bytes += count;
    }
  });
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  const message = new Uint8Array(TASK.size);
  const seconds = await timed(async (items) => {
    using conn = await connectRaw();
    for (let i = 0; i < items; i++) {
      await writeAll(conn, message);
      let got = 0;
      while (got < TASK.size) got += await conn.read(buffer) ?? Infinity;
      counted.items++;
      counted.bytes += got;
    }
  });
  report({ seconds });
}
