/** Messages that fill the socket buffer of the kernel: of 64 KiB, and of 1 MiB. */

import { gigabytesPerSecond, type Line, type Subject } from "../subject.ts";

function messagesOf(name: string, title: string, size: number, lines: Line[]): Subject {
  const count = 2 ** 30 / size;
  return {
    name,
    title,
    unit: "GB/s",
    better: "more",
    size,
    contenders: [
      { name: "uds, reuse", program: "messages/uds.ts", variant: "each reuse", count },
      { name: "uds, to be kept", program: "messages/uds.ts", variant: "each", count },
      { name: "Deno raw", program: "messages/raw.ts", count },
      {
        name: "Deno raw, to be kept",
        program: "large_messages/raw_keep.ts",
        client: "messages/raw.ts",
        count,
      },
    ],
    lines,
    value: gigabytesPerSecond,
  };
}

export const largeMessages: Subject[] = [
  messagesOf("messages 64 KiB", "Messages of 64 KiB", 64 * 1024, [
    { ours: "uds, to be kept", baseline: "Deno raw, to be kept", atLeast: 0.95 },
    { ours: "uds, reuse", baseline: "Deno raw", atLeast: 0.9 },
  ]),
  messagesOf("large messages", "Messages of 1 MiB", 1024 * 1024, [
    { ours: "uds, reuse", baseline: "Deno raw", atLeast: 0.9 },
    { ours: "uds, to be kept", baseline: "Deno raw, to be kept", atLeast: 0.9 },
    { ours: "uds, to be kept", baseline: "Deno raw" },
  ]),
];
