/**
 * # Workers
 *
 * Two workers of `serveWorkers()`, and clients that connect again and again.
 */

import { connect } from "@uds/uds";
import { serveWorkers } from "@uds/uds/workers";
import { assert, assertEquals } from "@std/assert";
import { cpuUsage } from "node:process";
import { encode, fixture, readText, TempDir, test, testAlone } from "../_helpers.ts";
import { accepting, moduleOf, pids } from "../workers/_workers.ts";

const CLIENTS = 32;
const REQUESTS = 100_000;
const RELOADS = 20;
/** How many requests a client sends before it connects again. */
const PER_CONNECTION = 10;

/**
 * Fault: The workers are replaced again and again
 * How: `reload()` 20 times, one after the other, under 100,000 requests of 32 clients
 * Then: No client is refused or reset, and each request is answered
 */
test("20 reloads during 100,000 requests refuse and reset no client", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using server = await pids({ path });
  let reloads = 0;
  let requests = 0;
  const served = new Set<number>();
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (requests < REQUESTS || reloads < RELOADS) {
      await using conn = await connect(path);
      const pid = Number(await readText(conn));
      served.add(pid);
      for (let i = 0; i < PER_CONNECTION; i++, requests++) {
        await conn.write(encode("ping"));
        assertEquals(await readText(conn), `ping ${pid}\n`);
      }
    }
  });
  while (reloads < RELOADS) {
    await server.reload();
    reloads++;
  }
  await Promise.all(clients);
  const { lost } = await server.statistics();
  assertEquals([lost, (await accepting(server)).length], [0, 2]);
  assert(served.size > RELOADS, `${served.size} workers have served`);
  console.log(`${requests} requests, ${reloads} reloads, ${served.size} workers have served`);
}, { deadline: 100_000 });

const ROUND_MS = 2000;
/** Other programs need a processor, too: the gain counts that they leave in one round. */
const ROUNDS = 6;

/** What one round has shown. */
interface Measured {
  /** Requests a second. */
  readonly rate: number;
  /** The share of the busiest worker. */
  readonly share: number;
  /** The processor time, in milliseconds, that a request costs outside of the workers. */
  readonly cost: number;
}

/** Measures some workers, with new connections. */
async function measure(count: number): Promise<Measured> {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using _server = await serveWorkers({ path, count }, moduleOf("spin.ts"));
  const served = new Map<string, number>();
  const before = cpuUsage();
  const begin = performance.now();
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (performance.now() - begin < ROUND_MS) {
      await using conn = await connect(path);
      await conn.write(new Uint8Array(1));
      const pid = await readText(conn) ?? "";
      served.set(pid, (served.get(pid) ?? 0) + 1);
    }
  }));
  const total = served.values().reduce((sum, requests) => sum + requests, 0);
  const { user, system } = cpuUsage(before);
  return {
    rate: total / (performance.now() - begin) * 1000,
    share: Math.max(...served.values()) / total,
    cost: (user + system) / 1000 / total,
  };
}

/** Returns how many times as much as one process two compute together, without any socket. */
async function ceiling(): Promise<number> {
  const compute = async () => {
    await using process = fixture("./tests/fixtures/workers/spin.ts", []);
    return Number(await process.line());
  };
  const one = await compute();
  const two = await Promise.all([compute(), compute()]);
  return (two[0] + two[1]) / one;
}

/**
 * Fault: Each request computes for 20 ms
 * How: 16 clients, to one worker and to two
 * Then: Two workers serve at least 1.8 times as many requests, and neither more than 60 %
 */
testAlone(
  "two workers that compute serve 1.8 times as much as one, neither over 60 %",
  async () => {
    const rounds: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const one = await measure(1);
      const two = await measure(2);
      const most = await ceiling();
      const gain = two.rate / one.rate;
      const text =
        `${one.rate.toFixed()}/s and ${two.rate.toFixed()}/s, ${gain.toFixed(2)} times; ` +
        `two processes without clients: ${most.toFixed(2)} times; share ${two.share.toFixed(2)}; ` +
        `clients and owner: ${two.cost.toFixed(2)} ms of a processor for each request`;
      console.log(text);
      if (gain >= 1.8 && two.share <= 0.6) return;
      rounds.push(text);
    }
    throw new Error(`with one worker and with two:\n${rounds.join("\n")}`);
  },
  { deadline: 90_000 },
);
