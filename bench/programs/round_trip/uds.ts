/** A small message there and back with `serve`, `connect`, `read` and `write`. */

import { connect } from "@uds/uds";
import { counted, report, TASK, timed } from "../_program.ts";
import { lowLatency, serveUds } from "../_uds.ts";

const buffer = new Uint8Array(64 * 1024);
if (TASK.role === "server") {
  await serveUds(async (conn) => {
    for (let count; (count = await conn.read(buffer)) !== null;) {
      await conn.write(buffer.subarray(0, count));
      counted.bytes += count;
    }
  });
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  const message = new Uint8Array(TASK.size);
  const seconds = await timed(async (items) => {
    await using conn = await connect({ path: TASK.path, lowLatency });
    for (let i = 0; i < items; i++) {
      await conn.write(message);
      let got = 0;
      while (got < TASK.size) got += await conn.read(buffer) ?? Infinity;
      counted.items++;
      counted.bytes += got;
    }
  });
  report({ seconds });
}
