/**
 * The file of a socket that is being bound: its mode and its owner decide which processes may
 * connect.
 *
 * - A bind creates the file. If this process may set its umask, the file has no more bits than
 *   asked for from the first instant.
 * - `chmod` and `chown` follow symbolic links, so they are used only where no other user can put
 *   one: see docs/design/mode_and_owner.md.
 */

import { InsecurePath } from "../../errors.ts";
import { isGranted, requireGrants } from "../base/deno_permissions.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { codeOf, stateOf } from "../base/failure.ts";
import { GROUP_AND_OTHERS_WRITE, isSameFile, kindOf, lstat, octal } from "../base/file.ts";
import type { Unsafe } from "./directory.ts";
import { withUmask } from "./umask.ts";

/** The permission bits with which a process may connect, on Linux and macOS. */
const CONNECT_BITS = 0o222;

/** The mode and the owner that a socket gets. */
export interface AccessOptions {
  mode: number;
  uid: number | undefined;
  gid: number | undefined;
}

/** The file of a socket that is being bound. */
export class SocketAccess {
  readonly #context: ErrorContext;
  readonly #bindPath: string;
  readonly #options: AccessOptions;
  readonly #unsafe: Unsafe | undefined;
  /**
   * Whether `chown` follows the bind. Until then, the group bits would apply to the wrong group.
   */
  readonly #changesOwner: boolean;

  /**
   * @param context What is tried.
   * @param bindPath The path of the file.
   * @param options The mode and the owner.
   * @param unsafe Why mode and owner cannot be changed in the directory.
   */
  constructor(
    context: ErrorContext,
    bindPath: string,
    options: AccessOptions,
    unsafe: Unsafe | undefined,
  ) {
    this.#context = context;
    this.#bindPath = bindPath;
    this.#options = options;
    this.#unsafe = unsafe;
    this.#changesOwner = unsafe === undefined && (options.uid ?? options.gid) !== undefined;
  }

  /**
   * Calls `open`, which binds the path, under a umask that leaves no gap. If it returns a promise,
   * what it does later is not under that umask.
   */
  bind<T>(open: () => T): T {
    const mask = this.#changesOwner ? 0o077 : ~this.#options.mode & 0o077;
    return withUmask(mask, this.#unsafe !== undefined, open);
  }

  /** Returns why `open` has failed: an address in use is not this path if nothing is at it. */
  explain(error: unknown): unknown {
    const isElsewhere = codeOf(error) === "EADDRINUSE" && lstat(this.#bindPath) === null;
    return isElsewhere && this.#context.operation === "claim" ? this.#notBound(null, error) : error;
  }

  /** Returns the file that `open` has created. */
  find(): Deno.FileInfo {
    const created = lstat(this.#bindPath);
    if (created?.isSocket) return created;
    // Only the `open` of a claim can have bound something else.
    if (this.#unsafe?.reason !== undefined || this.#context.operation !== "claim") {
      throw replacedWhileBound(this.#context);
    }
    throw this.#notBound(created);
  }

  /** Returns the error for an `open` that did not bind the path that it got. */
  #notBound(there: Deno.FileInfo | null, cause?: unknown): TypeError {
    const { start, path } = this.#context;
    const found = there === null ? "nothing" : kindOf(there);
    const [where, remedy] = this.#bindPath === path
      ? ["", "Bind exactly this path before open has ended"]
      : [
        ` at ${JSON.stringify(this.#bindPath)}`,
        "Bind the path that open gets as its argument before it has ended: it is renamed then",
      ];
    return new TypeError(`${start}: there is ${found}${where} after the bind. ${remedy}`, {
      cause,
    });
  }

  /** Throws `InsecurePath` unless the file belongs to the owner of the lock file. */
  requireOwner(created: Deno.FileInfo, uid: number | null): void {
    if (created.uid === uid) return;
    throw this.#context.error(
      InsecurePath,
      `the socket there belongs to uid ${created.uid} and its lock to uid ${uid}, so another ` +
        `process has replaced it. Choose a directory that only you can write to`,
    );
  }

  /** Reports whether other users could connect that the options exclude. */
  isExposed({ mode }: Deno.FileInfo): boolean {
    const allowed = this.#options.mode & (this.#changesOwner ? ~0o020 : 0o777);
    return ((mode ?? 0) & GROUP_AND_OTHERS_WRITE & ~allowed) !== 0;
  }

  /**
   * Sets the owner and the mode. In an unsafe directory the socket keeps those that it was created
   * with, if its owner and its write bits are right. The other bits have no effect.
   *
   * @returns The file as it is then.
   */
  apply(created: Deno.FileInfo): Deno.FileInfo {
    const { mode, uid = created.uid, gid = created.gid } = this.#options;
    const changesOwner = uid !== created.uid || gid !== created.gid;
    const changedBits = (created.mode ?? 0) & 0o777 ^ mode;
    if (this.#unsafe !== undefined) {
      if (changesOwner) this.#refuse(this.#unsafe, "Its owner");
      if ((changedBits & CONNECT_BITS) !== 0) this.#refuse(this.#unsafe, "Its mode");
    }
    try {
      // In this order: chmod first would admit the old group.
      if (changesOwner) this.#changeOwner();
      if (changedBits !== 0 && this.#unsafe === undefined) this.#changeMode();
      const own = Deno.lstatSync(this.#bindPath);
      if (isSameFile(created, own)) return own;
    } catch (error) {
      throw codeOf(error) === "ENOENT" ? replacedWhileBound(this.#context, error) : error;
    }
    throw replacedWhileBound(this.#context);
  }

  #changeMode(): void {
    const { mode } = this.#options;
    try {
      Deno.chmodSync(this.#bindPath, mode);
    } catch (error) {
      const unsupported = ["EPERM", "EINVAL", "ENOTSUP", "ENOSYS"].includes(codeOf(error) ?? "");
      const remedy = ". Choose a directory on a file system that keeps the mode of a socket";
      const state = `its mode could not be set to ${octal(mode)}: ${stateOf(error)}`;
      throw this.#context.fail(error, state + (unsupported ? remedy : ""));
    }
  }

  #changeOwner(): void {
    const { uid, gid } = this.#options;
    try {
      Deno.chownSync(this.#bindPath, uid ?? null, gid ?? null);
    } catch (error) {
      const to = [uid !== undefined && `user ${uid}`, gid !== undefined && `group ${gid}`];
      const state = `it could not be given to ${to.filter(Boolean).join(" and ")}: ${
        stateOf(error)
      }. Only root can change the user, and other users can choose only a group of their own`;
      throw this.#context.fail(error, state);
    }
  }

  /** Refuses to change a socket that another user could exchange for a link to some other file. */
  #refuse({ reason, unseen }: Unsafe, what: "Its mode" | "Its owner"): never {
    const { start } = this.#context;
    if (reason === undefined) {
      requireGrants(
        `${start}: ${what.toLowerCase()} can be set only in a directory that is known to be safe`,
        { read: [...unseen] },
        this.#context,
      );
    }
    const remedy = what === "Its owner" || isGranted("sys", "umask")
      ? ""
      : ", or run with --allow-sys";
    throw this.#context.error(
      InsecurePath,
      `${reason}. ${what} cannot be set there without risk to other files. ` +
        `Choose a directory that only you can write to${remedy}`,
    );
  }
}

/** Returns the error for a file that is not at the bound path any more. */
export function replacedWhileBound(context: ErrorContext, cause?: unknown): Error {
  return context.error(
    InsecurePath,
    "another process replaced it while it was bound. Choose a directory that only you can write to",
    { code: "EPERM", cause },
  );
}
