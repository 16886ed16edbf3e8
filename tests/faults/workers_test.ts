/**
 * # Workers
 *
 * Two workers of `serveWorkers()`, and clients that connect again and again.
 */

import { connect, type Connection } from "@uds/uds";
import { serveWorkers } from "@uds/uds/workers";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { cpuUsage } from "node:process";
import { encode, fixture, readText, TempDir, test, testAlone } from "../_helpers.ts";
import { accepting, moduleOf, pids, untilReplaced } from "../workers/_workers.ts";

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

/** How many clients connect again and again while a worker is killed or stopped. */
const FEW_CLIENTS = 16;

/** What clients have met while something was done to the workers. */
interface Met {
  /** The number of answered requests. */
  answered: number;
  /** The workers that have cut a client off. `undefined` is one that had not greeted yet. */
  cutBy: (number | undefined)[];
}

/** Connects clients again and again, with a few requests each, while something is done. */
async function whileClientsConnect(path: string, work: () => Promise<void>): Promise<Met> {
  const met: Met = { answered: 0, cutBy: [] };
  let isOver = false;
  const clients = Array.from({ length: FEW_CLIENTS }, async () => {
    while (!isOver) {
      await using conn = await connect(path);
      let pid: number | undefined;
      try {
        const greeting = await readText(conn);
        if (greeting !== null) pid = parseInt(greeting);
        for (let i = 0; i < PER_CONNECTION; i++) {
          await conn.write(encode("ping"));
          if (await readText(conn) !== `ping ${pid}\n`) throw new Error("cut off");
          met.answered++;
        }
      } catch {
        met.cutBy.push(pid);
      }
    }
  });
  try {
    await work();
  } finally {
    isOver = true;
  }
  await Promise.all(clients);
  return met;
}

const KILLS = 20;

/**
 * Fault: A worker is killed while it holds clients
 * How: `kill -9` of one of two workers 20 times, under 16 clients that connect again and again
 * Then: Only clients of that worker are cut off. No client is refused, and another worker starts
 */
test("20 workers that are killed cut off their own clients alone", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using server = await pids({ path, onError() {} });
  const killed = new Set<number>();
  const { answered, cutBy } = await whileClientsConnect(path, async () => {
    while (killed.size < KILLS) {
      const before = await accepting(server);
      const [pid = 0] = before;
      killed.add(pid);
      Deno.kill(pid, "SIGKILL");
      await untilReplaced(server, before);
    }
  });
  for (const pid of cutBy) assert(pid === undefined || killed.has(pid), `${pid} was not killed`);
  assert(cutBy.length <= KILLS * FEW_CLIENTS, `${cutBy.length} clients were cut off`);
  assertEquals((await server.statistics()).lost, KILLS);
  console.log(`${answered} requests, ${cutBy.length} clients of ${KILLS} killed workers`);
}, { deadline: 100_000 });

const STOPS = 5;

/** Connects until a certain worker serves. */
async function connectTo(path: string, pid: number): Promise<Connection> {
  for (;;) {
    const conn = await connect(path);
    if (await readText(conn) === `${pid}\n`) return conn;
    conn.close();
  }
}

/**
 * Fault: A worker hangs while it holds clients
 * How: SIGSTOP of one of two workers for a second, 5 times, under the same clients
 * Then: The clients of the other worker are served meanwhile, and all when it goes on
 */
test(
  "5 workers that hang for a second hold up their own clients alone, and cut off none",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("app.sock");
    await using server = await pids({ path });
    const [stopped = 0, other = 0] = await accepting(server);
    await using free = await connectTo(path, other);
    const { answered, cutBy } = await whileClientsConnect(path, async () => {
      for (let i = 0; i < STOPS; i++) {
        Deno.kill(stopped, "SIGSTOP");
        try {
          for (const start = performance.now(); performance.now() - start < 1000;) {
            await free.write(encode("ping"));
            assertEquals(await readText(free), `ping ${other}\n`);
          }
        } finally {
          Deno.kill(stopped, "SIGCONT");
        }
      }
    });
    assertEquals([cutBy, await accepting(server)], [[], [stopped, other]]);
    console.log(`${answered} requests while a worker was stopped ${STOPS} times`);
  },
  { deadline: 100_000 },
);

/**
 * Fault: The module hangs when the workers are replaced
 * How: `reload()` 3 times, of a module that never loads, with `startTimeout` and the same clients
 * Then: Each `reload()` rejects with `TimedOut`. The old workers go on, and cut off no client
 */
test("3 reloads of a module that hangs are refused, and the old workers go on", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("app.sock"), dir.file("app.ts")];
  const pid = await Deno.readTextFile(moduleOf("pid.ts"));
  await Deno.writeTextFile(
    file,
    pid.replace(/^import type .*$/m, "").replaceAll(
      /: (?:Connection|ServeHandlerInfo|Promise<void>)/g,
      "",
    ),
  );
  const module = new URL(`file://${file}`);
  await using server = await serveWorkers({ path, count: 2, startTimeout: 3000 }, module);
  const before = await accepting(server);
  await Deno.writeTextFile(file, "await new Promise(() => setInterval(() => {}, 1000));");
  const { answered, cutBy } = await whileClientsConnect(path, async () => {
    for (let i = 0; i < 3; i++) await assertRejects(() => server.reload(), Deno.errors.TimedOut);
  });
  assertEquals([cutBy, await accepting(server)], [[], before]);
  console.log(`${answered} requests while a module did not load`);
}, { deadline: 60_000 });

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
