/**
 * Child processes on a socket without a path. {@linkcode pair} starts a child, {@linkcode
 * inherited} is the child's side of the connection, and {@linkcode socketpair} has both ends in one
 * process.
 *
 * @module
 */

import type { Connection } from "./connection.ts";
import type { PacketSocket } from "./native/packet_socket.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import { checkArguments, showPath } from "./_internal/base/check.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { pairPermissions } from "./_internal/base/deno_permissions.ts";
import { pathOfUrl } from "./_internal/base/path.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { lowLatencyFor, nativeNeeds } from "./_internal/connection/native_slot.ts";
import { SocketConnection } from "./_internal/connection/socket_connection.ts";
import {
  checkPairOptions,
  type PacketPairOptions,
  type PairOptions,
} from "./_internal/child/pair_options.ts";
import { startProgram } from "./_internal/child/start.ts";
import { requireDeno, startModule } from "./_internal/sandbox/module.ts";

export { inherited, type InheritedOptions, type PacketInheritedOptions } from "./child.ts";
export { socketpair, type SocketPairOptions } from "./socketpair.ts";
export type { PacketPairOptions, PairOptions } from "./_internal/child/pair_options.ts";

/**
 * A child process, and the connection to it.
 *
 * @category Children
 */
export interface Child<Conn = Connection> extends AsyncDisposable {
  /** This end of the connection. The child has the other end where `socket` puts it. */
  readonly conn: Conn;
  /** The number of the process. */
  readonly pid: number;
  /**
   * Resolves when the child has exited, to its exit code or to the signal that ended it.
   *
   * - After a signal `code` is 128 plus the signal's number. A realtime signal has no name in Deno:
   *   then `signal` is `null`.
   * - It does not wait for a grandchild that still holds the socket.
   */
  readonly status: Promise<Deno.CommandStatus>;
  /** Standard input. Throws unless `stdin` is `"piped"`. */
  readonly stdin: WritableStream<Uint8Array>;
  /** Standard output. Throws unless `stdout` is `"piped"`. */
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Standard error. Throws unless `stderr` is `"piped"`. */
  readonly stderr: ReadableStream<Uint8Array<ArrayBuffer>>;
  /**
   * Sends a signal. Can be called repeatedly; does nothing after the child has exited.
   *
   * @param signal The signal, SIGTERM by default.
   * @throws {TypeError} when the system does not have the signal.
   * @throws {Deno.errors.PermissionDenied} when the system refuses to send it, because the child
   * has become another user's. Disposal then leaves the child running.
   */
  kill(signal?: Deno.Signal): void;
}

/**
 * Starts a child process and connects to it through a socket that only the two have.
 *
 * - **The socket** is a real socket pair, at descriptor 3 of the child: bytes in both directions,
 *   with backpressure and half-close. It has no path, so no other process can connect. With
 *   `socket: "stdio"` it is the child's standard input and output instead.
 * - **A program** (a string) is found as `Deno.Command` finds it.
 * - **A module** (a `file:` URL) runs in this Deno, as a separate process. It may read its own
 *   directory and use the socket, nothing else, whatever this process may do: see {@linkcode
 *   PairOptions.permissions}. It is imported, so its `import.meta.main` is `false`. Modules as
 *   children are experimental.
 * - **No bytes are lost** when the child exits: what it had sent stays readable.
 * - **Disposal** ends the writing, so that the child reads the end of file. It waits `grace`, sends
 *   SIGTERM, waits again, and sends SIGKILL. A grandchild that holds the socket does not delay
 *   that. Then the connection closes, and so does each output that is not being read: read what you
 *   need before that. Without disposal the descriptors stay open until both sides have ended.
 * - **If this process dies**, the child reads the end of file and should exit.
 * - **Grandchildren** inherit descriptor 3 as well, and keep the connection open.
 * - **A start that fails** leaves nothing behind, with one exception: if the failure shows only
 *   when the system starts the program, Deno 2.9.6 leaves one descriptor open. That happens when
 *   this process has no descriptors left, or may not look for the program.
 * - **A Deno program as a child** has the permissions of its arguments. If Deno's path is inside
 *   the arguments of another program (`sh -c "deno run …"`), Deno 2.9.6 inserts `-A` there unless
 *   they have a permission flag: pass one.
 * - **A realtime signal** (`kill -34` and above) that ends the child becomes a rejection that no
 *   code can handle, in Deno 2.9.6. This package handles it. A listener of `unhandledrejection`
 *   that was added before the start sees it too.
 *
 * **Permissions**: `--allow-run=<command>` (for a module: the path of Deno itself) and
 * `--allow-env=NODE_V8_COVERAGE`, or `--allow-env` if the environment is passed on: see
 * `permissions("pair", command)`. On Windows it rejects with `NotSupported`.
 *
 * @param command A program, or the `file:` URL of a Deno module.
 * @param options Arguments, environment, standard streams; permissions of a module.
 * @returns The child, after it has started. A module has also loaded.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when a number is out of range.
 * @throws {Deno.errors.NotFound} when the program does not exist.
 * @throws {Deno.errors.PermissionDenied} when it is not executable.
 * @throws {Deno.errors.InvalidData} when the module cannot be loaded, or the variable that leads to
 * Deno's cache is not UTF-8.
 * @throws {Deno.errors.NotSupported} when a compiled program starts a module.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example A child in another language
 * ```ts
 * import { pair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * // The shell's descriptor 3 is the socket.
 * const script = "read line <&3; echo got $line >&3";
 * await using child = await pair("sh", { args: ["-c", script] });
 * await child.conn.writeText("ping\n");
 * assertEquals(await new Response(child.conn.readable).text(), "got ping\n");
 * ```
 *
 * @example A program that speaks on its standard input and output
 * ```ts
 * import { pair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * await using sort = await pair("sort", { socket: "stdio" });
 * await sort.conn.writeText("pear\napple\n");
 * await sort.conn.closeWrite();
 * assertEquals(await new Response(sort.conn.readable).text(), "apple\npear\n");
 * ```
 *
 * @category Children
 */
export function pair(command: string | URL, options?: PairOptions): Promise<Child>;
/**
 * Starts a child process with one end of a packet socket, at descriptor 3. It may be in any
 * language: a `send` here is one `recv` there.
 *
 * - **A `"dgram"` socket has no end.** The child does not notice that this side closes, and this
 *   side does not notice that the child exits: wait for `status`. Disposal sends SIGTERM after
 *   `grace`.
 * - **A Deno child** takes it over by `inherited({ type })`, which needs no permission.
 *
 * **Permissions**: those of a stream, and `--allow-ffi=/lib/x86_64-linux-gnu/libc.so.6`, or where
 * libc is on this system. The child does not get it.
 *
 * @param command A program.
 * @param options Arguments, environment, standard streams, and the type of the socket.
 * @returns The child, after it has started.
 * @throws {Deno.errors.NotSupported} unless the program has `import "@uds/uds/native"`.
 *
 * @example Packets to a child
 * ```ts
 * import { pair } from "@uds/uds";
 * import "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * // dd reads a packet of at most 10 bytes, and writes it.
 * const args = ["-c", "exec dd bs=10 count=1 <&3 >&3 2>/dev/null"];
 * await using child = await pair("sh", { type: "seqpacket", args });
 * await child.conn.send(new TextEncoder().encode("whole"));
 * assertEquals(new TextDecoder().decode((await child.conn.receive())!), "whole");
 * ```
 *
 * @category Children
 */
export function pair(command: string, options: PacketPairOptions): Promise<Child<PacketSocket>>;
export async function pair(
  command: string | URL,
  options: PairOptions | PacketPairOptions = {},
): Promise<Child<Connection | PacketSocket>> {
  try {
    checkArguments("pair", arguments, 2, `pair("sh", { args })`);
    checkPairOptions(command, options);
    requireRuntime();
    const { cwd, clearEnv, signal } = options;
    signal?.throwIfAborted();
    const isModule = command instanceof URL;
    const name = isModule ? command.href : command;
    const context = new ErrorContext("pair", null, `Cannot start ${showPath(name)}`);
    if (isModule) requireDeno(context);
    context.later = nativeNeeds(options);
    context.require(pairPermissions(command, clearEnv));
    const lowLatency = lowLatencyFor(context, options as PairOptions);
    const given = { ...options, cwd: cwd instanceof URL ? pathOfUrl(cwd) : cwd };
    const child = await (isModule
      ? startModule(context, command, given)
      : startProgram(context, command, given));
    if (child.conn instanceof SocketConnection) {
      lowLatency(child.conn);
    }
    return child;
  } catch (error) {
    throw seenFrom(pair, error);
  }
}
