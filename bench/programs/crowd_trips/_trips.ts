/** Concurrent round trips over many open connections. */

import { counted, PASSES, TASK } from "../_program.ts";

type Channel = Pick<Deno.UnixConn, "read" | "write"> & Disposable;

/** The number of connections, from the variant. */
export const CONNECTIONS: number = Number.parseInt(TASK.variant);

/** Handles one connection of the server. */
export async function answer(conn: Channel): Promise<void> {
  const buffer = new Uint8Array(1024);
  for (let count; (count = await conn.read(buffer)) !== null;) {
    await conn.write(buffer.subarray(0, count));
    counted.bytes += count;
  }
}

/** Opens all connections, makes the trips of both passes, and returns the seconds of the second. */
export async function trips(open: () => Promise<Channel>): Promise<number> {
  const conns: Channel[] = [];
  for (let i = 0; i < CONNECTIONS; i++) conns.push(await open());
  let seconds = 0;
  for (const items of PASSES) {
    let left = items;
    const begin = performance.now();
    await Promise.all(conns.map(async (conn) => {
      const buffer = new Uint8Array(1024);
      while (left-- > 0) {
        await conn.write(buffer.subarray(0, TASK.size));
        let got = 0;
        while (got < TASK.size) got += await conn.read(buffer) ?? Infinity;
        counted.items++;
        counted.bytes += got;
      }
    }));
    seconds = (performance.now() - begin) / 1000;
  }
  for (const conn of conns) conn[Symbol.dispose]();
  return seconds;
}
