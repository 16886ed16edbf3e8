/** Children, the command line, HTTP, restarts and workers. */

import {
  atLeast,
  atMost,
  beside,
  by,
  GIGABYTES,
  MICROSECONDS,
  MILLISECONDS,
  RATE,
  type Subject,
} from "../subject.ts";

const PAIR = "uds pair";
const RAW = "Deno node:net on fd 3";

const BULK_MISSED =
  "The rest is the kernel's copies, and one copy from the buffer that both ends read through. " +
  "Under different loads of the cores it was between 1.8 and 3.3.";

/** Returns the contenders of a pair, and the line without a goal. */
function pair(work: string, count: number) {
  const others = work === "up" || work === "down" ? count / 4 : count;
  const contenders = [
    by(PAIR, `pair/uds.ts ${work}`, count, { alone: true }),
    by(RAW, `pair/raw.ts ${work}`, others, { alone: true }),
    by("Deno.Command, pipes", `pair/command.ts ${work}`, others, { alone: true }),
  ];
  return { name: `pair: ${work}`, contenders };
}

const pairLine = beside(PAIR, "Deno.Command, pipes");

/** Figures of the same requests. */
const http: Pick<Subject, "size" | "contenders" | "lines"> = {
  size: 5,
  contenders: [
    by("on a claimed path", "http.ts claimed", 40_000),
    by("on a plain path", "http.ts plain", 40_000),
  ],
  lines: [
    atLeast(
      0.98,
      "on a claimed path",
      "on a plain path",
      "A claim takes no part in a request: the server is Deno's, and the path is looked at every 5 s. " +
        "In three runs of the same day the rate was 0.91, 0.95 and 1.05. A server with a plain path, " +
        "and the timers and the watch of a claim beside it, has the same rate.",
    ),
  ],
};

/** Figures of the same restarts. */
const takeover: Pick<Subject, "better" | "size" | "contenders" | "rounds"> = {
  better: "less",
  size: 64,
  rounds: 3,
  contenders: [by("uds serve", "takeover.ts", 10_000, { alone: true })],
};

const workers: Pick<Subject, "size" | "contenders" | "rounds"> = {
  size: 64,
  rounds: 3,
  contenders: [
    by("2 workers", "workers.ts 2", 120, { alone: true }),
    by("1 worker", "workers.ts 1", 60, { alone: true }),
  ],
};

export const processes: Subject[] = [
  {
    title: "Pair: round trip, 64 B",
    size: 64,
    ...MICROSECONDS,
    ...pair("trips", 40_000),
    name: "pair: round trip",
    lines: [
      atLeast(
        0.95,
        PAIR,
        RAW,
        "A read resolves a promise after the event, which the baseline handles at once. Tried: a " +
          "descriptor that stays in the event loop between two calls; that saves 2 % of the time. " +
          "The child opens its socket without node:net, so that it starts sooner. Over 10,000 trips " +
          "V8 then compiles more of this package, and the ratio was 0.90. Over 40,000 it was 0.99.",
      ),
      pairLine,
    ],
  },
  ...([["up", "from parent to child"], ["down", "from child to parent"]] as const).map((
    [work, way],
  ): Subject => ({
    title: `Pair: 1 GiB ${way}`,
    size: 256 * 1024,
    ...GIGABYTES,
    ...pair(work, 4096),
    name: `pair: bulk ${work}`,
    lines: [atLeast(2.5, PAIR, RAW, BULK_MISSED), pairLine],
  })),
  {
    title: "Pair: start of a child to its first byte",
    size: 64,
    ...MILLISECONDS,
    ...pair("start", 4),
    lines: [atLeast(1, PAIR, RAW), pairLine],
  },
  {
    name: "CLI start",
    title: "CLI start: `uds probe` of a live path",
    size: 1,
    ...MILLISECONDS,
    contenders: [
      by("uds probe", "cli_start.ts probe", 8, { alone: true }),
      by("empty Deno script", "cli_start.ts empty", 8, { alone: true }),
    ],
    lines: [
      atMost(
        2,
        "uds probe",
        "empty Deno script",
        "Deno reads all 280 modules of the command line, also those that are imported later. That " +
          "takes 37 ms of the 54 ms more, and running 47 of them takes the rest. Where an empty " +
          "script takes 68 ms instead of 33 ms, the ratio is 1.99. Tried: commands that load only " +
          "what they use; --unstable-lazy-dynamic-imports, which gave 1.94. A specifier that is not " +
          "a literal would be neither cached nor allowed.",
      ),
    ],
  },
  { name: "http", title: "Deno.serve: requests, 16 connections", ...http, ...RATE },
  ...(["p50", "p99", "p99.9"] as const).map((part): Subject => ({
    name: `http ${part}`,
    title: `Deno.serve: ${part} of the requests`,
    ...http,
    unit: "ms",
    better: "less",
    of: "http",
    value: (outcome) => outcome[part]!,
  })),
  {
    name: "takeover",
    title: "3 restarts under 10,000 connections: lost requests",
    ...takeover,
    unit: "requests",
    lines: [atMost(0, "uds serve")],
    value: ({ lost }) => lost!,
  },
  {
    name: "takeover pause",
    title: "3 restarts under 10,000 connections: the longest request",
    ...takeover,
    unit: "ms",
    lines: [atMost(100, "uds serve")],
    of: "takeover",
    value: ({ pause }) => pause!,
  },
  {
    name: "workers",
    title: "Requests that compute, with workers",
    ...workers,
    ...RATE,
    lines: [atLeast(1.8, "2 workers", "1 worker")],
  },
  {
    name: "workers share",
    title: "Requests that compute: the share of the busiest worker",
    ...workers,
    unit: "%",
    better: "less",
    of: "workers",
    lines: [
      atMost(
        60,
        "2 workers",
        undefined,
        "A client goes to the worker that accepts first. Clients and workers share two processors, so " +
          "a worker can get less processor time. In another run of the same day it was 55.",
      ),
    ],
    value: ({ share }) => share!,
  },
];
