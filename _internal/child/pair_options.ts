/** What `pair()` checks before it asks the system for anything. */

import { faultOfUrl } from "../base/path.ts";
import {
  type Check,
  checkBoolean,
  checkOptions,
  type Checks,
  checkSignal,
  duration,
  oneOf,
  show,
} from "../base/check.ts";
import type { PairOptions } from "../../pair.ts";

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

/** A check for each option of `pair()`. */
const PAIR_CHECKS: Checks<PairOptions> = {
  args: (name, value) => checkEach(name, value, checkText),
  cwd: checkPlace,
  env: checkEnvironment,
  clearEnv: checkBoolean,
  permissions(_, value) {
    if (value === "none") return;
    checkOptions("permissions of pair", value, PERMISSIONS_CHECKS);
  },
  modules(name, value) {
    checkEach(name, value, checkPlace);
    if ((value as unknown[]).length > 0) return;
    throw new TypeError("Invalid modules: it is empty, so the module could not be loaded");
  },
  config(name, value) {
    if (value instanceof URL) return checkUrl(name, value);
    throw new TypeError(
      `Invalid ${name}: expected the file: URL of a deno.json, got ${show(value)}`,
    );
  },
  stdin: STDIO,
  stdout: STDIO,
  stderr: STDIO,
  detached: checkBoolean,
  grace: duration(),
  signal: checkSignal,
};

/** Throws unless there is a command, and each option is a right one for it. */
export function checkPairOptions(command: unknown, options: PairOptions): void {
  const isModule = command instanceof URL;
  if (isModule ? command.protocol !== "file:" : typeof command !== "string" || command === "") {
    throw new TypeError(
      `Invalid command: expected a program or the file: URL of a module, got ${
        show(isModule ? command.href : command)
      }`,
    );
  }
  if (isModule) checkModule(command);
  else checkText("command", command);
  checkOptions("pair", options, PAIR_CHECKS);
  const { permissions, modules, config } = options;
  if (!isModule && (permissions ?? modules ?? config) !== undefined) {
    throw new TypeError(
      `Invalid options of pair(): "config", "permissions" and "modules" are those of a module, and ` +
        `${show(command)} is a program. Pass a URL to run a module`,
    );
  }
}

/** Throws unless the value is an array, and each of its entries passes. */
function checkEach(name: string, value: unknown, check: Check): void {
  if (!Array.isArray(value)) {
    throw new TypeError(`Invalid ${name}: expected an array, got ${show(value)}`);
  }
  for (const [i, entry] of value.entries()) check(`${name}[${i}]`, entry);
}

function checkPermission(kind: string, value: unknown): void {
  if (typeof value === "boolean") return;
  if (value === "inherit") {
    throw new TypeError(
      `Invalid permissions.${kind}, "inherit": a process cannot list what it was granted itself, so it cannot ` +
        `hand that on. List what the module may do`,
    );
  }
  const takesUrls = ["read", "write", "run", "ffi"].includes(kind);
  const isEntry = (entry: unknown) =>
    typeof entry === "string" && entry !== "" || takesUrls && entry instanceof URL;
  if (Array.isArray(value) && value.every(isEntry)) {
    for (const [i, entry] of value.entries()) {
      if (entry instanceof URL) checkUrl(`permissions.${kind}[${i}]`, entry);
      else checkText(`permissions.${kind}[${i}]`, entry);
    }
    return;
  }
  const entries = takesUrls ? "paths and file: URLs" : "strings";
  throw new TypeError(
    `Invalid permissions.${kind}: expected true, false or an array of ${entries} that are not empty, got ${
      show(value)
    }`,
  );
}

/** Refuses the URL of a module that has no path; a query and a hash it may have. */
function checkModule(module: URL): void {
  const url = new URL(module);
  url.search = url.hash = "";
  checkUrl("command", url);
}

/** Refuses a URL of which something would be ignored: that path may be one that nobody meant. */
function checkUrl(name: string, url: URL): void {
  const fault = faultOfUrl(url);
  if (fault === undefined) return;
  throw new TypeError(`Invalid ${name} ${show(url.href)}: ${fault}`);
}

function checkText(name: string, value: unknown): void {
  if (typeof value !== "string" || value.includes("\0")) {
    throw new TypeError(`Invalid ${name}: expected a string without NUL, got ${show(value)}`);
  }
  if (value.isWellFormed()) return;
  throw new TypeError(
    `Invalid ${name} ${show(value)}: it contains a lone surrogate, which UTF-8 cannot hold`,
  );
}

function checkPlace(name: string, value: unknown): void {
  if (value instanceof URL && value.protocol === "file:") return checkUrl(name, value);
  if (typeof value === "string" && value !== "" && !value.includes("\0")) {
    return checkText(name, value);
  }
  throw new TypeError(`Invalid ${name}: expected a path or a file: URL, got ${show(value)}`);
}

function checkEnvironment(_: string, env: unknown): void {
  if (typeof env !== "object" || env === null || Array.isArray(env)) {
    throw new TypeError(`Invalid env: expected an object, got ${show(env)}`);
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
