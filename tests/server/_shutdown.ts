/** Helpers that the tests of `shutdown` share. */

import { connect, type Connection } from "@uds/uds";

/** Resolves when a signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Connects `count` clients at once. */
export function connectMany(path: string, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => connect(path)));
}

export function closeAll(connections: Connection[]): void {
  for (const conn of connections) conn.close();
}
