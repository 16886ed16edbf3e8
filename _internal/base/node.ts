/** Modules of Node, loaded at their first use. */

/**
 * Returns one of Node's modules. An import of it, or of `node:process`, would add 20 ms to the
 * start of every program that imports this package.
 */
export const builtin: typeof process.getBuiltinModule = (name: string) =>
  // deno-lint-ignore no-process-global
  process.getBuiltinModule(name) as never;

type WithBinding = { binding(name: string): never };

/** Returns internals of Node's, which have no public name. */
export function internals<T>(name: string): T {
  // deno-lint-ignore no-process-global
  return (process as unknown as WithBinding).binding(name);
}

/** Reports whether this process has internals: the sandbox of a module has not. */
export function hasInternals(): boolean {
  // deno-lint-ignore no-process-global
  return "binding" in process;
}
