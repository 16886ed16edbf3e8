/**
 * The directory of a socket: made for it, or found to be safe.
 *
 * - It is safe if no other user can put another file in the place of the socket, or another directory in
 *   the place of one on the way to it.
 * - So each directory from the root on must belong to root or to this user. Others may write to it only if
 *   it has the sticky bit, with which they cannot rename or remove what is not theirs.
 * - A symbolic link on the way leads on; the directory that holds the link counts like the others.
 */

import { InsecurePath } from "../../errors.ts";
import { directoryOf } from "../base/path.ts";
import { GROUP_AND_OTHERS_WRITE, kindOf, octal } from "../base/file.ts";
import { isGranted, requireGrants } from "../base/deno_permissions.ts";
import type { Attempt } from "../lock/lock_wait.ts";
import { type Look, stepsTo, WHERE_GRANTED } from "../base/directory_steps.ts";
import { attempt, systemError } from "../base/failure.ts";

const STICKY = 0o1000;

/** A directory, or a link, that another user can exchange or fill. */
interface Weakness {
  path: string;
  reason: string;
}

/** Why the socket cannot be trusted to stay in its place. */
export interface Unsafe {
  /** What is wrong with a directory; `undefined` if some of them could not be looked at. */
  readonly reason: string | undefined;
  /** The directories for which this process has no read permission. */
  readonly unseen: readonly string[];
}

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
   * Throws `InsecurePath` unless the directory is safe, a directory itself, and the same one as at the
   * last look.
   *
   * @param uid The user of this process.
   */
  verify(uid: number | null | undefined): void {
    const info = Deno.lstatSync(this.#path);
    if (!info.isDirectory) this.#refuse({ path: this.#path, reason: `it is ${kindOf(info)}` });
    const weakness = weaknessOf(this.#path, uid, {
      at: (path) => this.#require(path),
      target: Deno.readLinkSync,
    });
    if (weakness !== undefined) this.#refuse(weakness);
    // Root and this user can still exchange it.
    if (this.#before !== undefined && !isSameDirectory(this.#before, info)) {
      this.#refuse({ path: this.#path, reason: "it was replaced while the socket was bound" });
    }
    this.#before = info;
  }

  /**
   * Returns why another user could exchange the socket, or `undefined` if no other user can. A directory
   * without read permission counts as one where they could, except for the root directory: permission to
   * read that would be permission to read everything.
   *
   * @param uid The user of this process.
   */
  unsafe(uid: number | null | undefined): Unsafe | undefined {
    const unseen: string[] = [];
    const weakness = weaknessOf(this.#path, uid, {
      ...WHERE_GRANTED,
      at(path) {
        if (path !== "/" && !isGranted("read", path)) unseen.push(path);
        return WHERE_GRANTED.at(path);
      },
    });
    if (weakness !== undefined) return { reason: this.#describe(weakness), unseen: [] };
    return unseen.length === 0 ? undefined : { reason: undefined, unseen };
  }

  /** Looks at a directory; throws `NotCapable` where that is not permitted. */
  #require(path: string): Deno.FileInfo | undefined {
    // Read permission for the root would be one for every file.
    if (path === "/" && this.#path !== "/") return WHERE_GRANTED.at(path);
    const { operation, path: socket } = this.#wanted;
    requireGrants(attempt(operation, socket), { read: [path] }, this.#wanted);
    return Deno.lstatSync(path);
  }

  #refuse(weakness: Weakness): never {
    const { operation, path } = this.#wanted;
    throw new InsecurePath(
      `${attempt(operation, path)}: ${this.#describe(weakness)}. ` +
        `Choose a directory that only you can write to`,
      { operation, path: weakness.path },
    );
  }

  #describe({ path, reason }: Weakness): string {
    const which = path === this.#path ? "its directory" : "on the way to it,";
    return `${which} ${JSON.stringify(path)} is not safe: ${reason}`;
  }
}

/** Returns the first place on the way to a directory where another user can change where it leads. */
function weaknessOf(
  directory: string,
  uid: number | null | undefined,
  look: Look,
): Weakness | undefined {
  let trusted: (number | null | undefined)[] = [0, uid];
  for (const { path, info, parent } of stepsTo(directory, look)) {
    // The owner of the root directory owns the system: in a user namespace it need not be user 0.
    if (path === "/") trusted = [0, uid, info?.uid];
    if (info === undefined) continue;
    if (!info.isSymlink) {
      const reason = whyUnsafe(info, trusted);
      if (reason !== undefined) return { path, reason };
    } else if (parent !== undefined && isWritable(parent) && !trusted.includes(info.uid)) {
      // In a directory with the sticky bit the owner of the link can exchange it.
      return { path, reason: `it is a symbolic link of uid ${info.uid}` };
    }
  }
  return undefined;
}

function whyUnsafe(
  info: Deno.FileInfo,
  trusted: (number | null | undefined)[],
): string | undefined {
  if (!trusted.includes(info.uid)) return `it belongs to uid ${info.uid}`;
  const mode = info.mode ?? 0;
  if (isWritable(info) && (mode & STICKY) === 0) {
    return `others may write to it (mode ${octal(mode)}, no sticky bit)`;
  }
  return undefined;
}

/** Whether its group or others may write to it; a user in an access control list counts as its group. */
function isWritable({ mode }: Deno.FileInfo): boolean {
  return ((mode ?? 0) & GROUP_AND_OTHERS_WRITE) !== 0;
}

/** Not by its times: binding a socket in it changes some. */
function isSameDirectory(a: Deno.FileInfo, b: Deno.FileInfo): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
