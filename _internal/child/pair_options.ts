/** What `pair()` checks before it asks the system for anything. */

import { faultOfUrl } from "../base/path.ts";
import {
  checkBoolean,
  checkChoice,
  checkDuration,
  checkOptions,
  checkSignal,
  show,
} from "../base/check.ts";

const OPTIONS = [
  "args",
  "cwd",
  "env",
  "clearEnv",
  "permissions",
  "modules",
  "config",
  "stdin",
  "stdout",
  "stderr",
  "detached",
  "grace",
  "signal",
] as const;

/** Refuses a command or options that are none. */
export function checkPairOptions(
  command: unknown,
  options: Readonly<Partial<Record<typeof OPTIONS[number], unknown>>>,
): void {
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
  checkOptions("pair", options, OPTIONS);
  const { args, cwd, env, permissions, modules, config } = options;
  for (const [i, arg] of entriesOf("args", args)) checkText(`args[${i}]`, arg);
  if (cwd !== undefined) checkPlace("cwd", cwd);
  checkEnvironment(env);
  checkBoolean("clearEnv", options.clearEnv);
  if (!isModule && [permissions, modules, config].some((option) => option !== undefined)) {
    throw new TypeError(
      `Invalid options of pair(): "config", "permissions" and "modules" are those of a module, and ` +
        `${show(command)} is a program. Pass a URL to run a module`,
    );
  }
  if (permissions !== undefined && permissions !== "none") {
    checkOptions("permissions of pair", permissions, [
      "read",
      "write",
      "net",
      "env",
      "sys",
      "run",
      "ffi",
      "import",
    ]);
    for (const [kind, value] of Object.entries(permissions as object)) checkPermission(kind, value);
  }
  for (const [i, directory] of entriesOf("modules", modules)) {
    checkPlace(`modules[${i}]`, directory);
  }
  if (Array.isArray(modules) && modules.length === 0) {
    throw new TypeError("Invalid modules: it is empty, so the module could not be loaded");
  }
  if (config !== undefined) {
    if (!(config instanceof URL)) {
      throw new TypeError(
        `Invalid config: expected the file: URL of a deno.json, got ${show(config)}`,
      );
    }
    checkUrl("config", config);
  }
  for (const name of ["stdin", "stdout", "stderr"] as const) {
    checkChoice(name, options[name], ["piped", "inherit", "null"]);
  }
  checkBoolean("detached", options.detached);
  checkDuration("grace", options.grace);
  checkSignal(options.signal);
}

function entriesOf(name: string, value: unknown): [number, unknown][] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    throw new TypeError(`Invalid ${name}: expected an array, got ${show(value)}`);
  }
  return [...value.entries()];
}

function checkPermission(kind: string, value: unknown): void {
  if (value === undefined || typeof value === "boolean") return;
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

function checkEnvironment(env: unknown): void {
  if (env === undefined) return;
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
