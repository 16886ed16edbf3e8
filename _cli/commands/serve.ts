/**
 * `uds serve PATH -- CMD ARG…`: a process for each connection, which is its standard input and
 * output. With `--reply`, the same reply to each request.
 */

import { delay } from "../../_internal/base/event_loop.ts";
import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import type { Child } from "../../pair.ts";
import { permissions } from "../../permissions.ts";
import { serve, type ServeHandlerInfo } from "../../server.ts";
import { OK, UsageError } from "../exit_codes.ts";
import { refuseActivation } from "../io/activation.ts";
import { copyBytes } from "../io/byte_stream.ts";
import { commandOutput } from "../io/command_output.ts";
import { readReply, type ReplyFlags, replyToMessages, replyToRequests } from "../io/fixed_reply.ts";
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
export type ServeFlags = CommonFlags & OwnershipFlags & ReplyFlags & {
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
  line: readonly string[],
): Promise<number> {
  checkSource(flags, line);
  refuseActivation(path);
  const [command, ...args] = line;
  const reply = command === undefined ? await readReply(flags) : undefined;
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
    const serving = reply === undefined ? runFor(conn, info.signal) : replyTo(conn, info);
    const served = serving.finally(() => running.delete(served));
    running.add(served);
    return served;
  });
  signal.addEventListener("abort", () => reporter.ending());
  await server.finished;
  // Commands that ignore SIGTERM are killed before this process exits.
  await Promise.race([Promise.allSettled(running), delay(KILLED_MS)]);
  return OK;

  async function runFor(conn: Connection, cut: AbortSignal): Promise<void> {
    await using child = await startOnStdio(command as string, args, {
      signal: cut,
      detached: true,
    });
    groups.add(child);
    await pipeToCommand(conn, child, flags.idle);
    const { code } = await child.status;
    if (code !== 0) {
      const { pid } = child;
      const text = `process ${pid} ended with ${code}`;
      reporter.sayCounted(`ended with ${code}`, text, { event: "ended", pid, code });
    }
  }

  async function replyTo(conn: Connection, { draining }: ServeHandlerInfo): Promise<void> {
    using limit = idleLimit(flags.idle);
    limit.signal.addEventListener("abort", () => conn.close());
    const client = limit.watched(conn);
    try {
      await (flags.framing === undefined
        ? replyToRequests(client, reply as Uint8Array)
        : replyToMessages(client, reply as Uint8Array, flags, draining));
    } catch (error) {
      throw limit.signal.aborted ? limit.signal.reason : error;
    }
  }
}

/** Throws unless one thing answers: a command, a text or a file. */
function checkSource(
  { reply, "reply-file": file, framing, hex }: ServeFlags,
  [command]: readonly string[],
): void {
  const refuse = (message: string) => {
    throw new UsageError(message, "serve");
  };
  const count = [command, reply, file].filter((source) => source !== undefined).length;
  if (count === 0) refuse("missing command or --reply: uds serve PATH -- CMD [ARG...]");
  if (count > 1) refuse("CMD, --reply and --reply-file do not go together");
  if (command === "") refuse('CMD must be a program, got ""');
  if (command !== undefined && (framing !== undefined || hex)) {
    refuse("--framing and --hex need --reply or --reply-file");
  }
}

/** Returns the Deno permissions that it needs. */
export function needs(
  flags: ServeFlags,
  path: SocketPath,
  [command]: readonly string[],
): Deno.PermissionOptionsObject {
  const file = flags["reply-file"];
  return union([
    permissions("serve", path, {
      ...ownershipPermissions(flags),
      ...(flags.replace ? { publish: "rename" } : {}),
    }),
    command === undefined ? {} : permissions("pair", SHELL),
    file === undefined ? {} : { read: [file] },
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
