/** A small message there and back with `messages`. */

import { connect, lengthPrefixed, messages } from "@uds/uds";
import { counted, report, TASK, timed } from "../_program.ts";
import { lowLatency, serveUds } from "../_uds.ts";

if (TASK.role === "server") {
  await serveUds(async (conn) => {
    await using channel = messages(conn, lengthPrefixed());
    for await (const message of channel) {
      await channel.send(message);
      counted.items++;
      counted.bytes += message.length;
    }
  });
  report();
} else {
  const message = new Uint8Array(TASK.size);
  const seconds = await timed(async (items) => {
    await using channel = messages(
      await connect({ path: TASK.path, lowLatency }),
      lengthPrefixed(),
    );
    for (let i = 0; i < items; i++) {
      await channel.send(message);
      const reply = await channel.receive();
      counted.items++;
      counted.bytes += reply?.length ?? 0;
    }
  });
  report({ seconds });
}
