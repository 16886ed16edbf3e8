/**
 * The directory of a socket: made for it, or found to be safe.
 *
 * - Safe is a directory of this user or root in which nobody else can put or replace files, and which is
 *   still the same one when the socket has been bound.
 */

import { InsecurePath } from "../errors.ts";
import { directoryOf } from "./absolute_path.ts";
import { GROUP_AND_OTHERS_WRITE, kindOf, octal } from "./file_identity.ts";
import type { Attempt } from "./lock_patience.ts";
import { attempt, systemError } from "./system_error.ts";

/** The directory that a socket's file is, or will be, in. */
export class SocketDirectory {
  readonly #wanted: Attempt;
  readonly #path: string;
  /** What was found at the last look. */
  #before: Deno.FileInfo | undefined;

  /** @param wanted What is tried, for the errors; its path is that of the socket. */
  constructor(wanted: Attempt) {
    this.#wanted = wanted;
    this.#path = directoryOf(wanted.path);
  }

  /** Makes it, and those above it, closed to others; what is there stays as it is. */
  create(): void {
    try {
      Deno.mkdirSync(this.#path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw systemError(
        `Cannot create the directory of "${this.#wanted.path}"`,
        error,
        { ...this.#wanted },
        error instanceof Deno.errors.AlreadyExists
          ? `${JSON.stringify(this.#path)} is there, and no directory`
          : undefined,
      );
    }
  }

  /**
   * Refuses a directory that is not safe, or another one than at the last look.
   *
   * @param uid The user whose it may be beside root.
   */
  verify(uid: number | null | undefined): void {
    const info = Deno.lstatSync(this.#path);
    const reason = whyUnsafe(info, uid, this.#before);
    this.#before = info;
    if (reason === undefined) return;
    const { operation, path } = this.#wanted;
    throw new InsecurePath(
      `${attempt(operation, path)}: its directory "${this.#path}" is not safe: ` +
        `${reason}. Choose a directory that only you can write to`,
      { operation, path: this.#path },
    );
  }
}

function whyUnsafe(
  info: Deno.FileInfo,
  uid: number | null | undefined,
  before: Deno.FileInfo | undefined,
): string | undefined {
  const mode = info.mode ?? 0;
  if (!info.isDirectory) return `it is ${kindOf(info)}`;
  if (info.uid !== 0 && info.uid !== uid) return `it belongs to uid ${info.uid}`;
  if ((mode & GROUP_AND_OTHERS_WRITE) !== 0 && (mode & 0o1000) === 0) {
    return `others may write to it (mode ${octal(mode)}, no sticky bit)`;
  }
  // Whoever may write to a directory above it can put another directory of this user in its place.
  if (before !== undefined && !isSameDirectory(before, info)) {
    return "it was replaced while the socket was bound";
  }
  return undefined;
}

/** Not by its times: binding a socket in it changes some. */
function isSameDirectory(a: Deno.FileInfo, b: Deno.FileInfo): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
