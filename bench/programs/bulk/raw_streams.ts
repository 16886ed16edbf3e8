/** Many bytes one way with Deno's own `writable` and `readable`. */

import { connectRaw, counted, listenRaw, PASSES, report, TASK, timed } from "../_program.ts";

if (TASK.role === "server") {
  let pass = 0;
  await listenRaw(async (conn) => {
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
    using conn = await connectRaw();
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
