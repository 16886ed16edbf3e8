/** Many JSON lines one way. */

import { type Subject, thousandsPerSecond } from "../subject.ts";

export const jsonLines: Subject = {
  name: "JSON lines",
  title: "Pipelined JSON lines, 100 B",
  unit: "thousand/s",
  better: "more",
  size: 100,
  contenders: [
    { name: "uds, one by one", program: "json_lines/uds.ts", variant: "some", count: 800_000 },
    { name: "uds, in batches", program: "json_lines/uds.ts", variant: "batches", count: 800_000 },
    { name: "Node readline", program: "json_lines/node.mjs", count: 200_000 },
    { name: "JSON alone", program: "json_lines/memory.ts", alone: true, count: 800_000 },
  ],
  lines: [
    {
      ours: "uds, one by one",
      baseline: "Node readline",
      atLeast: 4,
      missed:
        "It is as fast as JSON.stringify and JSON.parse after one another without any socket, and what " +
        "is left is theirs. Tried: short texts encoded by a loop instead of a call, longer slices to " +
        "decode, which both helped. With more or less other work on the cores it was between 3.0 and 4.9.",
    },
    {
      ours: "uds, one by one",
      baseline: "JSON alone",
      atLeast: 0.6,
      missed:
        "JSON alone has its text in the form that the engine made it, in the cache of one core; " +
        "here it is encoded, copied twice and decoded, by two processes on the cores that there are.",
    },
    { ours: "uds, in batches", baseline: "JSON alone" },
  ],
  value: thousandsPerSecond,
};
