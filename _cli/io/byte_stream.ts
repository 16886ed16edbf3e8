/** The connections that commands pipe, whatever their transport is. */

import type { Connection } from "../../connection.ts";

/** The part of a connection that a relay uses. */
export type ByteStream = Pick<Connection, "read" | "write" | "closeWrite" | "close">;

/** Copies bytes until the end of file. The end itself is not passed on. */
export async function copyBytes(
  from: Pick<ByteStream, "read">,
  to: Pick<ByteStream, "write">,
  bufferSize: number,
): Promise<void> {
  const buffer = new Uint8Array(bufferSize);
  for (let count; (count = await from.read(buffer)) !== null;) {
    await to.write(buffer.subarray(0, count));
  }
}

/** Writes all data to a connection of Deno's, which writes as much as the kernel takes. */
export async function writeAll(conn: Pick<Deno.Conn, "write">, data: Uint8Array): Promise<number> {
  let sent = 0;
  try {
    while (sent < data.length) sent += await conn.write(data.subarray(sent));
  } catch (error) {
    throw Object.assign(error as Error, { unsent: data.subarray(sent) });
  }
  return sent;
}
