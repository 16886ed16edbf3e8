/** Many idle connections with `serve` and `connect`. The variant names the measured end. */

import { connect, serve } from "@uds/uds";
import { ready, report, TASK } from "../_program.ts";
import { Crowd } from "./_crowd.ts";

const crowd = new Crowd();
if (TASK.role === "server") {
  await using _server = await serve(TASK.path, (conn) => crowd.answer(conn));
  ready();
  const memory = await crowd.weigh();
  await crowd.over();
  report({ memory });
} else {
  const { seconds, memory } = await crowd.fill(() => connect(TASK.path));
  report({ seconds, ...(TASK.variant === "client" && { memory }) });
}
