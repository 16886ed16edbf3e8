/**
 * JSON lines one way with `messages`. The variant: `some` reads one by one, `batches` in batches.
 */

import { connect, json, lines, messages } from "@uds/uds";
import { counted, report, TASK, timed } from "../_program.ts";
import { serveUds } from "../_uds.ts";
import { recordOf } from "./_record.mjs";

type Item = ReturnType<typeof recordOf>;

if (TASK.role === "server") {
  await serveUds(async (conn) => {
    await using channel = messages(conn, json<Item>(lines()));
    let items = 0;
    const take = (record: Item) => {
      if (record.id !== 1_000_000 + items % 1_000_000) throw new Error("out of order");
      items++;
    };
    if (TASK.variant === "batches") {
      for await (const batch of channel.batches()) for (const record of batch) take(record);
    } else {
      for await (const record of channel) take(record);
    }
    counted.items += items;
    counted.bytes += conn.bytesRead;
  });
  report();
} else {
  const seconds = await timed(async (items) => {
    const conn = await connect(TASK.path);
    await using channel = messages(conn, json<Item>(lines()));
    for (let i = 0; i < items; i++) {
      const sent = channel.send(recordOf(i));
      if (i % 64 === 0) await sent;
    }
    await channel.closeWrite();
    await channel.receive();
    counted.items += items;
    counted.bytes += conn.bytesWritten;
  });
  report({ seconds });
}
