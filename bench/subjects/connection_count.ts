/**
 * How the cost grows with the number of connections: from 1 to 5,000, all with a message in flight.
 */

import { microseconds, type Subject } from "../subject.ts";

const CURVE = "Round trip by connections";
const AXIS = "connections, each with 64 B in flight";
const COUNTS = [1, 10, 100, 1000, 5000];

const ROUND_TRIPS = 40_000;

export const connectionCount: Subject[] = COUNTS.map((connections) => ({
  name: `connections ${connections}`,
  title: `Round trips over ${connections} connections at once`,
  unit: "µs",
  better: "less",
  size: 64,
  contenders: [
    { name: "uds", program: "crowd_trips/uds.ts" },
    { name: "Deno raw", program: "crowd_trips/raw.ts" },
  ].map((contender) => ({
    ...contender,
    variant: String(connections),
    count: ROUND_TRIPS,
    connections,
  })),
  lines: connections === 1000 ? [{ ours: "uds", baseline: "Deno raw", atMost: 1.1 }] : [],
  value: microseconds,
  point: { curve: CURVE, axis: AXIS, x: connections },
}));

/** Connections that are busy at the same time, which do not look for bytes. */
export const lowLatency: Subject[] = [4, 64].map((connections) => ({
  name: `low latency ${connections}`,
  title: `Round trips over ${connections} connections at once, with lowLatency`,
  unit: "µs",
  better: "less",
  size: 64,
  contenders: [["uds", `${connections}`], ["uds lowLatency", `${connections} lowLatency`]].map(
    ([name, variant]) => ({
      name: name!,
      variant: variant!,
      program: "crowd_trips/uds.ts",
      count: ROUND_TRIPS,
      connections,
    }),
  ),
  lines: [{
    ours: "uds lowLatency",
    baseline: "uds",
    atMost: 1.05,
  }],
  value: microseconds,
}));
