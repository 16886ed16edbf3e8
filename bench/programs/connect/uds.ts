/** Connects, sends a byte, reads the end of file and closes, repeatedly, with uds. */

import { connect } from "@uds/uds";
import { counted, report, TASK, timed } from "../_program.ts";
import { serveUds } from "../_uds.ts";

if (TASK.role === "server") {
  const buffer = new Uint8Array(16);
  await serveUds(async (conn) => {
    const count = await conn.read(buffer);
    counted.items++;
    counted.bytes += count ?? 0;
  }, TASK.warm + TASK.count);
  report();
} else {
  const message = new Uint8Array(TASK.size);
  const buffer = new Uint8Array(16);
  const seconds = await timed(async (items) => {
    for (let i = 0; i < items; i++) {
      using conn = await connect(TASK.path);
      counted.bytes += await conn.write(message);
      if (await conn.read(buffer) !== null) throw new Error("no end");
      counted.items++;
    }
  });
  report({ seconds });
}
