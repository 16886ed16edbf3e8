/** Many bytes one way with the library's `writable` and `readable`. */

import { connect } from "@uds/uds";
import { counted, PASSES, report, TASK, timed } from "../_program.ts";
import { serveUds } from "../_uds.ts";

if (TASK.role === "server") {
  let pass = 0;
  await serveUds(async (conn) => {
    const total = PASSES[pass++] as number * TASK.size;
    let got = 0;
    for await (const chunk of conn.readable) {
      got += chunk.length;
      if (got >= total) break;
    }
    counted.bytes += got;
  });
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  const chunk = new Uint8Array(TASK.size);
  const seconds = await timed(async (items) => {
    await using conn = await connect(TASK.path);
    const writer = conn.writable.getWriter();
    for (let i = 0; i < items; i++) {
      await writer.write(chunk);
      counted.items++;
      counted.bytes += chunk.length;
    }
    await conn.read(new Uint8Array(1));
  });
  report({ seconds });
}
