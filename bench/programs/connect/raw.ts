/** Connects, sends a byte, reads the end of file and closes, repeatedly, with Deno's own calls. */

import { connectRaw, counted, ready, report, TASK, timed } from "../_program.ts";

if (TASK.role === "server") {
  const handle = async (conn: Deno.UnixConn) => {
    const buffer = new Uint8Array(16);
    const count = await conn.read(buffer);
    counted.items++;
    counted.bytes += count ?? 0;
    conn.close();
  };
  using listener = Deno.listen({ transport: "unix", path: TASK.path });
  ready();
  const handled: Promise<void>[] = [];
  for (let i = 0; i < TASK.warm + TASK.count; i++) handled.push(handle(await listener.accept()));
  await Promise.all(handled);
  report();
} else {
  const message = new Uint8Array(TASK.size);
  const buffer = new Uint8Array(16);
  const seconds = await timed(async (items) => {
    for (let i = 0; i < items; i++) {
      using conn = await connectRaw();
      counted.bytes += await conn.write(message);
      if (await conn.read(buffer) !== null) throw new Error("no end");
      counted.items++;
    }
  });
  report({ seconds });
}
