/** Shared code of the programs that use the library. */

import { type Connection, serve } from "@uds/uds";
import { PASSES, ready, TASK } from "./_program.ts";

/** Whether connections look for bytes. */
export const lowLatency: boolean = TASK.variant.endsWith("lowLatency");
if (lowLatency) await import("@uds/uds/native");

/** Serves as many connections as there are passes, or `count`, and shuts down. */
export async function serveUds(
  handler: (conn: Connection) => Promise<void>,
  connections: number = PASSES.length,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let served = 0;
  await using _server = await serve(
    { path: TASK.path, onError: reject, lowLatency },
    async (conn) => {
      await handler(conn);
      if (++served === connections) resolve();
    },
  );
  ready();
  await promise;
}
