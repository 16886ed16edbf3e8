/** Connections that come and go, and bytes that come back. */

import { connect, serve } from "@uds/uds";
import { agreed, check, isSame, type Load, readAll, type Setting, untilIdle } from "../load.ts";

/** More than the kernel takes, so the server still writes when its client closes. */
const MUCH_BYTES = 4 * 2 ** 20;

export async function open({ directory, random, stack, fail }: Setting): Promise<Load> {
  const path = `${directory}/bytes.sock`;
  const served = { connections: 0, resets: 0 };
  const used = { connections: 0, resets: 0 };
  /** Accepts only one failure: a client that closes while the server writes to it. */
  function onError(error: unknown): void {
    const { name } = error as Error;
    if (name === "BrokenPipe" || name === "ConnectionReset") served.resets++;
    else fail(error);
  }
  const server = stack.use(
    await serve({ path, onError }, async (conn) => {
      served.connections++;
      await conn.readable.pipeTo(conn.writable);
    }),
  );
  async function begin() {
    const conn = await connect(path);
    used.connections++;
    return conn;
  }

  return {
    courses: {
      "connect": {
        weight: 20,
        async run() {
          (await begin()).close();
        },
      },
      "half-close": {
        weight: 30,
        async run() {
          await using conn = await begin();
          const data = random.bytes(random.below(2 ** random.below(18)));
          conn.write(data);
          conn.closeWrite();
          check(isSame(await readAll(conn), data), "other bytes came back");
        },
      },
      "reset": {
        weight: 10,
        async run() {
          const conn = await begin();
          const writing = conn.write(random.bytes(MUCH_BYTES)).catch(() => {});
          await conn.read(new Uint8Array(1));
          conn.close();
          await writing;
          used.resets++;
        },
      },
    },
    rest: () => untilIdle(server),
    async end() {
      const { aborted } = await server.shutdown();
      check(aborted === 0, `${aborted} connections were cut off`);
      return agreed(served, used);
    },
  };
}
