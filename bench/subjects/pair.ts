/** A child on a socket pair compared with other kinds of children: start, round trip, bulk. */

import {
  type Contender,
  gigabytesPerSecond,
  microseconds,
  milliseconds,
  type Subject,
} from "../subject.ts";

const OURS = "uds pair";
const RAW = "Deno node:net on fd 3";

/** Returns the contenders, each with its number of items. */
function contenders(
  what: "start" | "trip" | "down" | "up",
  counts: [uds: number, raw: number, command: number, fork: number, worker: number],
): Contender[] {
  const programs: [name: string, program: string][] = [
    [OURS, "pair/uds.ts"],
    [RAW, "pair/raw.ts"],
    ["Deno.Command, pipes", "pair/command.ts"],
    ["Node fork, IPC", "pair/fork.mjs"],
    ["Deno Worker", "pair/worker.ts"],
  ];
  return programs.map(([name, program], i) => ({
    name,
    program,
    variant: what,
    count: counts[i] as number,
    alone: true,
  }));
}

const BULK_MISSED =
  "The rest is the kernel's copies, and one copy from the buffer that both ends read through. " +
  "Under different loads of the cores it was between 1.8 and 3.3.";

const others = (ours: string) =>
  ["Deno.Command, pipes", "Node fork, IPC", "Deno Worker"].map((baseline) => ({ ours, baseline }));

export const pairs: Subject[] = [
  {
    name: "pair: round trip",
    title: "Pair: round trip, 64 B",
    unit: "µs",
    better: "less",
    size: 64,
    contenders: contenders("trip", [20_000, 20_000, 20_000, 20_000, 20_000]),
    lines: [{
      ours: OURS,
      baseline: RAW,
      atLeast: 0.95,
      missed:
        "A read resolves a promise after the event, which the baseline handles at once. Tried: a " +
        "descriptor that stays in the event loop between two calls; that saves 2 % of the time.",
    }, ...others(OURS)],
    value: microseconds,
  },
  {
    name: "pair: bulk up",
    title: "Pair: 1 GiB from parent to child",
    unit: "GB/s",
    better: "more",
    size: 256 * 1024,
    contenders: contenders("up", [4096, 4096, 4096, 1024, 1024]),
    lines: [{ ours: OURS, baseline: RAW, atLeast: 2.5, missed: BULK_MISSED }, ...others(OURS)],
    value: gigabytesPerSecond,
  },
  {
    name: "pair: bulk down",
    title: "Pair: 1 GiB from child to parent",
    unit: "GB/s",
    better: "more",
    size: 256 * 1024,
    contenders: contenders("down", [4096, 4096, 4096, 1024, 1024]),
    lines: [{ ours: OURS, baseline: RAW, atLeast: 2.5, missed: BULK_MISSED }, ...others(OURS)],
    value: gigabytesPerSecond,
  },
  {
    name: "pair: start",
    title: "Pair: start of a child to its first byte",
    unit: "ms",
    better: "less",
    size: 64,
    contenders: contenders("start", [6, 6, 6, 6, 6]),
    lines: [{ ours: OURS, baseline: RAW, atLeast: 1 }, ...others(OURS)],
    value: milliseconds,
  },
];
