/**
 * `uds serve PATH -- CMD ARG…`: a process for each connection, which is its standard input and
 * output. With `--reply`, the same reply to each request.
 */

import { delay } from "../../_internal/base/event_loop.ts";
import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import type { Child } from "../../pair.ts";
import { permissions } from "../../permissions.ts";
import type { ServeOptions } from "../../server.ts";
import { UsageError } from "../exit_codes.ts";
import { copyBytes } from "../io/byte_stream.ts";
import { commandOutput, ProcessGroups, SHELL, startOnStdio } from "../io/child.ts";
import { readReply, type ReplyFlags, sendReplies } from "../io/fixed_reply.ts";
import { reporter } from "../io/reporter.ts";
import { servePath } from "../io/serve_path.ts";
import { stopSignal } from "../io/signals.ts";
import { idleLimit } from "../io/silence_limit.ts";
import { type ActivationFlags, servingNeeds } from "../parse/activation.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import { type OwnershipFlags, ownershipNeeds, ownershipPermissions } from "../parse/ownership.ts";

/** Its options. */
export type ServeFlags = CommonFlags & OwnershipFlags & ActivationFlags & ReplyFlags & {
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
): Promise<void> {
  checkSource(flags, line);
  const [command, ...args] = line;
  const reply = command === undefined ? await readReply(flags) : undefined;
  const groups = new ProcessGroups();
  const endGroups = () => groups.end();
  const signal = stopSignal(() => groups.kill("KILL"));
  const running = new Set<Promise<void>>();
  const replacing: Pick<ServeOptions, "existing" | "publish" | "onReplaced"> = flags.replace
    ? {
      existing: "replace",
      publish: "rename",
      onReplaced: () => reporter.say("replaced", { event: "replaced" }),
    }
    : {};
  await servePath(path, { flags, signal, ...replacing }, (conn, info) => {
    if (reply !== undefined) return sendReplies(conn, reply, flags, info.draining);
    // All connections share the signal, and it calls the same function once.
    info.signal.addEventListener("abort", endGroups);
    const served = runFor(conn, info.signal).finally(() => running.delete(served));
    running.add(served);
    return served;
  });
  // Commands that ignore SIGTERM are killed before this process exits.
  await Promise.race([Promise.allSettled(running), delay(KILLED_MS)]);

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
}

/** Throws unless one thing answers: a command, a text or a file. */
function checkSource(
  { reply, "reply-file": file, framing, hex }: ServeFlags,
  [command]: readonly string[],
): void {
  const count = [command, reply, file].filter((source) => source !== undefined).length;
  if (count === 0) {
    throw new UsageError("missing command or --reply: uds serve PATH -- CMD [ARG...]");
  }
  if (count > 1) throw new UsageError("CMD, --reply and --reply-file do not go together");
  if (command === "") throw new UsageError('CMD must be a program, got ""');
  if (command !== undefined && (framing !== undefined || hex)) {
    throw new UsageError("--framing and --hex need --reply or --reply-file");
  }
}

/** Returns the Deno permissions that it needs. */
export function needs(flags: ServeFlags, path: SocketPath, [command]: readonly string[]): Needs {
  const file = flags["reply-file"];
  return union([
    servingNeeds(path, flags, {
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
