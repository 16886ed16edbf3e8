/**
 * `uds serve PATH -- CMD ARG…`: a process for each connection, which is its standard input and
 * output. With `--reply`, the same reply to each request. With `--module`, processes of a
 * module.
 */

import { areGranted, requireGrants } from "../../_internal/base/deno_permissions.ts";
import { delay } from "../../_internal/base/event_loop.ts";
import { attempt } from "../../_internal/base/failure.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import type { Child } from "../../pair.ts";
import { permissions } from "../../permissions.ts";
import type { ServeOptions } from "../../server.ts";
import { UsageError } from "../exit_codes.ts";
import { copyBytes } from "../io/byte_stream.ts";
import { commandOutput, ProcessGroups, requireProgram, SHELL, startOnStdio } from "../io/child.ts";
import { readReply, type ReplyFlags, sendReplies } from "../io/fixed_reply.ts";
import { identityNeeds, loadNative, peerEnvironment } from "../io/identity.ts";
import { reporter } from "../io/reporter.ts";
import { checkModule, type ModuleFlags, moduleNeeds, serveModule } from "../io/serve_module.ts";
import { servePath } from "../io/serve_path.ts";
import { stopSignal } from "../io/signals.ts";
import { idleLimit } from "../io/silence_limit.ts";
import { type ActivationFlags, servingNeeds } from "../parse/activation.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import { idsOf, nameNeeds } from "../parse/names.ts";
import type { VerboseFlags } from "../parse/options.ts";
import { type OwnershipFlags, ownershipNeeds, ownershipPermissions } from "../parse/ownership.ts";

/** Its options. */
export type ServeFlags =
  & CommonFlags
  & OwnershipFlags
  & ActivationFlags
  & ReplyFlags
  & IdentityFlags
  & ModuleFlags
  & VerboseFlags
  & {
    readonly max?: number;
    readonly replace?: boolean;
    readonly idle?: number;
  };

/** Which clients may connect, and what their command is told about them. */
type IdentityFlags = {
  readonly "allow-user"?: readonly string[];
  readonly "allow-group"?: readonly string[];
  readonly "peer-env"?: boolean;
};

/** The default mode with `--allow-user` or `--allow-group`, which do the refusing. */
const ALLOW_MODE = 0o666;

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
  if (flags.module !== undefined) return await serveModule(flags, path);
  const [command, ...args] = line;
  const native = isIdentifying(flags)
    ? await loadNative("serve", await needs(flags, path, line))
    : undefined;
  const reply = command === undefined ? await readReply(flags) : undefined;
  // Otherwise the start would fail for each client.
  if (!areGranted(commandNeeds(command))) {
    const full = resolveSocketPath(path);
    const fields = { operation: "serve", path: full };
    requireGrants(attempt("serve", full), await needs(flags, path, line), fields);
  }
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
  const options = {
    ...replacing,
    ...(restricts(flags) && {
      authorize: native!.allow({
        uids: await idsOf("user", flags["allow-user"]),
        gids: await idsOf("group", flags["allow-group"]),
      }),
    }),
  };
  const { mode } = withMode(flags, path);
  await servePath(path, { flags, mode, signal, ...options }, (conn, info) => {
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
    const env = flags["peer-env"] ? peerEnvironment(native!, conn) : {};
    await using child = await startOnStdio(command as string, args, {
      env,
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

/** Throws unless one thing answers: a command, a text, a file or a module. */
function checkSource(flags: ServeFlags, [command]: readonly string[]): void {
  const { reply, "reply-file": file, framing, hex, module } = flags;
  const sources = Object.entries({ CMD: command, "--reply": reply, "--reply-file": file });
  const given = [...sources, ["--module", module] as const]
    .flatMap(([name, source]) => source === undefined ? [] : [name]);
  checkModule(flags);
  if (given.length === 0) {
    throw new UsageError("missing command, --reply or --module: uds serve PATH -- CMD [ARG...]");
  }
  if (given.length > 1) throw new UsageError(`${given.join(" and ")} do not go together`);
  if (module !== undefined) return;
  if (command !== undefined) requireProgram(command);
  if (command === undefined && flags["peer-env"]) throw new UsageError("--peer-env needs CMD");
  if (command !== undefined && (framing !== undefined || hex)) {
    throw new UsageError("--framing and --hex need --reply or --reply-file");
  }
}

/** Reports whether only some users or groups may connect. */
function restricts(flags: ServeFlags): boolean {
  return (flags["allow-user"] ?? flags["allow-group"]) !== undefined;
}

function isIdentifying(flags: ServeFlags): boolean {
  return restricts(flags) || flags["peer-env"] === true;
}

/** Adds the mode without which only the owner of the socket file could connect. */
function withMode(flags: ServeFlags, path: SocketPath): ServeFlags {
  const isAbstract = String(path).startsWith("\0");
  if (!restricts(flags) || flags.group !== undefined || isAbstract) return flags;
  return { mode: ALLOW_MODE, ...flags };
}

/** Returns the Deno permissions that it needs. */
export async function needs(
  flags: ServeFlags,
  path: SocketPath,
  [command]: readonly string[],
): Promise<Needs> {
  if (flags.module !== undefined) return moduleNeeds(flags, path);
  const file = flags["reply-file"];
  return union([
    servingNeeds(path, flags, {
      ...ownershipPermissions(withMode(flags, path)),
      ...(flags.replace ? { publish: "rename" } : {}),
    }),
    commandNeeds(command),
    file === undefined ? {} : { read: [file] },
    ownershipNeeds(flags),
    nameNeeds("user", flags["allow-user"]),
    nameNeeds("group", flags["allow-group"]),
    isIdentifying(flags) ? await identityNeeds() : {},
  ]);
}

/** Returns the Deno permissions to start a command. */
function commandNeeds(command: string | undefined): Needs {
  return command === undefined ? {} : permissions("pair", SHELL);
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
