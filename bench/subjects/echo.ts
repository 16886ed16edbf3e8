/** One GiB through a server and back, with the same client for all servers. */

import { gigabytesPerSecond, type Subject } from "../subject.ts";

const client = "echo/client.ts";
const COUNT = 4096;

export const echo: Subject = {
  name: "echo",
  title: "Echo of 1 GiB through a server",
  unit: "GB/s",
  better: "more",
  size: 256 * 1024,
  contenders: [
    { name: "uds relay", program: "echo/relay.ts", client, count: COUNT },
    { name: "uds pipeTo", program: "echo/pipe_to.ts", client, count: COUNT },
    { name: "Deno pipeTo", program: "echo/raw_pipe_to.ts", client, count: COUNT },
    {
      name: "Deno raw loop, plain",
      program: "echo/raw.ts",
      variant: "plain",
      client,
      count: COUNT,
    },
    {
      name: "Deno raw loop, offset",
      program: "echo/raw.ts",
      variant: "offset",
      client,
      count: COUNT,
    },
  ],
  lines: [
    {
      ours: "uds relay",
      baseline: "Deno pipeTo",
      atLeast: 3,
      missed:
        "It is as fast as a raw loop, which is the maximum for one thread: the kernel's two copies " +
        "take all of the time. Tried: a client in C instead of Deno; the ratio was the same.",
    },
    {
      ours: "uds pipeTo",
      baseline: "Deno pipeTo",
      atLeast: 2,
      missed:
        "Like relay it uses a single buffer, which made it 1.7 times as fast. The rest is the work " +
        "of the streams for each chunk. On another day the same code reached 2.09.",
    },
    { ours: "uds relay", baseline: "Deno raw loop, offset" },
  ],
  value: gigabytesPerSecond,
};
