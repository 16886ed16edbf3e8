/** Round trips over many connections with `serve` and `connect`. */

import { connect } from "@uds/uds";
import { counted, report, TASK } from "../_program.ts";
import { lowLatency, serveUds } from "../_uds.ts";
import { answer, CONNECTIONS, trips } from "./_trips.ts";

if (TASK.role === "server") {
  await serveUds(answer, CONNECTIONS);
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  report({ seconds: await trips(() => connect({ path: TASK.path, lowLatency })) });
}
