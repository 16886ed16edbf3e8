/**
 * JSON lines of an object with 99 bytes, one way. The words: `uds`, or `memory`, which calls
 * `JSON.stringify` and `JSON.parse` without a socket or a second process.
 */

import { json, lines, messages } from "@uds/uds";
import { recordOf } from "./_record.mjs";
import { counted, report, TASK, timed } from "./_program.ts";
import { uds } from "./_uds.ts";

type Item = ReturnType<typeof recordOf>;

function check({ id }: Item, place: number): void {
  if (id !== 1_000_000 + place % 1_000_000) throw new Error("out of order");
}

async function send(items: number): Promise<void> {
  const conn = await uds.connect();
  await using channel = messages(conn, json<Item>(lines()));
  for (let i = 0; i < items; i++) {
    const sent = channel.send(recordOf(i));
    if (i % 64 === 0) await sent;
  }
  await channel.closeWrite();
  await channel.receive();
  counted.items += items;
  counted.bytes += conn.bytesWritten;
}

function convert(items: number): Promise<void> {
  for (let i = 0; i < items; i++) {
    const text = JSON.stringify(recordOf(i));
    check(JSON.parse(text), i);
    counted.items++;
    counted.bytes += text.length + 1;
  }
  return Promise.resolve();
}

if (TASK.role === "server") {
  await uds.serve(async (conn) => {
    await using channel = messages(conn, json<Item>(lines()));
    let items = 0;
    for await (const record of channel) check(record, items++);
    counted.items += items;
    counted.bytes += conn.bytesRead;
  });
  report();
} else {
  report({ seconds: await timed(TASK.role === "client" ? send : convert) });
}
