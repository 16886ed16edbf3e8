/**
 * What a public function is doing, and to which path. Made once, where the call begins, and handed
 * down: every failure below is reported through it, so that all errors have one shape.
 */

import type { SocketError } from "../../errors.ts";
import { areGranted, requireGrants } from "./deno_permissions.ts";
import { attempt, systemError } from "./failure.ts";

/** Returns the context of an operation on one socket. */
export type ContextOf<Path extends string | null = string | null> = (
  operation: string,
) => ErrorContext<Path>;

/** Returns the contexts of a socket that has no path, at a descriptor. */
export function contextAt(fd: number): ContextOf<null> {
  return (operation) => new ErrorContext(operation, null, attempt(operation, fd));
}

/**
 * The operation and the path that an error names. A call without a path has an
 * `ErrorContext<null>`.
 */
export class ErrorContext<Path extends string | null = string> {
  readonly operation: string;
  readonly path: Path;
  // All else is private: errors get the own properties of a context.
  readonly #start: string | undefined;
  #later: Deno.PermissionOptionsObject = {};

  /**
   * @param operation The operation.
   * @param path The path; `null` if the call has none.
   * @param start The beginning of every message, by default made of the operation and the path.
   */
  constructor(operation: string, path: Path, start?: string) {
    this.operation = operation;
    this.path = path;
    this.#start = start;
  }

  /** Permissions that the call needs later: an error about one that is missing names them too. */
  set later(permissions: Deno.PermissionOptionsObject) {
    this.#later = permissions;
  }

  /** The beginning of every message: `Cannot connect to "/run/app.sock"`. */
  get start(): string {
    return this.#start ?? attempt(this.operation, String(this.path));
  }

  /** Returns the same context for another path. */
  at(path: string): ErrorContext {
    return new ErrorContext(this.operation, path);
  }

  /**
   * Returns an error of a class, ours or Deno's.
   *
   * @param Class The class.
   * @param state What stands in the way, and the remedy.
   * @param fields The other fields of the error; `path` if it names another path than the message.
   */
  error<C extends new (message: string, fields: never) => Error>(
    Class: C,
    state: string,
    fields?: Omit<NonNullable<ConstructorParameters<C>[1]>, "operation" | "path"> & {
      path?: string;
    },
  ): InstanceType<C> {
    const { operation } = this;
    const path = fields?.path ?? this.path;
    const error = new Class(`${this.start}: ${state}`, { ...fields, operation, path } as never);
    return Object.assign(error, { operation, path }) as InstanceType<C>;
  }

  /**
   * Returns an error of the cause's own class.
   *
   * @param cause What Deno threw.
   * @param state What went wrong, unless the cause describes it well.
   */
  fail(cause: unknown, state?: string): SocketError {
    return systemError(this.start, cause, this, state);
  }

  /**
   * Throws `NotCapable`, which names the flags to add, unless all of the set is granted.
   *
   * @param set The permissions.
   * @param isRefused Whether Deno itself has refused already.
   */
  require(set: Deno.PermissionOptionsObject, isRefused?: boolean): void {
    if (!areGranted(set)) requireGrants(this.start, { ...this.#later, ...set }, this, isRefused);
  }
}
