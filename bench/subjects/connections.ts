/** Bytes over connections: latency, bulk, and what a connection costs. */

import { atLeast, atMost, beside, by, GIGABYTES, MICROSECONDS, type Subject } from "../subject.ts";

const TRIPS = 10_000;
/** As many as fit into the time of the others: while V8 compiles, neither end can look. */
const LOW_LATENCY_TRIPS = 5 * TRIPS;
const CHUNK = 256 * 1024;
const GIB = 2 ** 30 / CHUNK;

/** All echo servers have the same client. */
const ECHO = { client: "connections.ts echo raw" };

const ONE_PROCESSOR =
  "If both ends share one processor, they cannot look at the same time. On two processors V8's " +
  "compiler and garbage collector take the time of the ends that look: 120 ms and 20 ms of each " +
  "process in its first 12,000 trips with messages. Over 50,000 trips the cost was 19 µs without " +
  "messages and 25 µs with them. The raw loop took 44 µs then, and 63 µs on the same day.";
const SAME_CALLS = "The calls are those of the raw loop. The difference is noise.";

/** Round trips over many connections at once. */
function crowd(connections: number): Pick<Subject, "title" | "unit" | "better" | "size" | "value"> {
  const title = `Round trips over ${connections} connections at once`;
  return { title, size: 64, ...MICROSECONDS };
}

const crowdBy = (name: string, way: string, connections: number) =>
  by(name, `connections.ts trips ${way} ${connections}`, 2 * TRIPS, { connections });

export const connections: Subject[] = [
  {
    name: "round trip",
    title: "Round trip, 64 B, one in flight",
    size: 64,
    ...MICROSECONDS,
    contenders: [
      by("uds Connection", "connections.ts trips uds", TRIPS),
      by("uds messages", "messages.ts uds trips", TRIPS),
      by("uds lowLatency", "connections.ts trips uds lowLatency", LOW_LATENCY_TRIPS),
      by("uds lowLatency, messages", "messages.ts uds trips lowLatency", LOW_LATENCY_TRIPS),
      by("Deno raw loop", "connections.ts trips raw", TRIPS),
      by("C", "peer.c trips", TRIPS),
    ],
    lines: [
      atMost(1.05, "uds Connection", "Deno raw loop", SAME_CALLS),
      atMost(
        1.12,
        "uds messages",
        "Deno raw loop",
        "A message is encoded, queued and decoded. Tried: no timer at the end of a turn for a single " +
          "message, which reduced the cost from 1.37 to 1.13. Under different loads of the machine " +
          "the same code was between 1.10 and 1.69.",
      ),
      atMost(0.35, "uds lowLatency", "Deno raw loop", ONE_PROCESSOR),
      atMost(0.5, "uds lowLatency, messages", "Deno raw loop", ONE_PROCESSOR),
      beside("uds Connection", "C"),
    ],
  },
  ...[4, 64].map((count): Subject => ({
    name: `low latency ${count}`,
    ...crowd(count),
    title: `Round trips over ${count} connections at once, with lowLatency`,
    contenders: [crowdBy("uds", "uds", count), crowdBy("uds lowLatency", "uds lowLatency", count)],
    lines: [atMost(1.05, "uds lowLatency", "uds")],
  })),
  {
    name: "connections 1000",
    ...crowd(1000),
    contenders: [crowdBy("uds", "uds", 1000), crowdBy("Deno raw", "raw", 1000)],
    lines: [
      atMost(
        1.1,
        "uds",
        "Deno raw",
        "A read and a write each make one promise more than Deno's. In two runs of the same day it " +
          "was 1.11 and 1.14.",
      ),
    ],
  },
  {
    name: "bulk",
    title: "One way, 1 GiB in chunks of 256 KiB",
    size: CHUNK,
    ...GIGABYTES,
    contenders: [
      by("uds read/write", "connections.ts bulk uds offset", GIB),
      by("uds lowLatency", "connections.ts bulk uds offset lowLatency", GIB),
      by("uds larger send buffer", "connections.ts bulk uds offset sendBuffer", GIB),
      by("uds streams", "connections.ts streams uds", GIB),
      by("Deno raw loop, plain", "connections.ts bulk raw plain", GIB),
      by("Deno raw loop, offset", "connections.ts bulk raw offset", GIB),
      by("Deno streams", "connections.ts streams raw", GIB),
    ],
    lines: [
      atLeast(
        1.05,
        "uds read/write",
        "Deno raw loop, plain",
        "The gain comes from where the buffer starts. On this processor that makes no difference: " +
          "compare the rows of the raw loop, plain and offset.",
      ),
      atLeast(0.95, "uds read/write", "Deno raw loop, offset", SAME_CALLS),
      atLeast(
        2,
        "uds streams",
        "Deno streams",
        "Each chunk of a stream has its own memory, which its consumer may keep. Allocating, filling " +
          "and freeing it takes more than half of the time, and as much with Deno's streams. Tried: " +
          "freed memory kept in the process, which raised it from 1.26 to 1.55 in one run, and to 1.81 and " +
          "2.49 in others; chunks of 64 to 512 KiB; streams other than byte streams. A raw loop that copies " +
          "each chunk reached 1.25 times its rate. Each load has 1 GiB. In reports before 2026-11-28 " +
          "it had 256 MiB, and the growth of the heap took most of the time.",
      ),
      atLeast(0.95, "uds lowLatency", "uds read/write", SAME_CALLS),
      atLeast(
        1.1,
        "uds larger send buffer",
        "uds read/write",
        "It saves a write and a turn of the event loop for each chunk. Here the copies of the kernel " +
          "take nearly all of the time. On another machine it gave 1.18.",
      ),
    ],
  },
  {
    name: "echo",
    title: "Echo of 1 GiB through a server",
    size: CHUNK,
    ...GIGABYTES,
    contenders: [
      by("uds relay", "connections.ts relay uds", GIB, ECHO),
      by("uds pipeTo", "connections.ts pipeTo uds", GIB, ECHO),
      by("Deno pipeTo", "connections.ts pipeTo raw", GIB / 4, ECHO),
      by("Deno raw loop", "connections.ts echo raw offset", GIB, ECHO),
    ],
    lines: [
      atLeast(
        3,
        "uds relay",
        "Deno pipeTo",
        "It is as fast as a raw loop, which is the maximum for one thread: the kernel's two copies " +
          "take all of the time. Tried: a client in C instead of Deno, with the same ratio; a buffer " +
          "of 208 KiB, which needs one write for each read instead of two.",
      ),
      atLeast(
        2,
        "uds pipeTo",
        "Deno pipeTo",
        "Like relay it uses a single buffer, which made it 1.7 times as fast. The rest is the work " +
          "of the streams for each chunk. On another day the same code reached 2.09.",
      ),
      beside("uds relay", "Deno raw loop"),
    ],
  },
  ...([["trips raw", "round trip", "round trip, 64 B", 64, TRIPS / 2, MICROSECONDS], [
    "bulk raw plain",
    "bulk",
    "1 GiB, one way",
    CHUNK,
    GIB,
    GIGABYTES,
  ]] as const).map(([words, name, title, size, count, unit]): Subject => ({
    name: `relay: ${name}`,
    title: `Through a relay: ${title}`,
    size,
    ...unit,
    contenders: (["uds", "socat", "HAProxy"] as const).map((relay) =>
      by(relay === "uds" ? "uds relay" : relay, `connections.ts ${words}`, count, { relay })
    ),
    lines: [
      atLeast(
        1,
        "uds relay",
        "socat",
        "All relays make the same reads and writes. Both ends and the relay share two cores, and " +
          "under different loads the same code was between 0.78 and 1.25.",
      ),
      atLeast(0.7, "uds relay", "HAProxy"),
    ],
  })),
  {
    name: "connect",
    title: "Connect, one byte, close",
    size: 1,
    ...MICROSECONDS,
    contenders: [
      by("uds connect/serve", "connections.ts connect uds", 4000),
      by("Deno raw", "connections.ts connect raw", 4000),
    ],
    lines: [
      atLeast(
        0.9,
        "uds connect/serve",
        "Deno raw",
        "Each end does more: the client checks its arguments and the path, the server counts its " +
          "connections, flushes and closes. Both make the same system calls per connection as the raw " +
          "loops: the rest is this code, most of it before it is compiled. Tried: no permission query " +
          "if Deno cannot prompt, which reduced the cost from 1.33 to 1.19. Under different loads of " +
          "the machine the same code reached between 0.72 and 0.89.",
      ),
    ],
  },
  {
    name: "idle",
    title: "Memory of an idle connection",
    unit: "KiB",
    better: "less",
    size: 1,
    rounds: 2,
    contenders: [
      ["uds serve", "uds server", "raw"],
      ["Deno listen", "raw server", "raw"],
      ["uds connect", "raw client", "uds client"],
      ["Deno connect", "raw client", "raw client"],
    ].map(([name, server, client]) =>
      by(name!, `idle.ts ${server}`, 4900, {
        client: `idle.ts ${client}`,
        warm: 100,
        connections: 5000,
      })
    ),
    lines: [
      atMost(1.5, "uds serve", "Deno listen"),
      atMost(
        1.5,
        "uds connect",
        "Deno connect",
        "A connection takes 3 to 4 KiB more than Deno's at each end. Reports before 2026-11-28 had " +
          "the memory of the server in this row, by mistake.",
      ),
    ],
    value: ({ memory }, { count }) => memory! / count / 1024,
  },
  {
    name: "idle processor",
    title: "Processor time of 10,000 idle connections, for 60 s",
    unit: "% of a core",
    better: "less",
    size: 1,
    rounds: 1,
    contenders: [
      by("uds serve", "idle.ts uds processor", 9900, {
        client: "idle.ts raw",
        warm: 100,
        connections: 10_000,
        limitMs: 90_000,
      }),
    ],
    lines: [atMost(0.05, "uds serve")],
    value: ({ processor }) => 100 * processor!,
  },
];
