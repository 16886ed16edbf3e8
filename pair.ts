/**
 * A child process on a socket that has no path: {@linkcode pair} starts it, {@linkcode inherited} is
 * its side of the connection, {@linkcode socketpair} has both ends in one process.
 *
 * @module
 */

import type { Connection } from "./connection.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  type Check,
  checkArguments,
  checkOptions,
  type Checks,
  integer,
  show,
} from "./_internal/base/check.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { pairPermissions } from "./_internal/base/deno_permissions.ts";
import { pathOfUrl } from "./_internal/base/path.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { CHILD_FD, takeOver } from "./_internal/child/inherited_fd.ts";
import { checkPairOptions } from "./_internal/child/pair_options.ts";
import { openSocketPair, SOCKET_PAIR_PERMISSIONS } from "./_internal/child/socket_pair.ts";
import { startProgram } from "./_internal/child/start.ts";
import { unnamedConnection } from "./_internal/child/unnamed_connection.ts";
import { requireDeno, startModule } from "./_internal/sandbox/module.ts";

/** Options of {@linkcode pair}. */
export interface PairOptions {
  /** The arguments of the program; those of a module are its `Deno.args`. */
  args?: string[];
  /**
   * The directory to start in.
   *
   * @default {that of this process}
   */
  cwd?: string | URL;
  /**
   * Variables of the environment, in addition to those that are inherited. A variable that is not UTF-8
   * cannot be inherited: it is left out, but for `PATH`, for which the promise rejects.
   */
  env?: Record<string, string>;
  /**
   * Whether the child gets only the variables of `env`. If not, this process needs `--allow-env`, because
   * it has to hand on all of its own. In either case node:child_process adds `DENO_EXTRA_STDIO_FDS`, and
   * `NODE_V8_COVERAGE` where this process has it; a module also gets what says where Deno's cache is.
   *
   * @default {false for a program, true for a module}
   */
  clearEnv?: boolean;
  /**
   * For a module: what it may do besides reading its own directories, as for a worker. Relative paths are
   * from this process's directory. Unless it may do everything, it cannot start workers, and has no storage
   * API (`localStorage`, `caches`, Deno KV), no WebGPU, no `Deno.bundle`, no `process.binding`, and no
   * property of Deno that this package does not know. It can neither add to
   * `Object.prototype` nor replace `call`, `apply` and `bind` of functions. `"none"` leaves these holes, which are Deno's:
   *
   * - **Files**: it may read everything in the directories that it may import from, and what symbolic links
   *   in them lead to. A source map that one of its files names is opened wherever it is. Deno writes
   *   compiled code below its cache directory; `node:sqlite` may spill into that of temporary files.
   * - **Memory and processor time** are not limited: `ArrayBuffer`s are outside the V8 heap. Limit the time
   *   yourself, and `kill()` it.
   * - **Imports**: what is in Deno's cache already can be imported, whichever host it came from; a list of
   *   hosts for `import` limits that to them. Nothing is fetched in any case.
   * - **Descriptors**: it uses those of its standard streams and of the socket. If it may start programs, it
   *   can adopt any pipe or socket of its process.
   * - **Standard streams** that it inherits it may use as it likes: read from them if they are a terminal or
   *   a socket, change them, shut them down. By default it inherits none of them.
   * - **It can see** the working directory, the path of Deno, the process numbers, the memory in use, the
   *   time and its zone, and the number of processors.
   *
   * @default {"none"}
   */
  permissions?: "none" | Deno.PermissionOptionsObject;
  /**
   * For a module: the directories that it may import from, and therefore read.
   *
   * @default {its own directory}
   */
  modules?: (string | URL)[];
  /**
   * For a module: the `file:` URL of a `deno.json` with its import map and settings. Whoever passes it
   * vouches for it: Deno opens what it names, whatever the module may read. Without it no configuration
   * counts: no `deno.json`, `package.json` or `tsconfig.json` beside the module is read.
   *
   * @default {none}
   */
  config?: URL;
  /**
   * Standard input.
   *
   * @default {"null"}
   */
  stdin?: "piped" | "inherit" | "null";
  /**
   * Standard output. By default a module's is copied to this process's own: if the module had a terminal
   * or a socket itself, it could read from it. What it prints and what it sends may then arrive in another
   * order.
   *
   * @default {"inherit" for a program, a copy for a module}
   */
  stdout?: "piped" | "inherit" | "null";
  /**
   * Standard error, as standard output.
   *
   * @default {"inherit" for a program, a copy for a module}
   */
  stderr?: "piped" | "inherit" | "null";
  /**
   * Whether to give the child a session and a process group of its own. Ctrl-C on the terminal then does
   * not reach it, nor the end of the terminal, and it cannot open `/dev/tty`. `kill()` still signals the
   * child alone.
   *
   * @default {false}
   */
  detached?: boolean;
  /**
   * Milliseconds that the child has to end by itself when it is disposed of, before it gets SIGTERM,
   * and again before SIGKILL.
   *
   * @default {2000}
   */
  grace?: number;
  /**
   * Ends the child: SIGTERM, and after `grace` SIGKILL. Before the start, and while a module is loaded,
   * the promise rejects. Nothing else limits the time of loading: pass a signal if a module may be hostile.
   */
  signal?: AbortSignal;
}

/** A child process, and the connection to it. */
export interface Child extends AsyncDisposable {
  /** This end of the socket; the child has the other one at descriptor 3. */
  readonly conn: Connection;
  /** The process. */
  readonly pid: number;
  /**
   * How it ended: its own exit code, or the signal that ended it (then `code` is 128 and the signal's
   * number). A realtime signal has no name in Deno: `signal` is `null`, and `code` tells its number. The
   * promise does not wait for a grandchild that still holds the socket.
   */
  readonly status: Promise<Deno.CommandStatus>;
  /** Its standard input; throws unless it is `"piped"`. */
  readonly stdin: WritableStream<Uint8Array>;
  /** Its standard output; throws unless it is `"piped"`. */
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Its standard error; throws unless it is `"piped"`. */
  readonly stderr: ReadableStream<Uint8Array<ArrayBuffer>>;
  /**
   * Sends a signal, as often as it is called; nothing once the child has ended.
   *
   * @param signal The signal; SIGTERM by default.
   * @throws {TypeError} when there is no such signal.
   * @throws {Deno.errors.PermissionDenied} when the system refuses to send it: the child has become
   * another user. Disposal then leaves it running.
   */
  kill(signal?: Deno.Signal): void;
}

/**
 * Starts a child process and connects to it by a socket that only the two have.
 *
 * - **The socket** is a real socket pair, at descriptor 3 of the child: bytes in both directions, with
 *   backpressure and half-close. There is no path, so nobody else can connect.
 * - **A program** (a string) is found as `Deno.Command` finds it.
 * - **A module** (a `file:` URL) runs in this Deno, as a process of its own. Whatever this process may do,
 *   the module may read its own directory and use the socket, nothing else: see
 *   {@linkcode PairOptions.permissions}. It is imported, so its `import.meta.main` is `false`.
 * - **Nothing is lost** when the child exits: what it had sent stays readable.
 * - **The end**: disposal ends the writing, so that the child sees the end of file; it waits `grace`, sends
 *   SIGTERM, waits again, and sends SIGKILL. A grandchild that holds the socket delays none of that. Then
 *   the connection is closed, and so is the child's output, unless it is still being read: read what you
 *   need before. Without disposal its descriptors stay open until both sides have ended.
 * - **If this process dies** the child sees the end of file, and should end then.
 * - **Grandchildren** inherit descriptor 3 as well, and then keep the connection open.
 * - **A start that fails** leaves nothing behind, except where only the system can tell that it fails: for
 *   want of descriptors, or of the permission to look for the program, Deno 2.9.6 leaves one descriptor
 *   open.
 * - **A Deno program as a child** has the permissions that its arguments say. But if Deno's path is inside
 *   the arguments of another program (`sh -c "deno run …"`), Deno 2.9.6 inserts `-A` there unless they have
 *   a permission flag: pass one.
 * - **A realtime signal** (`kill -34` and above) that ends the child becomes a rejection that nothing can
 *   handle, in Deno 2.9.6. This package handles it; a listener of `unhandledrejection` that was added before
 *   the start sees it as well.
 *
 * **Permissions**: `--allow-run=<command>` (for a module: the path of Deno itself) and
 * `--allow-env=NODE_V8_COVERAGE`, or `--allow-env` where the environment is handed on: see
 * `permissions("pair", command)`. On Windows it rejects with `NotSupported`.
 *
 * @param command A program, or the `file:` URL of a Deno module.
 * @param options Arguments, environment, standard streams; permissions of a module.
 * @returns The child, which has been started; a module has been loaded.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when a number is out of range.
 * @throws {Deno.errors.NotFound} when there is no such program.
 * @throws {Deno.errors.PermissionDenied} when it is not executable.
 * @throws {Deno.errors.InvalidData} when the module cannot be loaded, or the `PATH` to hand on is not UTF-8.
 * @throws {Deno.errors.NotSupported} when a module is to be started from a compiled program.
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
 * await child.conn.write(new TextEncoder().encode("ping\n"));
 * assertEquals(await new Response(child.conn.readable).text(), "got ping\n");
 * ```
 */
export async function pair(command: string | URL, options: PairOptions = {}): Promise<Child> {
  try {
    checkArguments("pair", arguments, 2, `pair("sh", { args })`);
    checkPairOptions(command, options);
    requireRuntime();
    const { cwd, clearEnv, signal } = options;
    signal?.throwIfAborted();
    const isModule = command instanceof URL;
    const name = isModule ? command.href : command;
    const context = new ErrorContext("pair", null, `Cannot start ${show(name)}`);
    if (isModule) requireDeno(context);
    context.require(pairPermissions(command, clearEnv));
    const given = { ...options, cwd: cwd instanceof URL ? pathOfUrl(cwd) : cwd };
    return await (isModule
      ? startModule(context, command, given)
      : startProgram(context, command, given));
  } catch (error) {
    throw seenFrom(pair, error);
  }
}

const INHERITED_CHECKS: Checks<InheritedOptions> = { fd: integer(0, 0x7fff_ffff) };

/** Options of {@linkcode inherited}. */
export interface InheritedOptions {
  /**
   * The descriptor, as agreed with the parent.
   *
   * @default {3}
   */
  fd?: number;
}

/**
 * Takes the socket that the parent process has left at a descriptor: the other end of {@linkcode pair},
 * or of any parent that starts this program with a connected Unix domain socket.
 *
 * - It works once for a descriptor, in the main thread, and closing the connection closes it.
 * - Take the number from an agreement only: other descriptors are Deno's own, and adopting one of those
 *   breaks it.
 * - A descriptor is not closed to grandchildren: what this process starts has it too.
 *
 * **Permissions**: none.
 *
 * @param options The descriptor, if it is not 3.
 * @returns The connection; neither end of it has a name.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the descriptor is not a whole number of at least 0.
 * @throws {NotASocket} when nothing is open there, or something that is no Unix stream socket. (What
 * cannot be told from one at once, a socket that listens or a fifo, is refused by the first read or write.)
 * @throws {Deno.errors.Busy} when it was adopted before.
 * @throws {Deno.errors.NotSupported} in a worker, which cannot tell.
 *
 * @example The child of a pair
 * ```ts ignore
 * import { inherited } from "@uds/uds";
 *
 * await using conn = inherited();
 * await conn.readable.pipeTo(conn.writable);
 * ```
 */
export function inherited(options: InheritedOptions = {}): Connection {
  try {
    checkArguments("inherited", arguments, 1, "inherited({ fd })");
    checkOptions("inherited", options, INHERITED_CHECKS);
    requireRuntime();
    const { fd = CHILD_FD } = options;
    const context = new ErrorContext("inherited", null, `Cannot take over descriptor ${fd}`);
    return unnamedConnection(takeOver(context, fd));
  } catch (error) {
    throw seenFrom(inherited, error);
  }
}

/** Options of {@linkcode socketpair}: those of the system call, with the values that Deno can give. */
export interface SocketPairOptions {
  /**
   * The address family.
   *
   * @default {"unix"}
   */
  family?: "unix";
  /**
   * The type of the sockets.
   *
   * @default {"stream"}
   */
  type?: "stream";
  /**
   * The protocol.
   *
   * @default {0}
   */
  protocol?: 0;
}

/**
 * Makes two connections, each the other end of the other, both in this process: for tests, and to hand
 * one end to code that expects a connection.
 *
 * - The system call lets its caller choose an address family, a type and a protocol. Deno has stream
 *   sockets only: `"dgram"` and `"seqpacket"`, other families and protocols reject with `NotSupported`.
 *   Messages over a stream need a framing.
 * - Deno has no such call either: the two meet at an abstract name of 128 random bits (elsewhere than
 *   on Linux at a path in a new directory that is closed to others), which exists for that instant. Who
 *   else might have connected there is recognised and dropped.
 *
 * **Permissions**: `--allow-net`, unscoped because of the random name; where there are no abstract
 * names also read and write for the directory of temporary files.
 *
 * @param options Family, type and protocol.
 * @returns The two ends; neither has a name.
 * @throws {TypeError} when an option does not exist.
 * @throws {Deno.errors.NotSupported} when Deno cannot give what an option asks for.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Usage
 * ```ts
 * import { socketpair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = await socketpair();
 * await a.write(new TextEncoder().encode("ping"));
 * a.close();
 * assertEquals(await new Response(b.readable).text(), "ping");
 * b.close();
 * ```
 */
export async function socketpair(
  options: SocketPairOptions = {},
): Promise<[Connection, Connection]> {
  try {
    checkArguments("socketpair", arguments, 1, "socketpair({ type })");
    checkOptions("socketpair", options, SOCKETPAIR_CHECKS);
    requireRuntime();
    const context = new ErrorContext("socketpair", null, "Cannot make a socket pair");
    context.require(SOCKET_PAIR_PERMISSIONS);
    return await openSocketPair(context);
  } catch (error) {
    throw seenFrom(socketpair, error);
  }
}

const SOCKETPAIR_CHECKS: Checks<SocketPairOptions> = {
  family: only("unix", "other address families have no socket pair"),
  type: only("stream", "Deno connects stream sockets only"),
  protocol: only(0, "Unix domain sockets have no other protocol"),
};

/** Returns a check that accepts one value, and says why there is no other. */
function only(accepted: unknown, reason: string): Check {
  return (name, value) => {
    if (value === accepted) return;
    const error = new Deno.errors.NotSupported(
      `Cannot make a socket pair with ${name} ${show(value)}: ${reason}. Use ${show(accepted)}`,
    );
    throw Object.assign(error, { operation: "socketpair", path: null });
  };
}
