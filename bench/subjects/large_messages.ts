/** Messages that are larger than a socket buffer of the kernel. */

import { gigabytesPerSecond, type Subject } from "../subject.ts";

const COUNT = 1024;

export const largeMessages: Subject = {
  name: "large messages",
  title: "Messages of 1 MiB",
  unit: "GB/s",
  better: "more",
  size: 1024 * 1024,
  contenders: [
    { name: "uds, reuse", program: "messages/uds.ts", variant: "each reuse", count: COUNT },
    { name: "uds, to be kept", program: "messages/uds.ts", variant: "each", count: COUNT },
    { name: "Deno raw", program: "messages/raw.ts", count: COUNT },
    {
      name: "Deno raw, to be kept",
      program: "large_messages/raw_keep.ts",
      client: "messages/raw.ts",
      count: COUNT,
    },
    { name: "C", program: "messages/messages.c", variant: "each", count: COUNT },
  ],
  lines: [
    { ours: "uds, reuse", baseline: "Deno raw", atLeast: 0.9 },
    { ours: "uds, to be kept", baseline: "Deno raw, to be kept", atLeast: 0.9 },
    { ours: "uds, to be kept", baseline: "Deno raw" },
  ],
  value: gigabytesPerSecond,
};
