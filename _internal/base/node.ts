/** Node's modules, at their first use. */

/**
 * One of Node's modules. Not imported, and nor is `node:process`, which has the function for it: either
 * would cost everyone who imports this package 20 ms at the start.
 */
export const builtin: typeof process.getBuiltinModule = (name: string) =>
  // deno-lint-ignore no-process-global
  process.getBuiltinModule(name) as never;
