/**
 * Many connections that exchange one byte each way, and then wait in a read. The words: the way,
 * and what is measured: the memory of the `server` or of the `client`, or the server's `processor`
 * while nothing happens.
 */

import { type Conn, counted, report, TASK } from "./_program.ts";
import { way } from "./_way.ts";

const { role, size, warm, count, words } = TASK;
const { connect, serve } = await way();
const { gc } = globalThis as unknown as { gc: () => void };

/** How long nothing happens: 60 seconds with 10,000 connections. */
const IDLE_MS = 6 * (warm + count);

/** The duration of a tick of `/proc/PID/stat`. */
const TICK_MS = 10;

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Returns the resident memory of this process after a collection. */
async function settledMemory(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    gc();
    await wait(20);
  }
  return Deno.memoryUsage().rss;
}

/** Returns the processor time of this process, with all of its threads. */
async function processorMs(): Promise<number> {
  const stat = await Deno.readTextFile("/proc/self/stat");
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13);
  return (Number(user) + Number(system)) * TICK_MS;
}

/** Returns the figure of this end, while `more` makes the connections of the second pass. */
async function weigh(more: () => Promise<void>): Promise<Record<string, number>> {
  const before = await settledMemory();
  await more();
  const memory = await settledMemory() - before;
  if (!words.includes("processor")) return words.includes(role) ? { memory } : {};
  const begin = await processorMs();
  await wait(IDLE_MS);
  return { processor: (await processorMs() - begin) / IDLE_MS };
}

if (role === "server") {
  const first = Promise.withResolvers<Conn>();
  const filled = [warm, warm + count].map((items) => ({ items, ...Promise.withResolvers<void>() }));
  const figures = (async () => {
    await filled[0]!.promise;
    const figures = await weigh(() => filled[1]!.promise);
    // The client waits for this.
    await (await first.promise).write(new Uint8Array(1));
    return figures;
  })();
  await serve(async (conn) => {
    const buffer = new Uint8Array(1024);
    const count = await conn.read(buffer);
    counted.bytes += count ?? 0;
    await conn.write(buffer.subarray(0, size));
    counted.items++;
    first.resolve(conn);
    filled.find(({ items }) => items === counted.items)?.resolve();
    await conn.read(buffer);
  }, warm + count);
  report(await figures);
} else {
  const conns: Conn[] = [];
  const ends: Promise<unknown>[] = [];
  const open = async (items: number) => {
    for (let i = 0; i < items; i++) {
      const conn = await connect();
      const buffer = new Uint8Array(1024);
      conns.push(conn);
      await conn.write(buffer.subarray(0, size));
      counted.bytes += await conn.read(buffer) ?? 0;
      counted.items++;
      ends.push(conn.read(buffer).catch(() => {}));
    }
  };
  await open(warm);
  let seconds = 0;
  const openMany = async () => {
    const begin = performance.now();
    await open(count);
    seconds = (performance.now() - begin) / 1000;
  };
  const figures = words.includes("client") ? await weigh(openMany) : (await openMany(), {});
  await ends[0];
  for (const conn of conns) conn[Symbol.dispose]();
  await Promise.all(ends);
  report({ seconds, ...figures });
}
