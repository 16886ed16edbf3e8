/** Echoes everything with `relay`. */

import { relay } from "@uds/uds";
import { counted, report, TASK } from "../_program.ts";
import { serveUds } from "../_uds.ts";

await serveUds(async (conn) => {
  const { aToB } = await relay(conn, conn);
  counted.bytes += aToB;
});
counted.items = counted.bytes / TASK.size;
report();
