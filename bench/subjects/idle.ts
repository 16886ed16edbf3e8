/** The memory of an idle connection, at each end. It waits in a read. */

import type { Subject } from "../subject.ts";

const WARM = 100;
const COUNT = 4900;

export const idle: Subject = {
  name: "idle",
  title: "Memory of an idle connection",
  unit: "KiB",
  better: "less",
  size: 1,
  contenders: [
    { name: "uds serve", program: "idle/uds.ts", client: "idle/raw.ts", variant: "server" },
    { name: "Deno listen", program: "idle/raw.ts", variant: "server" },
    { name: "uds connect", program: "idle/raw.ts", client: "idle/uds.ts", variant: "client" },
    { name: "Deno connect", program: "idle/raw.ts", variant: "client" },
  ].map((contender) => ({ ...contender, warm: WARM, count: COUNT, connections: WARM + COUNT })),
  lines: [
    { ours: "uds serve", baseline: "Deno listen", atMost: 1.5 },
    { ours: "uds connect", baseline: "Deno connect", atMost: 1.5 },
  ],
  value: ({ memory = NaN }, { count }) => memory / count / 1024,
};
