/** Round trips over many connections with Deno's own calls. */

import { connectRaw, counted, ready, report, TASK } from "../_program.ts";
import { answer, CONNECTIONS, trips } from "./_trips.ts";

if (TASK.role === "server") {
  const serve = async (conn: Deno.UnixConn) => {
    await answer(conn);
    conn.close();
  };
  using listener = Deno.listen({ transport: "unix", path: TASK.path });
  ready();
  const served: Promise<void>[] = [];
  for (let i = 0; i < CONNECTIONS; i++) served.push(serve(await listener.accept()));
  await Promise.all(served);
  counted.items = counted.bytes / TASK.size;
  report();
} else {
  report({ seconds: await trips(connectRaw) });
}
