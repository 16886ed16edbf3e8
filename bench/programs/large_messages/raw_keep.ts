/** Receives messages with Deno's `read`, each in its own memory. The raw loop is the client. */

import { counted, listenRaw, report } from "../_program.ts";

/** Fills a buffer. Reports whether there was anything left to read. */
async function fill(conn: Deno.UnixConn, buffer: Uint8Array): Promise<boolean> {
  for (let got = 0; got < buffer.length;) {
    const count = await conn.read(buffer.subarray(got));
    if (count === null) return false;
    got += count;
  }
  return true;
}

await listenRaw(async (conn) => {
  const prefix = new Uint8Array(4);
  const view = new DataView(prefix.buffer);
  while (await fill(conn, prefix)) {
    const message = new Uint8Array(view.getUint32(0));
    if (!await fill(conn, message)) throw new Error("cut short");
    counted.items++;
    counted.bytes += message.length;
  }
});
report();
