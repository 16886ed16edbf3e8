/** A worker that sends each byte back. */

import type { Connection } from "../../../mod.ts";

export async function connection(conn: Connection): Promise<void> {
  await conn.readable.pipeTo(conn.writable);
}
