/** The options of `pair()`, and the checks of its arguments. */

import type { PacketType } from "../../native/packet_socket.ts";
import {
  type Check,
  checkBoolean,
  checkOptions,
  type Checks,
  checkSignal,
  duration,
  integer,
  MAX_PACKET_BYTES,
  oneOf,
  show,
  showPath,
} from "../base/check.ts";
import { faultOfUrl } from "../base/path.ts";

/**
 * Options of {@linkcode pair}.
 *
 * @category Children
 */
export interface PairOptions {
  /** The arguments of the program; those of a module are its `Deno.args`. */
  args?: string[] | undefined;
  /**
   * The directory to start in.
   *
   * @default {that of this process}
   */
  cwd?: string | URL | undefined;
  /**
   * Environment variables, in addition to the inherited ones. A variable that is not UTF-8 cannot
   * be inherited: it is left out. Of `PATH`, the directories that are UTF-8 are inherited.
   */
  env?: Record<string, string> | undefined;
  /**
   * Whether the child gets only the variables of `env`. Otherwise this process needs `--allow-env`,
   * to pass on all that it has. In both cases node:child_process adds `DENO_EXTRA_STDIO_FDS`, and
   * `NODE_V8_COVERAGE` if this process has it. A module also gets the variables that lead to Deno's
   * cache and registries.
   *
   * @default {false for a program, true for a module}
   */
  clearEnv?: boolean | undefined;
  /**
   * For a module: what it may do besides reading its own directories, as for a worker. Relative
   * paths are resolved in this process's directory.
   *
   * A module that may not do everything cannot start workers. It has no storage API
   * (`localStorage`, `caches`, Deno KV), no WebGPU, no `Deno.bundle`, no `process.binding`, and no
   * property of Deno that this package does not know. It cannot add to `Object.prototype`, and
   * cannot replace `call`, `apply` and `bind` of functions. `"none"` leaves these holes, which are
   * Deno's:
   *
   * - **Files**: the module may read everything in the directories that it may import from, and
   *   what symbolic links in them lead to. Deno opens a source map that one of its files names,
   *   wherever that is. Deno writes compiled code below its cache directory. `node:sqlite` may
   *   spill into the directory of temporary files.
   * - **Memory and processor time** are not limited: `ArrayBuffer`s are outside the V8 heap. Limit
   *   the time yourself, and `kill()` the child.
   * - **Imports**: the module can import what is in Deno's cache, whichever host it came from. A
   *   list of hosts for `import` limits that to them. Nothing is fetched.
   * - **Descriptors**: the module uses those of its standard streams and of the socket. If it may
   *   start programs, it can adopt any pipe or socket of its process.
   * - **Inherited standard streams** have no protection. The module can read from a terminal or a
   *   socket, change it, and shut it down. By default it inherits none.
   * - **Visible** are the working directory, the path of Deno, the process numbers, the memory in
   *   use, the time and its zone, and the number of processors.
   *
   * @default {"none"}
   * @experimental
   */
  permissions?: "none" | Deno.PermissionOptionsObject | undefined;
  /**
   * For a module: the directories that it may import from, and therefore read.
   *
   * @default {its own directory}
   * @experimental
   */
  modules?: (string | URL)[] | undefined;
  /**
   * For a module: the `file:` URL of a `deno.json` with its import map and settings. Pass only one
   * that you trust: Deno opens what it names, whatever the module may read. Deno then also reads a
   * `deno.json` that is nearer to the module (2.9.6). Without `config`, no `deno.json`,
   * `package.json` or `tsconfig.json` beside the module is read.
   *
   * @default {none}
   * @experimental
   */
  config?: URL | undefined;
  /**
   * Where the child has its end of the connection.
   *
   * - `"descriptor"`: a socket at descriptor 3.
   * - `"stdio"`: its standard input and output, for a program that speaks there. These are two
   *   pipes, as such programs expect, and each ends by itself. There is nothing at descriptor 3.
   *   `stdin` and `stdout` are refused. Standard error is as usual: see `stderr`. For programs
   *   only.
   *
   * @default {"descriptor"}
   */
  socket?: "descriptor" | "stdio" | undefined;
  /**
   * The type of the socket. For packets see {@linkcode PacketPairOptions}.
   *
   * @default {"stream"}
   */
  type?: "stream" | undefined;
  /**
   * For a program: whether descriptors can be sent to it and received, by `sendDescriptors()` and
   * `receiveDescriptors()` of `@uds/uds/native`. This program must import that module, and needs
   * `--allow-ffi`.
   *
   * @default {false}
   */
  descriptors?: boolean | undefined;
  /**
   * Whether a read of this end looks for bytes for some microseconds before it waits: see
   * `lowLatency()` of `@uds/uds/native`, for when this pays. The program must import that module,
   * and needs `--allow-ffi`. If its descriptor cannot be found, the connection stays as it is.
   *
   * @default {false}
   */
  lowLatency?: boolean | undefined;
  /**
   * Standard input.
   *
   * @default {"null"}
   */
  stdin?: "piped" | "inherit" | "null" | undefined;
  /**
   * Standard output. By default a module's is copied to this process's own, because a module could
   * read from a terminal or a socket that it inherits. What it prints and what it sends may then
   * arrive in another order.
   *
   * @default {"inherit" for a program, a copy for a module}
   */
  stdout?: "piped" | "inherit" | "null" | undefined;
  /**
   * Standard error, as standard output.
   *
   * @default {"inherit" for a program, a copy for a module}
   */
  stderr?: "piped" | "inherit" | "null" | undefined;
  /**
   * Whether to start the child in a new session and a new process group. Then neither Ctrl-C nor
   * the end of the terminal reaches it, and it cannot open `/dev/tty`. `kill()` still signals the
   * child alone.
   *
   * @default {false}
   */
  detached?: boolean | undefined;
  /**
   * How long, in milliseconds, disposal waits for the child to exit before it sends SIGTERM, and
   * again before it sends SIGKILL.
   *
   * @default {2000}
   */
  grace?: number | undefined;
  /**
   * Ends the child: SIGTERM, and SIGKILL after `grace`. If it aborts before the start, or while a
   * module loads, the promise rejects. Nothing else limits how long loading takes: pass a signal if
   * a module may be hostile.
   */
  signal?: AbortSignal | undefined;
}

/**
 * Options of {@linkcode pair} for a child that gets a socket of packets.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode PairOptions.args | args}: The arguments of the program; those of a module are its
 *   `Deno.args`.
 * - {@linkcode PairOptions.cwd | cwd}: The directory to start in.
 * - {@linkcode PairOptions.env | env}: Environment variables, in addition to the inherited ones.
 * - {@linkcode PairOptions.clearEnv | clearEnv}: Whether the child gets only the variables of
 *   `env`.
 * - {@linkcode PairOptions.stdin | stdin}: Standard input.
 * - {@linkcode PairOptions.stdout | stdout}: Standard output.
 * - {@linkcode PairOptions.stderr | stderr}: Standard error, as standard output.
 * - {@linkcode PairOptions.detached | detached}: Whether to start the child in a new session and a
 *   new process group.
 * - {@linkcode PairOptions.grace | grace}: How long, in milliseconds, disposal waits for the child
 *   to exit before it sends SIGTERM, and again before it sends SIGKILL.
 * - {@linkcode PairOptions.signal | signal}: Ends the child: SIGTERM, and SIGKILL after `grace`.
 *
 * @category Packets
 */
export interface PacketPairOptions extends
  Omit<
    PairOptions,
    "type" | "socket" | "descriptors" | "lowLatency" | "permissions" | "modules" | "config"
  > {
  /** The type of the socket, which needs `import "@uds/uds/native"`. For programs only. */
  type: PacketType;
  /**
   * The maximum number of bytes of a packet, sent or received, at this end. A larger one than the
   * kernel's buffer holds makes it larger, as far as the system allows.
   *
   * @default {what the buffer holds: 212,960 on Linux}
   */
  maxPacketBytes?: number | undefined;
}

const STDIO = oneOf("piped", "inherit", "null");

const PERMISSIONS_CHECKS: Checks<Deno.PermissionOptionsObject> = {
  read: checkPermission,
  write: checkPermission,
  net: checkPermission,
  env: checkPermission,
  sys: checkPermission,
  run: checkPermission,
  ffi: checkPermission,
  import: checkPermission,
};

/** The kinds of permission that take URLs. */
const KINDS_WITH_URLS = ["read", "write", "run", "ffi"];

const PAIR_CHECKS: Checks<PairOptions & Omit<PacketPairOptions, "type">> = {
  args: (name, value) => checkEach(name, value, checkText),
  cwd: checkPlace,
  env: checkEnvironment,
  clearEnv: checkBoolean,
  permissions(_, value) {
    if (value !== "none") checkOptions("permissions of pair", value, PERMISSIONS_CHECKS);
  },
  modules(name, value) {
    checkEach(name, value, checkPlace);
    if ((value as unknown[]).length > 0) return;
    throw new TypeError("Invalid modules: it is empty, so the module could not be loaded");
  },
  config(name, value) {
    if (!(value instanceof URL)) throw unexpected(name, "the file: URL of a deno.json", value);
    checkUrl(name, value);
  },
  socket: oneOf("descriptor", "stdio"),
  type: oneOf("stream", "seqpacket", "dgram"),
  lowLatency: checkBoolean,
  maxPacketBytes: integer(1, MAX_PACKET_BYTES),
  descriptors: checkBoolean,
  stdin: STDIO,
  stdout: STDIO,
  stderr: STDIO,
  detached: checkBoolean,
  grace: duration(),
  signal: checkSignal,
};

/** Throws unless there is a command, and each option is right for it. */
export function checkPairOptions(
  command: unknown,
  options: PairOptions | PacketPairOptions,
): void {
  const isModule = command instanceof URL;
  if (isModule ? command.protocol !== "file:" : typeof command !== "string" || command === "") {
    const found = isModule ? command.href : command;
    throw unexpected("command", "a program or the file: URL of a module", found);
  }
  if (isModule) checkModule(command);
  else checkText("command", command);
  checkOptions("pair", options, PAIR_CHECKS);
  if (options.socket === "stdio") checkOnStdio(command, options);
  if ((options.type ?? "stream") !== "stream") checkPackets(command, options);
  if (options.descriptors) checkDescriptors(command, options);
  const { permissions, modules, config, lowLatency } = options as PairOptions;
  if (lowLatency && (options.socket === "stdio" || (options.type ?? "stream") !== "stream")) {
    throw new TypeError("Invalid lowLatency: it is for a stream socket at a descriptor");
  }
  if (isModule || (permissions ?? modules ?? config) === undefined) return;
  throw new TypeError(
    `Invalid options of pair(): "config", "permissions" and "modules" are those of a module, and ` +
      `${show(command)} is a program. Pass a URL to run a module`,
  );
}

/** Throws if something else needs the standard input or output, which are the socket. */
function checkOnStdio(command: unknown, { stdin, stdout }: PairOptions): void {
  const refuse = (reason: string) => {
    throw new TypeError(`Invalid socket: with "stdio", ${reason}`);
  };
  if (command instanceof URL) {
    refuse(`pair() starts programs only, and ${showPath(command)} is a module. Leave it out`);
  }
  const name = stdin !== undefined ? "stdin" : stdout !== undefined ? "stdout" : undefined;
  if (name !== undefined) refuse(`${name} of the child is the connection. Leave out ${name}`);
}

/** The options that decide on the socket. */
interface CheckedOptions {
  type?: string | undefined;
  socket?: string | undefined;
}

/** Throws if the child cannot have a packet socket. */
function checkPackets(
  command: unknown,
  { type, socket }: CheckedOptions,
): void {
  const refuse = (reason: string) => {
    throw new TypeError(`Invalid type: with ${show(type)}, ${reason}`);
  };
  if (socket === "stdio") refuse("the socket is at a descriptor. Leave out socket");
  if (command instanceof URL) {
    refuse(`pair() starts programs only, and ${showPath(command)} is a module. Leave it out`);
  }
}

/** Throws if the child cannot have a socket that passes descriptors. */
function checkDescriptors(command: unknown, { socket, type }: CheckedOptions): void {
  const reason = command instanceof URL
    ? "a module has no --allow-ffi"
    : socket === "stdio"
    ? "standard input and output are pipes"
    : (type ?? "stream") !== "stream"
    ? "a packet socket passes none"
    : undefined;
  if (reason === undefined) return;
  throw new TypeError(`Invalid descriptors: ${reason}. Leave it out`);
}

function unexpected(name: string, expected: string, value: unknown): TypeError {
  return new TypeError(`Invalid ${name}: expected ${expected}, got ${show(value)}`);
}

/** Throws unless the value is an array and each of its entries passes. */
function checkEach(name: string, value: unknown, check: Check): void {
  if (!Array.isArray(value)) throw unexpected(name, "an array", value);
  for (const [i, entry] of value.entries()) check(`${name}[${i}]`, entry);
}

function checkPermission(kind: string, value: unknown): void {
  const name = `permissions.${kind}`;
  if (typeof value === "boolean") return;
  if (value === "inherit") {
    throw new TypeError(
      `Invalid ${name}, "inherit": a process cannot list what it was granted itself, so it cannot ` +
        `hand that on. List what the module may do`,
    );
  }
  const takesUrls = KINDS_WITH_URLS.includes(kind);
  const isEntry = (entry: unknown) =>
    typeof entry === "string" && entry !== "" || takesUrls && entry instanceof URL;
  if (!Array.isArray(value) || !value.every(isEntry)) {
    const entries = takesUrls ? "paths and file: URLs" : "strings";
    throw unexpected(name, `true, false or an array of ${entries} that are not empty`, value);
  }
  checkEach(name, value, (entryName, entry) => {
    if (entry instanceof URL) checkUrl(entryName, entry);
    else checkText(entryName, entry);
  });
}

/** Throws unless the URL of a module has a path. It may have a query and a hash. */
function checkModule(module: URL): void {
  const url = new URL(module);
  url.search = url.hash = "";
  checkUrl("command", url);
}

/** Throws if a part of a URL would be ignored. */
function checkUrl(name: string, url: URL): void {
  const fault = faultOfUrl(url);
  if (fault !== undefined) throw new TypeError(`Invalid ${name} ${showPath(url)}: ${fault}`);
}

function checkText(name: string, value: unknown): void {
  if (typeof value !== "string" || value.includes("\0")) {
    throw unexpected(name, "a string without NUL", value);
  }
  if (value.isWellFormed()) return;
  throw new TypeError(
    `Invalid ${name} ${show(value)}: it contains a lone surrogate, which UTF-8 cannot hold`,
  );
}

function checkPlace(name: string, value: unknown): void {
  if (value instanceof URL && value.protocol === "file:") return checkUrl(name, value);
  if (typeof value !== "string" || value === "" || value.includes("\0")) {
    throw unexpected(name, "a path or a file: URL", value);
  }
  checkText(name, value);
}

function checkEnvironment(_: string, env: unknown): void {
  if (typeof env !== "object" || env === null || Array.isArray(env)) {
    throw unexpected("env", "an object", env);
  }
  for (const [name, value] of Object.entries(env)) {
    if (name === "" || /[=\0]/.test(name)) {
      throw new TypeError(
        `Invalid env: a name is not empty and has no "=" and no NUL, and this is ${show(name)}`,
      );
    }
    checkText("name of a variable in env", name);
    checkText(`env.${name}`, value);
  }
}
