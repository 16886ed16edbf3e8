/** Messages, JSON lines, calls, packets and descriptors. */

import {
  atLeast,
  atMost,
  beside,
  by,
  GIGABYTES,
  type Line,
  MICROSECONDS,
  type Subject,
  THOUSANDS,
} from "../subject.ts";

const RAW_IS_FAST =
  "The library reaches the rate that the target stands for. But on this machine a write of one " +
  "message costs a fraction of what it cost where the target was set.";

/** 1 GiB of large messages. */
function large(name: string, title: string, size: number, lines: Line[]): Subject {
  const count = 2 ** 30 / size;
  return {
    ...{ name, title, size, ...GIGABYTES, lines },
    contenders: [
      by("uds, reuse", "messages.ts uds each reuse", count),
      by("uds, to be kept", "messages.ts uds each", count / 2),
      by("Deno raw", "messages.ts raw", count),
      by("Deno raw, to be kept", "messages.ts raw keep", count / 4),
    ],
  };
}

/** Calls with many in flight, or one. */
const callsBy = (name: string, library: string, many: number, inFlight: "many" | "one") =>
  by(name, `calls.ts ${library} ${inFlight}`, inFlight === "one" ? 10_000 : many);

export const messages: Subject[] = [
  {
    name: "messages",
    title: "Pipelined messages, 64 B",
    size: 64,
    ...THOUSANDS,
    contenders: [
      by("uds, each awaited", "messages.ts uds each", 1_500_000),
      by("uds, one by one", "messages.ts uds some", 1_500_000),
      by("uds, in batches", "messages.ts uds batches", 2_000_000),
      by("Deno raw", "messages.ts raw", 50_000),
      by("Node node:net", "node.mjs messages", 75_000),
      by("C", "peer.c each", 150_000),
      by("C, coalesced", "peer.c coalesced", 12_000_000),
    ],
    lines: [
      atLeast(15, "uds, each awaited", "Deno raw", RAW_IS_FAST),
      atLeast(25, "uds, one by one", "Deno raw", RAW_IS_FAST),
      atLeast(15, "uds, one by one", "Node node:net", RAW_IS_FAST),
      atLeast(6, "uds, one by one", "C", RAW_IS_FAST),
      atLeast(
        0.4,
        "uds, in batches",
        "C, coalesced",
        "C counts a message in a few nanoseconds, creates nothing, and is bound by the kernel's " +
          "copies. JavaScript creates an object for each. Tried: reused memory, which gave 0.16, and " +
          "typed arrays created directly instead of by subarray(), and freed memory that the process " +
          "keeps, which gave 1.1 to 1.5 times the rate. The rest is the creation of the views. The " +
          "ratio is lower than it was because C is faster here: version 0.1.0 has the same.",
      ),
    ],
  },
  {
    name: "JSON lines",
    title: "Pipelined JSON lines, 100 B",
    size: 100,
    ...THOUSANDS,
    contenders: [
      by("uds, one by one", "json.ts uds", 200_000),
      by("Node readline", "node.mjs json", 80_000),
      by("JSON alone", "json.ts memory", 300_000, { alone: true }),
    ],
    lines: [
      atLeast(
        4,
        "uds, one by one",
        "Node readline",
        "It is as fast as JSON.stringify followed by JSON.parse without a socket, and these two take " +
          "the rest of the time. Tried: short texts encoded by a loop instead of a call, and longer " +
          "slices to decode; both helped. Under different loads of the cores it was between 2.9 and " +
          "4.9.",
      ),
      atLeast(
        0.6,
        "uds, one by one",
        "JSON alone",
        "JSON alone keeps its text in the engine's form and in the cache of one core. Here two " +
          "processes encode it, copy it twice and decode it.",
      ),
    ],
  },
  large("messages 64 KiB", "Messages of 64 KiB", 64 * 1024, [
    atLeast(
      0.95,
      "uds, to be kept",
      "Deno raw, to be kept",
      "Tried: messages copied out of a chunk that is read into again, which raised it from 0.78. " +
        "Under different loads the same code was between 0.85 and 1.54.",
    ),
    atLeast(
      0.9,
      "uds, reuse",
      "Deno raw",
      "If only one end is this package's, the rate is 0.9 of that of the raw loop. So each end adds " +
        "about 2 µs of promises to the 23 µs of a message. Tried: no immediate for a message that is " +
        "written at once, which gave 1.1 times the rate; a chunk that is always read into from its " +
        "start, which gave nothing.",
    ),
  ]),
  large("large messages", "Messages of 1 MiB", 1024 * 1024, [
    atLeast(0.9, "uds, reuse", "Deno raw"),
    atLeast(0.9, "uds, to be kept", "Deno raw, to be kept"),
    beside("uds, to be kept", "Deno raw"),
  ]),
  {
    name: "calls",
    title: "Calls with 64 B, 500 in flight",
    size: 64,
    ...THOUSANDS,
    contenders: [
      callsBy("uds rpc", "uds", 100_000, "many"),
      callsBy("birpc", "birpc", 25_000, "many"),
      callsBy("vscode-jsonrpc", "vscode", 8_000, "many"),
    ],
    lines: [
      atLeast(
        4,
        "uds rpc",
        "birpc",
        "In a profile of the client, writing takes 14 % of the time, garbage collection 10 %, JSON " +
          "12 %, and waiting for the server 39 %. Tried: the first 16 KiB of many calls are written " +
          "while the others are encoded, which gave 1.12 times the rate. Under different loads it was " +
          "between 2.3 and 3.7.",
      ),
      atLeast(3, "uds rpc", "vscode-jsonrpc"),
    ],
  },
  {
    name: "call",
    title: "A call with 64 B, one in flight",
    size: 64,
    ...MICROSECONDS,
    contenders: [
      callsBy("uds rpc", "uds", 0, "one"),
      callsBy("uds messages", "messages", 0, "one"),
      callsBy("birpc", "birpc", 0, "one"),
    ],
    lines: [atMost(1.3, "uds rpc", "uds messages"), beside("uds rpc", "birpc")],
  },
  {
    name: "packets",
    title: "Packets (seqpacket), 64 B, one way",
    size: 64,
    ...THOUSANDS,
    contenders: [
      by("uds packets", "native.ts packets", 50_000),
      by("Python", "peer.py packets", 100_000),
    ],
    lines: [beside("uds packets", "Python")],
  },
  {
    name: "descriptors",
    title: "Descriptors, one at a time, one way",
    size: 1,
    ...THOUSANDS,
    contenders: [
      by("uds descriptors", "native.ts descriptors", 20_000),
      by("Python", "peer.py descriptors", 50_000),
    ],
    lines: [beside("uds descriptors", "Python")],
  },
];
