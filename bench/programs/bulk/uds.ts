/** Many bytes one way with `write` and `read`. The variant names the buffers' start. */

import { connect } from "@uds/uds";
import { counted, offsetBuffer, PASSES, report, TASK, timed } from "../_program.ts";
import { lowLatency, serveUds } from "../_uds.ts";

const buffer = TASK.variant.startsWith("offset")
  ? offsetBuffer(TASK.size)
  : new Uint8Array(TASK.size);
if (TASK.role === "server") {
  let pass = 0;
  await serveUds(async (conn) => {
    const total = PASSES[pass++] as number * TASK.size;
    let got = 0;
    while (got < total) got += await conn.read(buffer) ?? Infinity;
    counted.bytes += got;
  });
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  const seconds = await timed(async (items) => {
    await using conn = await connect({ path: TASK.path, lowLatency });
    for (let i = 0; i < items; i++) {
      counted.bytes += await conn.write(buffer);
      counted.items++;
    }
    await conn.read(new Uint8Array(1));
  });
  report({ seconds });
}
