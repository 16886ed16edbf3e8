/**
 * Requests that compute for about 20 ms, to as many workers as the word says. The parent has the
 * clients, and owns the path. This file is also the module of the workers.
 */

import type { Connection } from "../../mod.ts";

const STEPS = 16_000_000;
const CLIENTS = 16;

/** Computes for a request. In an async function, V8 sometimes runs the loop five times slower. */
function compute(): void {
  let state = 1;
  for (let i = 0; i < STEPS; i++) state = Math.imul(state, 1664525) + 1013904223 | 0;
}

export async function connection(conn: Connection): Promise<void> {
  while (await conn.read(new Uint8Array(64)) !== null) {
    compute();
    await conn.write(new TextEncoder().encode(`${Deno.pid}`));
  }
}

if (import.meta.main) {
  const { connect } = await import("@uds/uds");
  const { serveWorkers } = await import("@uds/uds/workers");
  const { counted, report, TASK, timed } = await import("./_program.ts");
  const { path, size, words } = TASK;
  const served = new Map<string, number>();
  await using _server = await serveWorkers(
    { path, count: Number(words[0]) },
    new URL(import.meta.url),
  );
  const seconds = await timed(async (items) => {
    let left = items;
    served.clear();
    await Promise.all(Array.from({ length: CLIENTS }, async () => {
      const buffer = new Uint8Array(16);
      while (left-- > 0) {
        await using conn = await connect(path);
        await conn.write(new Uint8Array(size));
        const pid = new TextDecoder().decode(buffer.subarray(0, (await conn.read(buffer))!));
        served.set(pid, (served.get(pid) ?? 0) + 1);
        counted.items++;
        counted.bytes += size;
      }
    }));
  });
  const total = served.values().reduce((sum, requests) => sum + requests, 0);
  report({ seconds, share: 100 * Math.max(...served.values()) / total });
}
