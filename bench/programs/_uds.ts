/** The library's calls. */

import { connect, type Connection, serve } from "@uds/uds";
import { PASSES, ready, TASK, type Way } from "./_program.ts";

const { path } = TASK;
const lowLatency = TASK.words.includes("lowLatency");
if (lowLatency) await import("@uds/uds/native");

/** The way of the library. */
export const uds: Way<Connection> = {
  connect: () => connect(lowLatency ? { path, lowLatency } : path),
  async serve(handler, connections = PASSES.length) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let served = 0;
    await using _server = await serve({ path, onError: reject, lowLatency }, async (conn) => {
      await handler(conn);
      if (++served === connections) resolve();
    });
    ready();
    await promise;
  },
  write: (conn, data) => conn.write(data),
};
