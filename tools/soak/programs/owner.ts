/**
 * The owner of the workers of two paths. It obeys the load that has started it.
 *
 * owner.ts PATH PATH
 */

import { inherited } from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { serveWorkers } from "@uds/uds/workers";

const WORKERS = 2;

/** What it does for the load. */
export interface Owner {
  /** Returns the workers that accept. */
  pids(params: { of: "kept" | "replaced" }): Promise<number[]>;
  /** Replaces the workers of the second path. */
  reload(): Promise<void>;
  /** Ends. Returns how many workers have ended before, and how many connections were closed. */
  shutdown(): Promise<{ lost: number; aborted: number }>;
}

// Deno opens a socket pair for signals some time after its start. This opens it now.
Deno.addSignalListener("SIGHUP", () => {});

function open(path: string) {
  return serveWorkers({
    path,
    count: WORKERS,
    env: { DENO_V8_FLAGS: Deno.env.get("DENO_V8_FLAGS") ?? "" },
    onError(error) {
      // They are killed on purpose, and counted.
      if (!(error instanceof Deno.errors.ConnectionAborted)) console.error(error);
    },
  }, new URL("./worker.ts", import.meta.url));
}

const [first, second] = Deno.args as [string, string];
const owners = { kept: await open(first), replaced: await open(second) };
const { kept, replaced } = owners;

const methods: { [Name in keyof Owner]: Owner[Name] } = {
  async pids({ of }) {
    const { workers } = await owners[of].statistics();
    return workers.filter(({ draining }) => !draining).map(({ pid }) => pid);
  },
  reload: () => replaced.reload(),
  async shutdown() {
    const results = await Promise.all([kept, replaced].map((server) => server.shutdown()));
    const statistics = await Promise.all([kept, replaced].map((server) => server.statistics()));
    return {
      lost: statistics.reduce((sum, { lost }) => sum + lost, 0),
      aborted: results.reduce((sum, { aborted }) => sum + aborted, 0),
    };
  },
};
await rpc(inherited(), { methods }).closed;
await Promise.all([kept, replaced].map((server) => server.shutdown()));
Deno.exit();
