/** The client of every echo server. It sends everything and reads it back at the same time. */

import { connectRaw, counted, offsetBuffer, report, TASK, timed, writeAll } from "../_program.ts";

const outgoing = offsetBuffer(TASK.size);
const incoming = offsetBuffer(TASK.size);

async function send(conn: Deno.UnixConn, items: number): Promise<void> {
  for (let i = 0; i < items; i++) await writeAll(conn, outgoing);
}

async function receive(conn: Deno.UnixConn, total: number): Promise<void> {
  let got = 0;
  while (got < total) got += await conn.read(incoming) ?? Infinity;
  counted.bytes += got;
}

const seconds = await timed(async (items) => {
  using conn = await connectRaw();
  await Promise.all([send(conn, items), receive(conn, items * TASK.size)]);
});
counted.items = counted.bytes / TASK.size;
report({ seconds });
