/** How the cost grows with the size of a message: from 1 B to 16 MiB, one way. */

import { gigabytesPerSecond, type Subject } from "../subject.ts";

const CURVE = "Throughput by message size";
const AXIS = "bytes of a message";
const SIZES = [1, 16, 256, 4096, 65_536, 1_048_576, 16_777_216];

/** The maximum number of bytes in a run, and of messages for each contender. */
const MAX_BYTES = 512 * 1024 * 1024;
const MAX_COUNTS = { uds: 2_000_000, raw: 100_000, c: 300_000, coalesced: 8_000_000 };

export const messageSize: Subject[] = SIZES.map((size) => {
  const count = (most: number) => Math.min(most, Math.ceil(MAX_BYTES / size));
  return {
    name: `message size ${size}`,
    title: `Messages of ${size} B, one way`,
    unit: "GB/s",
    better: "more",
    size,
    contenders: [
      {
        name: "uds messages",
        program: "messages/uds.ts",
        variant: "some",
        count: count(MAX_COUNTS.uds),
      },
      { name: "Deno raw", program: "messages/raw.ts", count: count(MAX_COUNTS.raw) },
      {
        name: "C",
        program: "messages/messages.c",
        variant: "each",
        count: count(MAX_COUNTS.c),
      },
      {
        name: "C, coalesced",
        program: "messages/messages.c",
        variant: "coalesced",
        count: count(MAX_COUNTS.coalesced),
      },
    ],
    lines: [],
    value: gigabytesPerSecond,
    point: { curve: CURVE, axis: AXIS, x: size },
  };
});
