/** A connection for one byte. */

import { microseconds, type Subject } from "../subject.ts";

const COUNT = 6000;

export const connections: Subject = {
  name: "connect",
  title: "Connect, one byte, close",
  unit: "µs",
  better: "less",
  size: 1,
  contenders: [
    { name: "uds connect/serve", program: "connect/uds.ts", count: COUNT },
    { name: "Deno raw", program: "connect/raw.ts", count: COUNT },
  ],
  lines: [{ ours: "uds connect/serve", baseline: "Deno raw", atLeast: 0.85 }],
  value: microseconds,
};
