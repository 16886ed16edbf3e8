/** The same load for all libraries: calls of a method that returns its text. */

import { counted, TASK, timed } from "../_program.ts";

const TEXT = "x".repeat(TASK.size);

/** How many calls are in flight. */
const IN_FLIGHT = TASK.variant === "one" ? 1 : 500;

/** The method. */
export function echo({ text }: { text: string }): string {
  counted.items++;
  counted.bytes += text.length;
  return text;
}

/** Runs both passes, each on its own connection. Returns the seconds of the second one. */
export function calls(
  connect: () => Promise<{ call: (text: string) => Promise<string>; close: () => void }>,
): Promise<number> {
  return timed(async (items) => {
    const { call, close } = await connect();
    const take = (text: string) => {
      counted.items++;
      counted.bytes += text.length;
    };
    for (let i = 0; i < items; i += IN_FLIGHT) {
      if (IN_FLIGHT === 1) {
        take(await call(TEXT));
        continue;
      }
      const answers: Promise<void>[] = [];
      for (let j = i; j < Math.min(i + IN_FLIGHT, items); j++) answers.push(call(TEXT).then(take));
      await Promise.all(answers);
    }
    close();
  });
}
