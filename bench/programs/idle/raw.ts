/** Many idle connections with Deno's own calls. The variant names the measured end. */

import { connectRaw, ready, report, TASK } from "../_program.ts";
import { Crowd } from "./_crowd.ts";

const crowd = new Crowd();
if (TASK.role === "server") {
  const serve = async (conn: Deno.UnixConn) => {
    await crowd.answer(conn);
    conn.close();
  };
  using listener = Deno.listen({ transport: "unix", path: TASK.path });
  ready();
  const weighed = crowd.weigh();
  for (let i = 0; i < TASK.warm + TASK.count; i++) serve(await listener.accept());
  const memory = await weighed;
  await crowd.over();
  report({ memory });
} else {
  const { seconds, memory } = await crowd.fill(connectRaw);
  report({ seconds, ...(TASK.variant === "client" && { memory }) });
}
