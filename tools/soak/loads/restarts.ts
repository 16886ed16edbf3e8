/** Servers that start and stop, and paths without a server. */

import { connect, probe, serve, SocketNotFound } from "@uds/uds";
import { check, type Load, readAll, type Setting } from "../load.ts";

/** Deno keeps each path of a permission query, so there are few paths. */
const PATHS = 16;
const CLIENTS = 5;

export function open({ directory, random, fail: onError }: Setting): Promise<Load> {
  const free = Array.from({ length: PATHS }, (_, i) => `${directory}/restart-${i}.sock`);
  const absent = `${directory}/absent.sock`;

  return Promise.resolve({
    courses: {
      "restart": {
        weight: 2,
        async run() {
          const path = free.pop()!;
          let answered = 0;
          for (let i = 0; i < 2; i++) {
            const publish = random.below(2) === 0 ? "direct" : "rename";
            const server = await serve({ path, publish, onError }, async (conn) => {
              await conn.read(new Uint8Array(8));
              await conn.write(new Uint8Array(8));
              answered++;
            });
            const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(path)));
            for (const conn of clients) conn.write(new Uint8Array(8));
            const { aborted } = await server.shutdown();
            check(aborted === 0, `${aborted} were cut off`);
            for (const conn of clients) {
              check((await readAll(conn)).length === 8, "a stopping server did not answer");
              conn.close();
            }
          }
          check(answered === 2 * CLIENTS, `${answered} of ${2 * CLIENTS} were answered`);
          free.push(path);
        },
      },
      "refusal": {
        weight: 10,
        async run() {
          const error = await connect(absent).catch((error) => error);
          check(error instanceof SocketNotFound, `${error}`);
          const { state } = await probe(absent);
          check(state === "free", state);
          const reason = new Error("no");
          const signal = AbortSignal.any([AbortSignal.abort(reason)]);
          const given = await connect({ path: absent, wait: true, signal }).catch((error) => error);
          check(given === reason, `${given}`);
        },
      },
    },
    end: () => Promise.resolve({}),
  });
}
