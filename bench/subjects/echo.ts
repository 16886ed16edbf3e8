/** One GiB through a server and back; the client is the same for all. */

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
    { ours: "uds relay", baseline: "Deno pipeTo", atLeast: 3 },
    { ours: "uds pipeTo", baseline: "Deno pipeTo", atLeast: 2 },
    { ours: "uds relay", baseline: "Deno raw loop, offset" },
  ],
  value: gigabytesPerSecond,
};
