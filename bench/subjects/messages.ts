/** Many small messages one way. */

import { type Subject, thousandsPerSecond } from "../subject.ts";

const RAW_IS_FAST =
  "The library reaches the rate that the target stands for. But on this machine a write of one " +
  "message costs a fraction of what it cost where the target was set.";

export const pipelined: Subject = {
  name: "messages",
  title: "Pipelined messages, 64 B",
  unit: "thousand/s",
  better: "more",
  size: 64,
  contenders: [
    { name: "uds, each awaited", program: "messages/uds.ts", variant: "each", count: 4_000_000 },
    { name: "uds, one by one", program: "messages/uds.ts", variant: "some", count: 4_000_000 },
    { name: "uds, in batches", program: "messages/uds.ts", variant: "batches", count: 8_000_000 },
    {
      name: "uds, in batches, reuse",
      program: "messages/uds.ts",
      variant: "batches reuse",
      count: 8_000_000,
    },
    { name: "Deno raw", program: "messages/raw.ts", count: 200_000 },
    { name: "Node node:net", program: "messages/node.mjs", count: 300_000 },
    { name: "C", program: "messages/messages.c", variant: "each", count: 600_000 },
    {
      name: "C, coalesced",
      program: "messages/messages.c",
      variant: "coalesced",
      count: 16_000_000,
    },
    {
      name: "ZeroMQ ipc",
      program: "messages/zeromq.py",
      count: 400_000,
      needs: "zmq",
    },
  ],
  lines: [
    {
      ours: "uds, each awaited",
      baseline: "Deno raw",
      atLeast: 15,
      missed: RAW_IS_FAST,
    },
    { ours: "uds, one by one", baseline: "Deno raw", atLeast: 25, missed: RAW_IS_FAST },
    { ours: "uds, one by one", baseline: "Node node:net", atLeast: 15, missed: RAW_IS_FAST },
    { ours: "uds, one by one", baseline: "C", atLeast: 6, missed: RAW_IS_FAST },
    {
      ours: "uds, in batches",
      baseline: "C, coalesced",
      atLeast: 0.4,
      missed:
        "C counts a message in a few nanoseconds, creates nothing, and is bound by the kernel's " +
        "copies. JavaScript creates an object for each. Tried: reused memory (a row of its own), and " +
        "typed arrays created directly instead of by subarray(). The rest is the creation of the views.",
    },
    { ours: "uds, in batches, reuse", baseline: "C, coalesced" },
    { ours: "uds, one by one", baseline: "ZeroMQ ipc" },
  ],
  value: thousandsPerSecond,
};
