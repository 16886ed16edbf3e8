/** One GiB one way, in chunks of 256 KiB. */

import { gigabytesPerSecond, type Subject } from "../subject.ts";

const COUNT = 4096;

export const bulk: Subject = {
  name: "bulk",
  title: "One way, 1 GiB in chunks of 256 KiB",
  unit: "GB/s",
  better: "more",
  size: 256 * 1024,
  contenders: [
    { name: "uds read/write", program: "bulk/uds.ts", variant: "offset", count: COUNT },
    { name: "uds read/write, plain", program: "bulk/uds.ts", variant: "plain", count: COUNT },
    {
      name: "uds lowLatency",
      program: "bulk/uds.ts",
      variant: "offset lowLatency",
      count: COUNT,
    },
    { name: "uds streams", program: "bulk/uds_streams.ts", count: COUNT },
    { name: "Deno raw loop, plain", program: "bulk/raw.ts", variant: "plain", count: COUNT },
    { name: "Deno raw loop, offset", program: "bulk/raw.ts", variant: "offset", count: COUNT },
    { name: "Deno streams", program: "bulk/raw_streams.ts", count: COUNT },
    { name: "Node node:net", program: "bulk/node.mjs", count: COUNT },
    { name: "C", program: "bulk/bulk.c", count: COUNT },
  ],
  lines: [
    {
      ours: "uds read/write",
      baseline: "Deno raw loop, plain",
      atLeast: 1.05,
      missed:
        "The gain comes from where the buffer starts. On this processor that makes no difference: " +
        "compare the rows of the raw loop, plain and offset.",
    },
    {
      ours: "uds read/write",
      baseline: "Deno raw loop, offset",
      atLeast: 0.95,
      missed: "The calls are those of the raw loop. The difference is noise.",
    },
    {
      ours: "uds streams",
      baseline: "Deno streams",
      atLeast: 2,
      missed:
        "Each chunk of a stream has its own memory, which its consumer may keep. Allocating and " +
        "freeing it takes 27 % of the reader's time in a profile, and 24 % with Deno's streams. " +
        "Tried: chunks of at most 64, 128, 256 and 512 KiB; one buffer and a copy for each chunk; " +
        "streams other than byte streams. None was measurably faster. pipeTo needs no chunks of " +
        "its own: see the echo.",
    },
    {
      ours: "uds lowLatency",
      baseline: "uds read/write",
      atLeast: 0.95,
      missed: "For bulk the calls are those of other connections. The difference is noise.",
    },
    { ours: "uds read/write", baseline: "Node node:net" },
    { ours: "uds read/write", baseline: "C" },
  ],
  value: gigabytesPerSecond,
};
