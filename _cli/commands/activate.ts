/** `uds activate PATH -- CMD ARG…`: a socket activation without a service manager. */

import type { Socket } from "node:net";
import { delay } from "../../_internal/base/event_loop.ts";
import { attempt } from "../../_internal/base/failure.ts";
import { GrowingPauses } from "../../_internal/base/growing_pauses.ts";
import { builtin } from "../../_internal/base/node.ts";
import { respell } from "../../_internal/base/path.ts";
import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import { HeldSocket } from "../../_internal/descriptor/held_socket.ts";
import { hidingSockets } from "../../_internal/descriptor/inheritable.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import { claim } from "../../claim.ts";
import { permissions } from "../../permissions.ts";
import { requireProgram, SHELL } from "../io/child.ts";
import { reporter } from "../io/reporter.ts";
import { stopSignal } from "../io/signals.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import {
  ownership,
  type OwnershipFlags,
  ownershipNeeds,
  ownershipPermissions,
} from "../parse/ownership.ts";

/** Its options. */
export type ActivateFlags = CommonFlags & OwnershipFlags & {
  readonly name?: string;
};

/** Only the process itself knows its number before the command begins. */
const START = 'export LISTEN_PID=$$; exec "$0" "$@"';

/** How many times in a row the command may fail. */
const MOST_FAILURES = 8;
/** After a run of this length, the next failure counts as the first one. */
const STEADY_MS = 10_000;
/** The pauses, in milliseconds, after a failure. They double. */
const FIRST_PAUSE_MS = 25;
const LAST_PAUSE_MS = 5000;
/**
 * The least time, in milliseconds, between two starts after an end without a failure: the command
 * may take no client. systemd allows as many, 20 in 2 seconds.
 */
const START_INTERVAL_MS = 100;

/** How long, in milliseconds, the command may take to end after SIGTERM. */
const GRACE_MS = 5000;

/** The command. */
export async function run(
  flags: ActivateFlags,
  path: SocketPath,
  line: readonly string[],
): Promise<void> {
  requireProgram(line[0]!);
  const full = resolveSocketPath(path);
  const start = attempt("serve", full);
  requireGrants(start, needs(flags, path), { operation: "serve", path: full });
  const kill = new AbortController();
  const signal = stopSignal(() => kill.abort());
  await using claimed = await claim(path, await ownership(flags));
  const socket = await claimed.bind((path) => HeldSocket.bind(path));
  socket.listen();
  reporter.listening(claimed.path);
  signal.addEventListener("abort", () => {
    reporter.ending();
    // The command may still serve the clients that have come. Disposal reports a failure.
    claimed.release().catch(() => {});
  });
  const pauses = new GrowingPauses(FIRST_PAUSE_MS, LAST_PAUSE_MS);
  for (let failures = 0;;) {
    await socket.clientWaits(signal);
    if (signal.aborted) return;
    const begin = performance.now();
    const ended = await runOnce(socket, line, flags.name ?? "activate", signal, kill.signal);
    if (signal.aborted) return;
    const took = performance.now() - begin;
    if (took > STEADY_MS) {
      failures = 0;
      pauses.reset();
    }
    if (ended === 0) {
      failures = 0;
      await delay(Math.max(0, START_INTERVAL_MS - took), signal).catch(() => {});
    } else if (++failures === MOST_FAILURES) {
      const state = `the command has failed ${failures} times in a row, at last with ${ended}`;
      throw new Error(`${start}: ${state}`);
    } else {
      reporter.say(`the command ended with ${ended}`, { event: "ended", code: ended });
      await delay(pauses.next(), signal).catch(() => {});
    }
  }
}

/**
 * Runs the command until it ends. Returns its exit code, or the signal that has ended it.
 *
 * @param signal Ends it gracefully.
 * @param kill Ends it at once.
 */
async function runOnce(
  socket: HeldSocket,
  [command, ...args]: readonly string[],
  name: string,
  signal: AbortSignal,
  kill: AbortSignal,
): Promise<number | string> {
  const { spawn } = builtin("node:child_process");
  const child = spawn(SHELL, ["-c", START, respell(command!), ...args], {
    // The socket has another number here, which the command would inherit, too.
    stdio: hidingSockets(["ignore", "inherit", "inherit", socket.fd], undefined),
    env: { ...Deno.env.toObject(), LISTEN_FDS: "1", LISTEN_FDNAMES: name },
  });
  for (const hiding of child.stdio?.slice(4) ?? []) (hiding as Socket | null)?.destroy();
  const ended = new Promise<number | string>((resolve, reject) => {
    child.on("exit", (code, signal) => resolve(code ?? signal ?? 1));
    child.on("error", reject);
  });
  reporter.say(`started process ${child.pid}`, { event: "started", pid: child.pid });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const send = (signal: "SIGTERM" | "SIGKILL") => {
    child.kill(signal);
    // Otherwise no second signal would be sent.
    Object.assign(child, { killed: false });
  };
  const end = () => send("SIGKILL");
  const stop = () => {
    send("SIGTERM");
    timer = setTimeout(end, GRACE_MS);
  };
  signal.addEventListener("abort", stop);
  kill.addEventListener("abort", end);
  try {
    return await ended;
  } finally {
    signal.removeEventListener("abort", stop);
    kill.removeEventListener("abort", end);
    clearTimeout(timer);
  }
}

/** Returns the Deno permissions that it needs. */
export function needs(flags: ActivateFlags, path: SocketPath): Needs {
  return union([
    permissions("claim", path, ownershipPermissions(flags)),
    permissions("pair", SHELL),
    ownershipNeeds(flags),
  ]);
}
