/**
 * # Workers
 *
 * Two workers of `serveWorkers()`, and clients that connect again and again.
 */

import { connect } from "@uds/uds";
import { serveWorkers } from "@uds/uds/workers";
import { assert, assertEquals } from "@std/assert";
import { encode, readText, TempDir, test, testAlone } from "../_helpers.ts";
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

/** Requests a second, and the share of the busiest worker, with new connections. */
async function measure(count: number): Promise<{ rate: number; share: number }> {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using _server = await serveWorkers({ path, count }, moduleOf("spin.ts"));
  const served = new Map<string, number>();
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
  const rate = total / (performance.now() - begin) * 1000;
  return { rate, share: Math.max(...served.values()) / total };
}

/**
 * Fault: Each request computes for 5 ms
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
      const gain = two.rate / one.rate;
      rounds.push(`${one.rate.toFixed()}/s and ${two.rate.toFixed()}/s, ${two.share.toFixed(2)}`);
      if (gain >= 1.8 && two.share <= 0.6) return;
    }
    throw new Error(`with one worker and with two, and the share of one: ${rounds.join("; ")}`);
  },
  { deadline: 60_000 },
);
