/** A connection that carries one byte. */

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
  lines: [{
    ours: "uds connect/serve",
    baseline: "Deno raw",
    atLeast: 0.9,
    missed: "Each end does more: the client checks its arguments and the path, the server counts " +
      "its connections, flushes and closes. Tried: no permission query if Deno cannot prompt, " +
      "which reduced the cost from 1.33 to 1.19. Under different loads of the machine the same " +
      "code reached between 0.72 and 0.87.",
  }],
  value: microseconds,
};
