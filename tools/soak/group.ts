/**
 * A process of loads, which are clients and mostly also servers in it. It obeys the soak, over the
 * socket that the two have.
 *
 * group.ts NAME DIRECTORY SEED
 */

import { inherited } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import {
  type Counts,
  type Course,
  type Load,
  nap,
  type OpenLoad,
  type ProcessName,
} from "./load.ts";
import { Random } from "./random.ts";

/** The loads of each group. What is native would change the connections of others. */
const GROUPS: Record<string, () => Promise<{ open: OpenLoad }[]>> = {
  core: () =>
    Promise.all([
      import("./loads/bytes.ts"),
      import("./loads/messages.ts"),
      import("./loads/restarts.ts"),
      import("./loads/children.ts"),
      import("./loads/calls.ts"),
      import("./loads/activation.ts"),
      import("./loads/workers.ts"),
    ]),
  native: () => Promise.all([import("./loads/descriptors.ts"), import("./loads/packets.ts")]),
};

/** How many courses run at the same time. */
const AT_ONCE = 16;
const MIB = 2 ** 20;

/** What a group does for the soak. */
export interface Group {
  /** Starts its loads. */
  open(): Promise<void>;
  /** Runs courses for some milliseconds, or as long as the restarts take. Returns how many. */
  work(params: { ms: number }): Promise<number>;
  /** Comes to rest. Returns the memory in use, in MiB, and the processes of its loads. */
  rest(): Promise<{ memory: number; processes: ProcessName[] }>;
  /** Ends its loads. Returns their counts. */
  end(): Promise<Counts>;
}

const [name, directory, seed] = Deno.args as [string, string, string];
const stack = new AsyncDisposableStack();
const random = new Random(Number(seed));
let failure: { error: unknown } | undefined;
const fail = (error: unknown) => void (failure ??= { error });
// Deno opens a socket pair for signals some time after its start. This opens it now.
Deno.addSignalListener("SIGHUP", () => {});

const loads: Load[] = [];
/** The courses, each as often as its weight. */
const lots: [name: string, Course][] = [];
const counts: Counts = {};

/** Runs random courses as long as it should. */
async function draw(isOver: () => boolean): Promise<void> {
  while (!isOver() && failure === undefined) {
    const [name, course] = lots[random.below(lots.length)]!;
    await course.run();
    counts[name] = (counts[name] ?? 0) + 1;
  }
}

/** Runs something. What fails is printed, because only its message reaches the soak. */
async function attempt<T>(run: () => Promise<T>): Promise<T> {
  try {
    const result = await run();
    if (failure !== undefined) throw failure.error;
    return result;
  } catch (error) {
    console.error(`${name}:`, error);
    throw error;
  }
}

const methods: { [Name in keyof Group]: Group[Name] } = {
  open: () =>
    attempt(async () => {
      for (const { open } of await GROUPS[name]!()) {
        const load = await open({ directory, random, stack, fail });
        loads.push(load);
        for (const course of Object.entries(load.courses)) {
          for (let i = 0; i < course[1].weight; i++) lots.push(course);
        }
      }
    }),
  work: ({ ms }) =>
    attempt(async () => {
      const until = performance.now() + ms;
      let isDisturbed = true;
      const isOver = () => performance.now() > until && !isDisturbed;
      await Promise.all([
        ...Array.from({ length: AT_ONCE }, () => draw(isOver)),
        Promise.all(loads.map((load) => load.disturb?.())).finally(() => isDisturbed = false),
      ]);
      return Object.values(counts).reduce((a, b) => a + b, 0);
    }),
  rest: () =>
    attempt(async () => {
      for (const load of loads) await load.rest?.();
      const processes = await Promise.all(loads.map((load) => load.processes?.() ?? []));
      for (let i = 0; i < 4; i++) {
        (globalThis as unknown as { gc(): void }).gc();
        await nap(10);
      }
      const { heapUsed, external } = Deno.memoryUsage();
      return { memory: (heapUsed + external) / MIB, processes: processes.flat() };
    }),
  end: () =>
    attempt(async () => {
      for (const load of loads) Object.assign(counts, await load.end());
      return counts;
    }),
};
await rpc(inherited(), { methods, onError() {} }).closed;
await stack.disposeAsync();
Deno.exit();
