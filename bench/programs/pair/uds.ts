/** A child on `pair`, with `inherited` at its end. */

import type { Connection } from "@uds/uds";
import { inherited } from "@uds/uds/child";
import { type End, run } from "./_pair.ts";

const buffer = new Uint8Array(256 * 1024);

function endOf(conn: Connection, ended?: Promise<unknown>): End {
  return {
    async read(total) {
      let got = 0;
      while (got < total) got += await conn.read(buffer) ?? Infinity;
      return got;
    },
    write: (data) => conn.write(data),
    async echo() {
      for (let count; (count = await conn.read(buffer)) !== null;) {
        await conn.write(buffer.subarray(0, count));
      }
    },
    close() {
      conn.close();
      return ended;
    },
  };
}

await run(import.meta.url, async (args) => {
  // The child does not load it.
  const { pair } = await import("@uds/uds/pair");
  const { conn, status } = await pair(Deno.execPath(), { args });
  return endOf(conn, status);
}, () => endOf(inherited()));
