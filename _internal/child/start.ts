/** The start of a child process. */

import type { Socket } from "node:net";
import type { PairOptions } from "../../pair.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { builtin } from "../base/node.ts";
import { respell } from "../base/path.ts";
import { withOwnVariables } from "./environment.ts";
import type { Transport } from "../connection/socket_connection.ts";
import { FdSocket } from "../descriptor/fd_socket.ts";
import { CHILD_FD } from "../descriptor/inherited_fd.ts";
import { ChildProcess, type ChildStdio } from "./process.ts";
import { watchSignals } from "./realtime_signals.ts";
import { refusalOf, requireStartable } from "./start_refusal.ts";
import { StdioSocket } from "./stdio_socket.ts";

/** The options of `pair()`, checked, and copied at the call. */
export interface StartOptions extends Omit<PairOptions, "cwd"> {
  cwd: string | undefined;
}

/** What to run, and how. */
export interface ChildStart extends Pick<StartOptions, "cwd" | "detached" | "grace" | "signal"> {
  command: string;
  args: string[];
  /** All of the child's environment. */
  env: Record<string, string>;
  stdio: readonly [stdin: ChildStdio, stdout: ChildStdio, stderr: ChildStdio];
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
): Promise<ChildProcess> {
  const { args = [], env = {}, clearEnv = false } = options;
  const isOnStdio = options.socket === "stdio";
  const { stdin = "null", stdout = "inherit", stderr = "inherit" } = options;
  const { child } = await startChild(context, {
    ...options,
    // Unlike the path of a module's Deno: its arguments have a permission flag, and `spawn` would
    // look for the path among them.
    command: respell(command),
    args,
    env: clearEnv ? env : withOwnVariables(context, env),
    stdio: isOnStdio ? ["socket", "socket", stderr] : [stdin, stdout, stderr],
  });
  return child;
}

/** Starts a child. Leaves nothing behind if that fails. */
export async function startChild(
  context: ErrorContext<null>,
  start: ChildStart,
): Promise<{ child: ChildProcess; socket: Transport }> {
  requireStartable(context, start);
  const { command, args, env, cwd, detached = false, stdio } = start;
  const isOnStdio = stdio[0] === "socket";
  const ways = stdio.map((way) => NODE_STDIO[way]);
  const { spawn } = builtin("node:child_process");
  const { result: process, ended } = watchSignals(() =>
    spawn(command, args, {
      env,
      cwd,
      detached,
      stdio: isOnStdio ? ways : [...ways, "pipe"],
    })
  );
  if (process.pid !== undefined) {
    const stream = (fd: number) => process.stdio[fd] as Socket;
    const socket = isOnStdio
      ? new StdioSocket(
        FdSocket.fromStream(stream(0), "write"),
        FdSocket.fromStream(stream(1), "read"),
      )
      : FdSocket.fromStream(stream(CHILD_FD));
    return { child: new ChildProcess(process, process.pid, socket, ended, start), socket };
  }
  ended.cancel();
  throw refusalOf(context, await new Promise<Error>((resolve) => process.once("error", resolve)));
}
