/** Messages of two codecs, one by one and in batches. */

import { connect, json, lengthPrefixed, lines, messages, serve } from "@uds/uds";
import { agreed, check, isSame, type Load, type Setting, untilIdle } from "../load.ts";

export async function open({ directory, random, stack, fail: onError }: Setting): Promise<Load> {
  const served = { messages: 0 };
  const used = { messages: 0 };
  const values = stack.use(
    await serve({ path: `${directory}/values.sock`, onError }, async (conn) => {
      await using client = messages(conn, json(lines()));
      for await (const value of client) {
        served.messages++;
        await client.send(value);
      }
    }),
  );
  const frames = stack.use(
    await serve({ path: `${directory}/frames.sock`, onError }, async (conn) => {
      await using client = messages(conn, lengthPrefixed());
      for await (const batch of client.batches()) {
        served.messages += batch.length;
        for (const frame of batch) client.send(frame);
        await client.flush();
      }
    }),
  );
  const begin = (server: typeof values) => connect(server.addr.path!);

  return {
    courses: {
      "hang up": {
        weight: 10,
        async run() {
          (await begin([values, frames][random.below(2)]!)).close();
        },
      },
      "values": {
        weight: 30,
        async run() {
          const codec = json<{ id: number; text: string }>(lines());
          await using client = messages(await begin(values), codec);
          for (let i = random.below(20); i >= 0; i--) {
            const text = "ü".repeat(random.below(500));
            await client.send({ id: i, text });
            const back = await client.receive();
            check(back?.id === i && back.text === text, "another value came back");
            used.messages++;
          }
        },
      },
      "frames": {
        weight: 20,
        async run() {
          await using client = messages(await begin(frames), lengthPrefixed());
          const count = 1 + random.below(300);
          const frame = random.bytes(random.below(2000));
          for (let i = 0; i < count; i++) client.send(frame);
          client.closeWrite();
          let got = 0;
          for await (const back of client) {
            check(isSame(back, frame), "another frame came back");
            got++;
          }
          check(got === count, `${got} of ${count} frames came back`);
          used.messages += count;
        },
      },
    },
    async rest() {
      await untilIdle(values);
      await untilIdle(frames);
    },
    async end() {
      for (const server of [values, frames]) {
        const { aborted } = await server.shutdown();
        check(aborted === 0, `${aborted} connections were cut off`);
      }
      return agreed(served, used);
    },
  };
}
