/** A small message there and back, one in flight. */

import { microseconds, type Subject } from "../subject.ts";

const COUNT = 20_000;

export const roundTrip: Subject = {
  name: "round trip",
  title: "Round trip, 64 B, one in flight",
  unit: "µs",
  better: "less",
  size: 64,
  contenders: [
    { name: "uds Connection", program: "round_trip/uds.ts", count: COUNT },
    { name: "uds messages", program: "round_trip/uds_messages.ts", count: COUNT },
    {
      name: "uds lowLatency",
      program: "round_trip/uds.ts",
      variant: "lowLatency",
      count: COUNT,
    },
    {
      name: "uds lowLatency, messages",
      program: "round_trip/uds_messages.ts",
      variant: "lowLatency",
      count: COUNT,
    },
    { name: "Deno raw loop", program: "round_trip/raw.ts", count: COUNT },
    { name: "Node node:net", program: "round_trip/node.mjs", count: COUNT },
    { name: "Python asyncio", program: "round_trip/streams.py", count: COUNT },
    { name: "C", program: "round_trip/round_trip.c", count: COUNT },
  ],
  lines: [
    {
      ours: "uds Connection",
      baseline: "Deno raw loop",
      atMost: 1.05,
      missed: "The calls are those of the raw loop. Other runs had between 0.95 and 1.06.",
    },
    {
      ours: "uds messages",
      baseline: "Deno raw loop",
      atMost: 1.12,
      missed:
        "A message is encoded, queued and decoded. Tried: no timer at the end of a turn for a single " +
        "message, which reduced the cost from 1.37 to 1.13. Under different loads of the machine the " +
        "same code was between 1.13 and 1.35.",
    },
    {
      ours: "uds lowLatency",
      baseline: "Deno raw loop",
      atMost: 0.35,
      missed: "If both ends share one processor, they cannot look at the same time.",
    },
    {
      ours: "uds lowLatency, messages",
      baseline: "Deno raw loop",
      atMost: 0.5,
      missed: "If both ends share one processor, they cannot look at the same time.",
    },
    { ours: "uds Connection", baseline: "Node node:net" },
    { ours: "uds Connection", baseline: "Python asyncio" },
    { ours: "uds Connection", baseline: "C" },
  ],
  value: microseconds,
};
