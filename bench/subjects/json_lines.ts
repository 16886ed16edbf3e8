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
        "It is as fast as JSON.stringify followed by JSON.parse without a socket, and these two take " +
        "the rest of the time. Tried: short texts encoded by a loop instead of a call, and longer " +
        "slices to decode; both helped. Under different loads of the cores it was between 3.0 and 4.9.",
    },
    {
      ours: "uds, one by one",
      baseline: "JSON alone",
      atLeast: 0.6,
      missed:
        "JSON alone keeps its text in the engine's form and in the cache of one core. Here two " +
        "processes encode it, copy it twice and decode it.",
    },
    { ours: "uds, in batches", baseline: "JSON alone" },
  ],
  value: thousandsPerSecond,
};
