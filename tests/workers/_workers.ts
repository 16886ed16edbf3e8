/** What the tests of `serveWorkers` share. */

import { connect } from "@uds/uds";
import { serveWorkers, type ServeWorkersOptions, type WorkerServer } from "@uds/uds/workers";
import { decode, encode, readAll } from "../_helpers.ts";

/** Returns the URL of a module of the fixtures. */
export function moduleOf(name: string): URL {
  return new URL(`../fixtures/workers/${name}`, import.meta.url);
}

/** Starts two workers of `pid.ts`. */
export function pids(options: ServeWorkersOptions): Promise<WorkerServer> {
  return serveWorkers({ count: 2, ...options }, moduleOf("pid.ts"));
}

/** Sends a word, and returns the number of the worker, and what it has answered. */
export async function ask(path: string, word = "hello"): Promise<{ pid: number; answer: string }> {
  await using conn = await connect(path);
  await conn.write(encode(word));
  await conn.closeWrite();
  const [pid, ...rest] = decode(await readAll(conn)).split("\n");
  return { pid: Number(pid), answer: rest.join("") };
}

/** Returns the numbers of the workers that accept. */
export async function accepting(server: WorkerServer): Promise<number[]> {
  const { workers } = await server.statistics();
  return workers.filter(({ draining }) => !draining).map(({ pid }) => pid);
}

/** Resolves when the workers are others than these, as many as before. */
export async function untilReplaced(server: WorkerServer, before: number[]): Promise<number[]> {
  for (;;) {
    const now = await accepting(server);
    if (now.length === before.length && now.some((pid) => !before.includes(pid))) return now;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
