/**
 * `uds serve PATH -- CMD ARG…`: a process for each connection, which is its standard input and
 * output.
 */

import { delay } from "../../_internal/base/event_loop.ts";
import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import type { Child } from "../../pair.ts";
import { permissions } from "../../permissions.ts";
import { serve } from "../../server.ts";
import { OK, UsageError } from "../exit_codes.ts";
import { refuseActivation } from "../io/activation.ts";
import { copyBytes } from "../io/byte_stream.ts";
import { commandOutput } from "../io/command_output.ts";
import { ProcessGroups } from "../io/process_groups.ts";
import { Reporter } from "../io/reporter.ts";
import { stopSignal } from "../io/signals.ts";
import { idleLimit } from "../io/silence_limit.ts";
import { SHELL, startOnStdio } from "../io/stdio_child.ts";
import type { CommonFlags } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import {
  ownership,
  type OwnershipFlags,
  ownershipNeeds,
  ownershipPermissions,
} from "../parse/ownership.ts";

/** Its options. */
export type ServeFlags = CommonFlags & OwnershipFlags & {
  readonly max?: number;
  readonly replace?: boolean;
  readonly idle?: number;
};

/** How many bytes to read at once. There may be many connections. */
const BUFFER_SIZE = 64 * 1024;

/** How long, in milliseconds, to wait for killed commands at the end. The kernel may hold one. */
const KILLED_MS = 10_000;

/** The command. */
export async function run(
  flags: ServeFlags,
  path: SocketPath,
  [command, ...args]: [string, ...string[]],
): Promise<number> {
  if (command === "") throw new UsageError('CMD must be a program, got ""', "serve");
  refuseActivation(path);
  using reporter = new Reporter(flags);
  const groups = new ProcessGroups();
  const signal = stopSignal(() => groups.kill("KILL"));
  const running = new Set<Promise<void>>();
  let isFirst = true;
  await using server = await serve({
    path,
    signal,
    ...await ownership(flags),
    ...(flags.replace && {
      existing: "replace" as const,
      publish: "rename" as const,
      onReplaced: () => reporter.say("replaced", { event: "replaced" }),
    }),
    ...(flags.max !== undefined && { maxConnections: flags.max }),
    onListen: (addr) => reporter.listening(addr.path),
    onError: (error) => reporter.report(error),
  }, (conn, info) => {
    // All connections share the signal.
    if (isFirst) info.signal.addEventListener("abort", () => groups.end());
    isFirst = false;
    const served = serveOne(conn, info.signal).finally(() => running.delete(served));
    running.add(served);
    return served;
  });
  signal.addEventListener("abort", () => reporter.ending());
  await server.finished;
  // Commands that ignore SIGTERM are killed before this process exits.
  await Promise.race([Promise.allSettled(running), delay(KILLED_MS)]);
  return OK;

  async function serveOne(conn: Connection, cut: AbortSignal): Promise<void> {
    await using child = await startOnStdio(command, args, { signal: cut, detached: true });
    groups.add(child);
    await pipeToCommand(conn, child, flags.idle);
    const { code } = await child.status;
    if (code !== 0) {
      const { pid } = child;
      const text = `process ${pid} ended with ${code}`;
      reporter.sayCounted(`ended with ${code}`, text, { event: "ended", pid, code });
    }
  }
}

/** Returns the Deno permissions that it needs. */
export function needs(flags: ServeFlags, path: SocketPath): Deno.PermissionOptionsObject {
  return union([
    permissions("serve", path, {
      ...ownershipPermissions(flags),
      ...(flags.replace ? { publish: "rename" } : {}),
    }),
    permissions("pair", SHELL),
    ownershipNeeds(flags),
  ]);
}

/**
 * Pipes a client and a command to each other, until the command ends its output or exits. Drops
 * input that the command does not read.
 *
 * - A client that closed ends the command's input, and its output if the command still writes.
 * - A process that the command leaves running does not keep the connection open.
 */
async function pipeToCommand(conn: Connection, child: Child, idle?: number): Promise<void> {
  using limit = idleLimit(idle);
  limit.signal.addEventListener("abort", () => {
    conn.close();
    child.conn.close();
  });
  const client = limit.watched(conn);
  const input = copyBytes(client, child.conn, BUFFER_SIZE).catch(() => {})
    .then(() => child.conn.closeWrite()).catch(() => {});
  try {
    await copyBytes(commandOutput(child), client, BUFFER_SIZE);
    await conn.closeWrite();
  } catch {
    // The client closed, or was cut off. The command notices it as it would in a pipe.
    child.conn.close();
  } finally {
    conn.close();
    child.status.then(() => child.conn.close());
    await input;
  }
  limit.signal.throwIfAborted();
}
