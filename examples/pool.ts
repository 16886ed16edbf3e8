/**
 * A pool of child processes that count primes, on one core and on two. Then a child is killed, and
 * a call crashes its child.
 *
 * Terminal: deno run --allow-run --allow-env=NODE_V8_COVERAGE examples/pool.ts
 */

import { pool, type PoolOptions } from "@uds/uds/pool";
import type { Primes } from "./pool/primes.ts";

const MODULE = new URL("./pool/primes.ts", import.meta.url);
const OPTIONS: PoolOptions<Primes> = {
  idempotent: ["count"],
  // A clone needs these two lines. With the package from JSR they can go.
  modules: [new URL("..", import.meta.url)],
  config: new URL("../deno.json", import.meta.url),
};
const STEP = 50_000;
const ranges = Array.from({ length: 20 }, (_, i) => ({ from: i * STEP, to: (i + 1) * STEP }));

/** Returns how long, in milliseconds, all ranges take with `size` children. */
async function measure(size: number): Promise<number> {
  await using primes = pool<Primes>(MODULE, { ...OPTIONS, size });
  const start = performance.now();
  const counts = await Promise.all(ranges.map((range) => primes.call("count", range)));
  const ms = performance.now() - start;
  const sum = counts.reduce((a, b) => a + b);
  console.log(`pool of ${size}: ${sum} primes in ${ms.toFixed()} ms`);
  return ms;
}

const alone = await measure(1);
const together = await measure(2);
console.log(`speed-up: ${(alone / together).toFixed(2)}`);

await using primes = pool<Primes>(MODULE, { ...OPTIONS, size: 2 });
let isKilled = false;
const counts = ranges.slice(0, 10).map((range) =>
  primes.call("count", range, {
    onProgress({ pid }: { pid: number }) {
      if (!isKilled) Deno.kill(pid, "SIGKILL");
      isKilled = true;
    },
  })
);
const sum = (await Promise.all(counts)).reduce((a, b) => a + b);
console.log(`after a child was killed: still ${sum} primes`);
await primes.call("crash").catch(({ status }) =>
  console.log(`no answer: exit code ${status.code}`)
);
console.log(`at the end: ${await primes.call("count", { from: 0, to: 100 })} primes below 100`);
