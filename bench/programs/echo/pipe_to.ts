/** Echoes everything with the library's streams. */

import { counted, report, TASK } from "../_program.ts";
import { serveUds } from "../_uds.ts";

await serveUds(async (conn) => {
  await conn.readable.pipeTo(conn.writable);
  counted.bytes += conn.bytesWritten;
});
counted.items = counted.bytes / TASK.size;
report();
