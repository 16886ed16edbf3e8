/** The start of a child process. */

import type { Socket } from "node:net";
import type { PacketSocket, PacketType } from "../../native/packet_socket.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { builtin } from "../base/node.ts";
import { respell } from "../base/path.ts";
import { withOwnVariables } from "./environment.ts";
import { descriptorSockets, native } from "../connection/native_slot.ts";
import type { SocketConnection, Transport } from "../connection/socket_connection.ts";
import { FdSocket } from "../descriptor/fd_socket.ts";
import { hidingSockets } from "../descriptor/inheritable.ts";
import { childFdBeside } from "../descriptor/inherited_fd.ts";
import type { PairOptions } from "./pair_options.ts";
import { type ChildConn, ChildProcess, type ChildStdio } from "./process.ts";
import { watchSignals } from "./realtime_signals.ts";
import { refusalOf, requireStartable } from "./start_refusal.ts";
import { StdioSocket } from "./stdio_socket.ts";
import { unnamedConnection } from "./unnamed_connection.ts";

/** The options of `pair()`, checked, and copied at the call. */
export interface StartOptions extends Omit<PairOptions, "cwd" | "type"> {
  cwd: string | undefined;
  type?: "stream" | PacketType | undefined;
  maxPacketBytes?: number | undefined;
}

/** What to run, and how. */
export interface ChildStart extends Pick<StartOptions, "cwd" | "detached" | "grace" | "signal"> {
  command: string;
  args: string[];
  /** All of the child's environment. */
  env: Record<string, string>;
  stdio: readonly [stdin: ChildStdio, stdout: ChildStdio, stderr: ChildStdio];
  /** A listening socket of this process that the child inherits. */
  inherits?: number | undefined;
}

/** Node's names of what Deno calls otherwise. */
const NODE_STDIO = {
  piped: "pipe",
  copied: "pipe",
  socket: "pipe",
  inherit: "inherit",
  null: "ignore",
} as const;

/** Starts a program. */
export async function startProgram(
  context: ErrorContext<null>,
  command: string,
  options: StartOptions,
): Promise<ChildProcess<SocketConnection | PacketSocket>> {
  const { args = [], env = {}, clearEnv = false, type = "stream", maxPacketBytes } = options;
  const isOnStdio = options.socket === "stdio";
  const { stdin = "null", stdout = "inherit", stderr = "inherit" } = options;
  const start: ChildStart = {
    ...options,
    // Unlike the path of a module's Deno: its arguments have a permission flag, and `spawn` would
    // look for the path among them.
    command: respell(command),
    args,
    env: clearEnv ? env : withOwnVariables(context, env),
    stdio: isOnStdio ? ["socket", "socket", stderr] : [stdin, stdout, stderr],
  };
  if (type !== "stream") {
    const packets = native(context, "type").childPackets(context, type, maxPacketBytes);
    return await startAt(context, start, packets, () => packets.socket);
  }
  const pair = descriptorSockets(context, options)?.pair(context);
  if (pair === undefined) return (await startChild(context, start)).child;
  const { transport: socket, fd, closeFd } = pair;
  return await startAt(
    context,
    start,
    { socket, fd, closeFd },
    (hasPeerExited) => unnamedConnection(socket, { hasPeerExited }),
  );
}

/**
 * Starts a child with one end of a pair. Leaves nothing behind if that fails.
 *
 * @param open Opens this end. Gets what reports that the child has exited.
 */
async function startAt<Conn extends ChildConn>(
  context: ErrorContext<null>,
  start: ChildStart,
  pair: { socket: { close(): void }; fd: number; closeFd(): void },
  open: (hasExited: () => boolean) => Conn,
): Promise<ChildProcess<Conn>> {
  try {
    return await startWith(context, start, pair.fd, (_, hasExited) => open(hasExited));
  } catch (error) {
    pair.socket.close();
    throw error;
  } finally {
    pair.closeFd();
  }
}

/** Starts a child with a connection. Leaves nothing behind if that fails. */
export async function startChild(
  context: ErrorContext<null>,
  start: ChildStart,
): Promise<{ child: ChildProcess; socket: Transport }> {
  let socket!: Transport;
  const child = await startWith(context, start, "pipe", (stream, hasExited) => {
    socket = start.stdio[0] === "socket"
      ? new StdioSocket(
        FdSocket.fromStream(stream(0), "write"),
        FdSocket.fromStream(stream(1), "read"),
      )
      : FdSocket.fromStream(stream(childFdBeside(start.inherits)));
    return unnamedConnection(socket, { hasPeerExited: hasExited });
  });
  return { child, socket };
}

/**
 * Starts a child.
 *
 * @param fd What the child gets as the descriptor of its socket, unless that is on the standard
 * streams.
 * @param open Opens this end. Gets the streams of the child, and what reports that it has exited.
 */
async function startWith<Conn extends ChildConn>(
  context: ErrorContext<null>,
  start: ChildStart,
  fd: "pipe" | number,
  open: (stream: (fd: number) => Socket, hasExited: () => boolean) => Conn,
): Promise<ChildProcess<Conn>> {
  requireStartable(context, start);
  const { command, args, env, cwd, detached = false, stdio, inherits } = start;
  const ways: ("pipe" | "inherit" | "ignore" | number)[] = stdio.map((way) => NODE_STDIO[way]);
  if (stdio[0] !== "socket") {
    if (inherits === ways.length) ways.push("ignore");
    ways.push(fd);
  }
  const { spawn } = builtin("node:child_process");
  const { result: process, ended } = watchSignals(() =>
    spawn(command, args, {
      env,
      cwd,
      detached,
      stdio: hidingSockets(ways, inherits),
    })
  );
  if (process.pid !== undefined) {
    // The pipes that hide other sockets.
    for (const hiding of process.stdio.slice(ways.length)) (hiding as Socket | null)?.destroy();
    const stream = (fd: number) => process.stdio[fd] as Socket;
    const openConn = (hasExited: () => boolean) => open(stream, hasExited);
    return new ChildProcess(process, process.pid, openConn, ended, start);
  }
  ended.cancel();
  const cause = await new Promise<Error>((resolve) => process.once("error", resolve));
  throw refusalOf(context, start, cause);
}
