/**
 * Many bytes one way with loops of Deno's `write` and `read`. The variant names the buffers' start.
 */

import {
  connectRaw,
  counted,
  listenRaw,
  offsetBuffer,
  PASSES,
  report,
  TASK,
  timed,
  writeAll,
} from "../_program.ts";

const buffer = TASK.variant === "offset" ? offsetBuffer(TASK.size) : new Uint8Array(TASK.size);
if (TASK.role === "server") {
  let pass = 0;
  await listenRaw(async (conn) => {
    const total = PASSES[pass++] as number * TASK.size;
    let got = 0;
    while (got < total) got += await conn.read(buffer) ?? Infinity;
    counted.bytes += got;
  });
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  const seconds = await timed(async (items) => {
    using conn = await connectRaw();
    for (let i = 0; i < items; i++) {
      await writeAll(conn, buffer);
      counted.items++;
      counted.bytes += buffer.length;
    }
    await conn.read(new Uint8Array(1));
  });
  report({ seconds });
}
