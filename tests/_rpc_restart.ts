/** A load of calls during restarts of their server, and a check of what became of each call. */

import { assertEquals } from "@std/assert";
import { delay } from "../_internal/base/event_loop.ts";
import { fixture, type Program, TempDir } from "./_helpers.ts";

/** How a server is replaced by the next one. */
export type Restart = "kill" | "shutdown" | "takeover";

/** What became of the calls. */
export interface Outcome {
  readonly calls: number;
  /** The number of calls that were answered or interrupted. */
  readonly settled: number;
  readonly interrupted: number;
  /** How often the server was restarted. */
  readonly restarts: number;
  /** How many calls the servers ran more than once. */
  readonly repeated: number;
}

const CLIENTS = 8;
/** The calls of each client in a second. */
const RATE = 2000;
/** How long a server runs. */
const LIFE_MS = 600;

/**
 * Restarts a server under 8 clients with 2,000 calls a second each. Checks that each call was
 * answered or interrupted once, and that none ran twice unless it is idempotent.
 */
export async function callDuringRestarts(how: Restart, duration: number): Promise<Outcome> {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const ran = dir.file("ran");
  const outcomes = dir.file("outcomes");
  const options = how === "takeover" ? { publish: "rename", existing: "replace" } : {};
  await using stack = new AsyncDisposableStack();
  const start = async (): Promise<Program> => {
    const args = [path, ran, JSON.stringify(options)];
    const server = stack.use(fixture("rpc_restart_server.ts", ["-A"], args));
    assertEquals(await server.line(), "ready");
    return server;
  };
  const servers = [await start()];
  const load = [CLIENTS, RATE, duration].map(String);
  const clients = stack.use(
    fixture("rpc_restart_clients.ts", ["-A"], [path, outcomes, ...load]),
  );
  assertEquals(await clients.line(), "calling");
  const over = new AbortController();
  const made = clients.line().finally(() => over.abort());
  for (let size = 0;; size = Deno.statSync(ran).size) {
    await delay(LIFE_MS, over.signal).catch(() => {});
    // On a busy machine a client may need longer to reach it.
    while (!over.signal.aborted && callersIn(ran, size) < CLIENTS) await delay(LIFE_MS / 10);
    if (over.signal.aborted) break;
    const old = servers.at(-1)!;
    if (how !== "takeover") {
      old.kill(how === "kill" ? "SIGKILL" : "SIGTERM");
      await old.status;
    }
    servers.push(await start());
  }
  const calls = CLIENTS * RATE * duration / 1000;
  assertEquals(await made, `${calls}`);
  assertEquals((await clients.status).code, 0);
  const last = servers.pop()!;
  if (how !== "kill") {
    for (const server of servers) assertEquals((await server.status).code, 0);
  }
  // A server notices within 250 ms that it was replaced, if its successor is still there.
  last.kill("SIGTERM");
  assertEquals((await last.status).code, 0);
  const lines = (file: string) => Deno.readTextFileSync(file).trim().split("\n");
  return { calls, restarts: servers.length, ...outcomeOf(lines(ran), lines(outcomes)) };
}

/** Returns how many clients have had a call run, by what is in the file behind a place. */
function callersIn(ran: string, start: number): number {
  const text = new TextDecoder().decode(Deno.readFileSync(ran).subarray(start));
  return new Set(Array.from(text.matchAll(/^\D(\d+)\./gm), ([, client]) => client)).size;
}

/** Compares what the servers ran with what became of the calls. */
function outcomeOf(ran: string[], outcomes: string[]): Omit<Outcome, "restarts" | "calls"> {
  const runs = new Map<string, number>();
  for (const id of ran) runs.set(id, (runs.get(id) ?? 0) + 1);
  const wrong: string[] = [];
  const settled = new Set<string>();
  let interrupted = 0;
  for (const line of outcomes) {
    const [id = "", outcome] = line.split(/ (.*)/);
    const isIdempotent = id.startsWith("i");
    const count = runs.get(id) ?? 0;
    const isRight = outcome === "answered"
      ? count === 1 || isIdempotent && count > 1
      : outcome === "interrupted" && !isIdempotent && count <= 1;
    if (!isRight || settled.has(id)) wrong.push(`${line}, ran ${count} times`);
    settled.add(id);
    if (outcome === "interrupted") interrupted++;
  }
  assertEquals(wrong.slice(0, 10), []);
  assertEquals([...runs.keys()].filter((id) => !settled.has(id)).slice(0, 10), []);
  const repeated = [...runs.values()].filter((count) => count > 1).length;
  return { settled: settled.size, interrupted, repeated };
}
