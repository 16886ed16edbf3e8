/**
 * Many small messages one way with `messages`.
 *
 * - The variant `each` awaits every `send`, `some` every 64th. Both read one by one.
 * - The variant `batches` sends like `some`, and reads with `batches()`.
 * - With ` reuse` the memory of a message is reused for the following ones.
 */

import { connect, lengthPrefixed, messages } from "@uds/uds";
import { counted, report, TASK, timed } from "../_program.ts";
import { serveUds } from "../_uds.ts";

const [how, reuse] = TASK.variant.split(" ");
if (TASK.role === "server") {
  await serveUds(async (conn) => {
    await using channel = messages(conn, lengthPrefixed(), { reuse: reuse !== undefined });
    let items = 0;
    let bytes = 0;
    if (how === "batches") {
      for await (const batch of channel.batches()) {
        for (const message of batch) {
          items++;
          bytes += message.length;
        }
      }
    } else {
      for await (const message of channel) {
        items++;
        bytes += message.length;
      }
    }
    counted.items += items;
    counted.bytes += bytes;
  });
  report();
} else {
  const message = new Uint8Array(TASK.size);
  const seconds = await timed(async (items) => {
    await using channel = messages(await connect(TASK.path), lengthPrefixed());
    if (how === "each") {
      for (let i = 0; i < items; i++) await channel.send(message);
    } else {
      for (let i = 1; i <= items; i++) {
        const sent = channel.send(message);
        if (i % 64 === 0) await sent;
      }
    }
    await channel.closeWrite();
    await channel.receive();
    counted.items += items;
    counted.bytes += items * message.length;
  });
  report({ seconds });
}
