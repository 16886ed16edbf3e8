/** `uds serve PATH -- CMD ARG…`: a process for each connection, with it as its input and output. */

import type { SocketPath } from "../../address.ts";
import { permissions } from "../../permissions.ts";
import type { Connection } from "../../connection.ts";
import type { Child } from "../../pair.ts";
import { serve } from "../../server.ts";
import { SilenceTimer } from "../../_internal/base/silence.ts";
import { OK, UsageError } from "../exit_codes.ts";
import { union } from "../parse/deno_permissions.ts";
import { refuseActivation } from "../io/activation.ts";
import { CommandOutput } from "../io/command_output.ts";
import {
  ownership,
  type OwnershipFlags,
  ownershipNeeds,
  ownershipPermissions,
} from "../parse/ownership.ts";
import { ProcessGroups } from "../io/process_groups.ts";
import { stopSignal } from "../io/signals.ts";
import { SHELL, startOnStdio } from "../io/stdio_child.ts";
import type { CommonFlags } from "../parse/command.ts";
import { Reporter } from "../io/reporter.ts";

/** Its options. */
export type ServeFlags = CommonFlags & OwnershipFlags & {
  readonly max?: number;
  readonly replace?: boolean;
  readonly idle?: number;
};

/** Bytes that are read at once: there may be many connections. */
const BUFFER_SIZE = 64 * 1024;

/** How long to wait, at the end, for commands that were killed: the kernel may hold one. */
const KILLED_MS = 10_000;

/** The command. */
export async function run(
  flags: ServeFlags,
  path: SocketPath,
  [command, ...args]: [string, ...string[]],
): Promise<number> {
  if (command === "") throw new UsageError('CMD must be a program, got ""', "serve");
  refuseActivation(path);
  using talk = new Reporter(flags);
  const groups = new ProcessGroups();
  const signal = stopSignal(() => groups.kill("KILL"));
  const running = new Set<Promise<void>>();
  let hasServed = false;
  await using server = await serve({
    path,
    signal,
    ...await ownership(flags),
    ...(flags.replace && {
      existing: "replace" as const,
      publish: "rename" as const,
      onReplaced: () => talk.say("replaced", { event: "replaced" }),
    }),
    ...(flags.max !== undefined && { maxConnections: flags.max }),
    onListen: (addr) => talk.listening(addr.path),
    onError: (error) => talk.report(error),
  }, (conn, info) => {
    // One signal for all connections: it is that of the server.
    if (!hasServed) info.signal.addEventListener("abort", () => groups.end());
    hasServed = true;
    const served = serveOne(conn, info.signal).finally(() => running.delete(served));
    running.add(served);
    return served;
  });
  signal.addEventListener("abort", () => talk.ending());
  await server.finished;
  // Those that were cut off are ended too, whatever they do about SIGTERM, before this process goes.
  await Promise.race([
    Promise.allSettled(running),
    new Promise((resolve) => setTimeout(resolve, KILLED_MS)),
  ]);
  return OK;

  async function serveOne(conn: Connection, cut: AbortSignal): Promise<void> {
    await using child = await startOnStdio(command, args, { signal: cut, detached: true });
    groups.add(child);
    await passUntilOver(conn, child, flags.idle);
    const { code } = await child.status;
    if (code !== 0) {
      const { pid } = child;
      const text = `process ${pid} ended with ${code}`;
      talk.sayCounted(`ended with ${code}`, text, { event: "ended", pid, code });
    }
  }
}

/** The permissions that it takes. */
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
 * Passes everything on between a client and a command, until the command has ended its output, or itself.
 *
 * - What the command does not read is dropped: it may have said all that it had to say.
 * - A client that has gone ends the command's input, and its output where it still writes.
 * - What a command leaves running does not keep the connection open, though it has the socket.
 * - Both are closed when nothing has passed in either direction for the time.
 */
async function passUntilOver(
  client: Connection,
  child: Child,
  idle: number | undefined,
): Promise<void> {
  let late: Error | undefined;
  const silence = new SilenceTimer(() => {
    late = new Deno.errors.TimedOut(
      `Closed a connection: nothing has passed for ${idle! / 1000} s`,
    );
    client.close();
    child.conn.close();
  });
  const passed = () => silence.start(idle ?? Infinity);
  passed();
  const input = pump(client, child.conn, passed).catch(() =>
    child.conn.closeWrite().catch(() => {})
  );
  try {
    await pump(new CommandOutput(child), client, passed);
  } catch {
    // The client has gone, or was cut off: the command notices as it would in a pipe.
    child.conn.close();
  } finally {
    client.close();
    child.status.then(() => child.conn.close());
    await input;
    silence.stop();
  }
  if (late !== undefined) throw late;
}

/** Passes one direction on, and its end. */
async function pump(
  from: Pick<Connection, "read">,
  to: Connection,
  passed: () => void,
): Promise<void> {
  const buffer = new Uint8Array(BUFFER_SIZE);
  for (;;) {
    const count = await from.read(buffer);
    passed();
    if (count === null) return await to.closeWrite();
    await to.write(buffer.subarray(0, count));
  }
}
