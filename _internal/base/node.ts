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

/** What a handle of node:net is for. */
export const SOCKET = 0;
export const SERVER = 1;

/** Returns the class of the handles that node:net has for Unix sockets, which it calls pipes. */
export function pipeClass<Handle>(): new (type: number) => Handle {
  return internals<{ Pipe: new (type: number) => Handle }>("pipe_wrap").Pipe;
}

/** Reports whether this process has internals: the sandbox of a module has not. */
export function hasInternals(): boolean {
  // deno-lint-ignore no-process-global
  return "binding" in process;
}
