/**
 * The confinement of a module, in addition to Deno's permissions. The child runs the text of
 * {@linkcode confine} before the module: it may use only its arguments.
 *
 * - `Deno`, `process`, `globalThis` and handles lose every property that is not known by name.
 * - Handles of node:net adopt any descriptor, and a TCP handle listens without an address, both
 *   without a permission. Here they adopt only the standard streams and the sockets that the parent
 *   has passed, and listen only if Deno has checked the address. A handle leads to its class, so
 *   that way is closed too.
 * - `require("internal/…")` has everything that `process.binding` has. Only public names resolve.
 * - Workers are refused: a worker would start unconfined. A class that is imported by name cannot
 *   be replaced. The class that it extends can, and that constructor runs first.
 * - This code does not call anything that the module can patch later, and its replacements are
 *   final.
 * - `Object.prototype` takes no additions, because Deno's own objects inherit from it. `call`,
 *   `apply` and `bind` of functions cannot be replaced, because Deno passes its internals to them.
 */

import { DENO_NAMES, GLOBAL_NAMES, HANDLE_NAMES, PROCESS_NAMES } from "./names.ts";

/** The arguments of {@linkcode confine}. */
interface Confinement {
  deno: string[];
  global: string[];
  process: string[];
  handles: string[];
  /** Whether the module may start programs: their pipes are descriptors of any number. */
  mayRun: boolean;
  /** A descriptor that it has besides the socket. */
  further: number | undefined;
}

// deno-lint-ignore no-explicit-any -- Node's internals have no types
type Untyped = any;

function confine(known: Confinement): void {
  const EBADF = -9;
  const EINVAL = -22;
  const LAST_OWN_DESCRIPTOR = 3;
  const { apply, ownKeys, defineProperty, deleteProperty, getPrototypeOf } = Reflect;
  const { setPrototypeOf, preventExtensions, freeze } = Object;
  const { startsWith, slice } = String.prototype;
  const { has, add } = WeakSet.prototype;
  const { NotCapable } = Deno.errors;
  const { process } = globalThis as Untyped;
  const { binding } = process;

  function refuse(what: string): never {
    throw new NotCapable(
      `Cannot ${what}: the sandbox of this module does not allow it. Let its parent do it`,
    );
  }
  function fix(target: object, name: PropertyKey, value: unknown) {
    if (!defineProperty(target, name, { value, writable: false, configurable: false })) {
      throw new TypeError(
        `its Deno is not known to the sandbox: it cannot replace ${String(name)}`,
      );
    }
  }
  function keep(target: object, names: string[]) {
    const kept = new Set<PropertyKey>(names);
    for (const key of ownKeys(target)) {
      if (typeof key === "symbol" || kept.has(key)) continue;
      if (deleteProperty(target, key)) continue;
      throw new TypeError(`its Deno is not known to the sandbox: it cannot remove ${key}`);
    }
  }

  const { guessHandleType } = binding("util");
  const { Pipe } = binding("pipe_wrap");
  const { TCP } = binding("tcp_wrap");
  const { UDP } = binding("udp_wrap");
  const { TTY } = binding("tty_wrap");
  const mayOpen = (fd: number) =>
    fd >= 0 && fd <= LAST_OWN_DESCRIPTOR || fd === known.further ||
    known.mayRun && guessHandleType(fd) !== "FILE";
  const named = new WeakSet();
  for (const { prototype } of [Pipe, TCP]) {
    for (const name of ["bind", "bind6", "bindWithFlags", "open"]) {
      const native = prototype[name];
      if (native === undefined) continue;
      fix(prototype, name, function (this: object, ...values: Untyped[]) {
        if (name === "open") values[0] |= 0;
        if (name === "open" && !mayOpen(values[0])) return EBADF;
        const result = apply(native, this, values);
        if (result === 0) apply(add, named, [this]);
        return result;
      });
    }
    const listen = prototype.listen;
    fix(prototype, "listen", function (this: object, ...values: Untyped[]) {
      return apply(has, named, [this]) ? apply(listen, this, values) : EINVAL;
    });
  }
  fix(UDP.prototype, "open", () => EBADF);
  const methods = new Set<PropertyKey>(known.handles);
  const seen = new Set<object>([Object.prototype]);
  for (const Class of [Pipe, TCP, UDP, TTY]) {
    for (
      let { prototype } = Class;
      !seen.has(prototype);
      prototype = getPrototypeOf(prototype)
    ) {
      seen.add(prototype);
      for (const key of ownKeys(prototype)) {
        if (key === "constructor") {
          fix(prototype, key, () => refuse("make a handle"));
        } else if (typeof key === "string" && !methods.has(key)) {
          fix(prototype, key, () => refuse(`use ${key} of a handle`));
        }
      }
    }
  }

  const Module = process.getBuiltinModule("node:module");
  const { isBuiltin, _resolveFilename: resolve } = Module;
  fix(Module, "_resolveFilename", function (this: unknown, ...values: Untyped[]) {
    if (typeof values[0] !== "string") throw new TypeError("expected a string to resolve");
    const found = apply(resolve, this, values);
    for (const name of [values[0], found]) {
      const isNode = apply(startsWith, name, ["node:"]);
      const id = isNode ? apply(slice, name, [5]) : name;
      if (apply(startsWith, id, ["internal/"])) refuse(`require ${id}`);
    }
    const isFile = apply(startsWith, found, ["/"]) || apply(startsWith, found, ["file:"]);
    return isFile || isBuiltin(found) ? found : refuse(`require ${found}`);
  });

  function refuseWorker() {
    refuse("start a worker");
  }
  for (const Class of [Worker, process.getBuiltinModule("node:worker_threads").Worker]) {
    setPrototypeOf(Class, refuseWorker);
    preventExtensions(Class);
  }

  const { internal } = Deno as Untyped;
  fix(Deno, internal, freeze({ __proto__: null }));
  keep(Deno, known.deno);
  keep(process, known.process);
  keep(globalThis, known.global);
  deleteProperty(Navigator.prototype, "gpu");
  // A setter there would receive Deno's internals whenever Deno assigns a property of that name.
  preventExtensions(Object.prototype);
  // Deno calls some of its functions through these, with its internals.
  for (const name of ["call", "apply", "bind"] as const) {
    fix(Function.prototype, name, Function.prototype[name]);
  }
}

/**
 * Returns the text of a program that confines the module that runs after it.
 *
 * @param further A descriptor that the module has besides the socket.
 */
export function confinement(mayRun: boolean, further?: number): string {
  const known: Confinement = {
    deno: DENO_NAMES,
    global: GLOBAL_NAMES,
    process: PROCESS_NAMES,
    handles: HANDLE_NAMES,
    mayRun,
    further,
  };
  return `(${confine})(${JSON.stringify(known)});`;
}
