/** Descriptors that are passed on, received, dropped, and never read. */

import { connect, type Connection, serve } from "@uds/uds";
import { type Descriptor, receiveDescriptors, sendDescriptors } from "@uds/uds/native";
import { agreed, check, type Load, type Setting, untilIdle } from "../load.ts";

/** What a server does with the descriptors that come with a byte. */
const [PASS_ON, TO_FILE, DROP] = [0, 1, 2];
/** The most descriptors of a message. The kernel allows 253. */
const MOST = 20;

export async function open({ directory, random, stack, fail }: Setting): Promise<Load> {
  const [path, unread] = [`${directory}/descriptors.sock`, `${directory}/unread.sock`];
  const served = { descriptors: 0 };
  const used = { descriptors: 0 };

  async function handle(conn: Connection): Promise<void> {
    const buffer = new Uint8Array(1);
    for (let got; (got = await receiveDescriptors(conn, buffer)) !== null;) {
      const { descriptors } = got;
      served.descriptors += descriptors.length;
      if (buffer[0] === PASS_ON) await sendDescriptors(conn, buffer, descriptors);
      else {
        if (buffer[0] === TO_FILE) { for (const each of descriptors) each.toFile().close(); }
        await conn.write(Uint8Array.of(descriptors.length));
      }
      for (const each of descriptors) each.close();
    }
  }
  /** Accepts only a client that has gone before it has read. */
  function onError(error: unknown): void {
    const { name } = error as Error;
    if (name !== "BrokenPipe" && name !== "ConnectionReset") fail(error);
  }
  const server = stack.use(await serve({ path, descriptors: true, onError }, handle));
  const deaf = stack.use(
    await serve({ path: unread, descriptors: true, onError }, async (conn) => {
      // A plain read closes what comes with the bytes. Sometimes the connection does.
      if (random.below(2) === 0) await conn.read(new Uint8Array(1));
    }),
  );

  const open = (to = path) => connect({ path: to, descriptors: true });

  /** Sends standard input some times. The server answers how many times it came. */
  async function exchange(conn: Connection, what: number): Promise<void> {
    for (let i = random.below(5); i >= 0; i--) {
      const count = 1 + random.below(MOST);
      await sendDescriptors(conn, Uint8Array.of(what), Array(count).fill(0));
      const answer = new Uint8Array(1);
      await conn.read(answer);
      check(answer[0] === count, `${answer[0]} of ${count} descriptors have come`);
      used.descriptors += count;
    }
  }

  return {
    courses: {
      "descriptor passed on": {
        weight: 20,
        async run() {
          await using conn = await open();
          const sent = await open();
          await sendDescriptors(conn, Uint8Array.of(PASS_ON), [sent]);
          sent.close();
          const got = await receiveDescriptors(conn, new Uint8Array(1));
          const [back] = got!.descriptors as [Descriptor];
          used.descriptors++;
          await using passed = back.toConnection();
          await exchange(passed, DROP);
        },
      },
      "descriptors to files": {
        weight: 5,
        async run() {
          await using conn = await open();
          await exchange(conn, TO_FILE);
        },
      },
      "descriptors dropped": {
        weight: 20,
        async run() {
          await using conn = await open();
          await exchange(conn, DROP);
        },
      },
      "descriptors never received": {
        weight: 20,
        async run() {
          await using conn = await open(unread);
          // Its server notices at the next rest whether the last one was closed.
          const sent = await open();
          await sendDescriptors(conn, new Uint8Array(2), [sent, sent]).catch(() => {});
          sent.close();
        },
      },
    },
    async rest() {
      await untilIdle(deaf);
      await untilIdle(server);
    },
    async end() {
      for (const each of [deaf, server]) {
        const { aborted } = await each.shutdown();
        check(aborted === 0, `${aborted} connections were cut off`);
      }
      return agreed(served, used);
    },
  };
}
