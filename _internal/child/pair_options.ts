/** The checks of `pair()`'s arguments. */

import type { PacketPairOptions, PairOptions } from "../../pair.ts";
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
} from "../base/check.ts";
import { faultOfUrl } from "../base/path.ts";

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
    refuse(`pair() starts programs only, and ${show(command.href)} is a module. Leave it out`);
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
    refuse(`pair() starts programs only, and ${show(command.href)} is a module. Leave it out`);
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
  if (fault !== undefined) throw new TypeError(`Invalid ${name} ${show(url.href)}: ${fault}`);
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
