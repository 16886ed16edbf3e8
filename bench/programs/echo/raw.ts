/** Echoes with a loop of Deno's `read` and `write`. The variant names the buffer's start. */

import { counted, listenRaw, offsetBuffer, report, TASK, writeAll } from "../_program.ts";

const buffer = TASK.variant === "offset" ? offsetBuffer(TASK.size) : new Uint8Array(TASK.size);
await listenRaw(async (conn) => {
  for (let count; (count = await conn.read(buffer)) !== null;) {
    await writeAll(conn, buffer.subarray(0, count));
    counted.bytes += count;
  }
});
counted.items = counted.bytes / TASK.size;
report();
