/**
 * Both ends of a pair. The words: `start` (to the first byte back), `trips`, `up` (from parent to
 * child) or `down`. A pass of `down` begins when the child gets 8 bytes, one of `up` ends when the
 * parent gets them.
 */

import { counted, PASSES, report, TASK, timed } from "../_program.ts";

const { role, size, words, path, warm, count } = TASK;
const [work] = words;
const CONFIG = `${import.meta.dirname}/../../../deno.json`;
const SIGNAL = new Uint8Array(8);
const item = new Uint8Array(size);

/** What an end does with its connection. */
export interface End {
  /** Reads so many bytes, and returns how many came. */
  read(total: number): Promise<number>;
  /** Writes some bytes. */
  write(data: Uint8Array): Promise<unknown> | void;
  /** Writes an item so many times, as fast as the other end takes it. */
  writeMany?(items: number, item: Uint8Array): Promise<void>;
  /** Closes. The parent then waits for the child. */
  close(): Promise<unknown> | void;
  /** Sends back what comes, until the end of file. */
  echo?(): Promise<void>;
}

/** Without a permission flag, node:child_process would add one to the arguments of the child. */
const childArgs = (file: string): string[] => [
  ...["run", "--quiet", "-A", "--no-lock", "--config", CONFIG, file],
  ...["child", words.join(" "), path, ...[size, warm, count].map(String)],
];

/** Runs the task at the end that this process is. */
export async function run(
  file: string,
  open: (args: string[]) => End | Promise<End>,
  inherit: () => End,
): Promise<void> {
  await (role === "parent" ? drive(() => open(childArgs(file))) : obey(inherit()));
}

async function send(end: End, items: number): Promise<void> {
  if (end.writeMany !== undefined) return await end.writeMany(items, item);
  for (let i = 0; i < items; i++) await end.write(item);
}

async function drive(open: () => End | Promise<End>): Promise<void> {
  const trip = async (end: End) => {
    const sent = end.write(item);
    if (sent !== undefined) await sent;
    counted.bytes += await end.read(size);
  };
  if (work === "start") {
    const ends: End[] = [];
    const seconds = await timed(async (items) => {
      for (let i = 0; i < items; i++) {
        const end = await open();
        await trip(end);
        if (i < items - 1) await end.close();
        else ends.push(end);
      }
    });
    for (const end of ends) await end.close();
    return report({ seconds });
  }
  const end = await open();
  const seconds = await timed(async (items) => {
    if (work === "down") {
      end.write(SIGNAL);
      counted.bytes += await end.read(items * size);
    } else if (work === "up") {
      const answer = end.writeMany && end.read(SIGNAL.length);
      await send(end, items);
      await (answer ?? end.read(SIGNAL.length));
      counted.bytes += items * size;
    } else {
      for (let i = 0; i < items; i++) await trip(end);
    }
  });
  await end.close();
  report({ seconds });
}

async function obey(end: End): Promise<void> {
  if (work === "trips" || work === "start") {
    await end.echo!();
  } else {
    for (const items of PASSES) {
      if (await end.read(work === "up" ? items * size : SIGNAL.length) === 0) return;
      await (work === "up" ? end.write(SIGNAL) : send(end, items));
    }
  }
  await end.close();
}
