/**
 * The directory of a socket: created, or checked to be safe.
 *
 * - It is safe if no other user can put another file in the place of the socket, or another
 *   directory in the place of one on the way to it.
 * - So each directory from the root on must belong to root or to this user. Others may write to it
 *   only if it has the sticky bit, with which they cannot rename or remove what is not theirs.
 * - A symbolic link on the way is followed. The directory that holds the link counts like the
 *   others.
 */

import { InsecurePath } from "../../errors.ts";
import { isGranted } from "../base/deno_permissions.ts";
import { type Look, stepsTo, WHERE_GRANTED } from "../base/directory_steps.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { systemError } from "../base/failure.ts";
import { GROUP_AND_OTHERS_WRITE, kindOf, octal } from "../base/file.ts";
import { directoryOf } from "../base/path.ts";

const STICKY = 0o1000;

type Uid = number | null | undefined;

/** A directory, or a link, that another user can exchange or fill. */
interface Weakness {
  path: string;
  reason: string;
}

/** Why another user may be able to exchange the socket. */
export interface Unsafe {
  /** What is wrong with a directory; `undefined` if some of them could not be examined. */
  readonly reason: string | undefined;
  /** The directories for which this process has no read permission. */
  readonly unseen: readonly string[];
}

/** The directory that a socket's file is, or will be, in. */
export class SocketDirectory {
  readonly #context: ErrorContext;
  readonly #path: string;
  /** The directory that the last {@linkcode verify} found. */
  #verified: Deno.FileInfo | undefined;

  /** @param context What is tried. Its path is that of the socket. */
  constructor(context: ErrorContext) {
    this.#context = context;
    this.#path = directoryOf(context.path);
  }

  /** Creates it and the missing ones above it with mode 0700. */
  create(): void {
    try {
      Deno.mkdirSync(this.#path, { recursive: true, mode: 0o700 });
    } catch (error) {
      const state = error instanceof Deno.errors.AlreadyExists
        ? `${JSON.stringify(this.#path)} exists, and is not a directory`
        : undefined;
      const start = `Cannot create the directory of "${this.#context.path}"`;
      throw systemError(start, error, this.#context, state);
    }
  }

  /**
   * Throws `InsecurePath` unless the directory is safe, not a symbolic link, and the same one as at
   * the last call.
   *
   * @param uid The user of this process.
   */
  verify(uid: Uid): void {
    const info = Deno.lstatSync(this.#path);
    if (!info.isDirectory) this.#refuse({ path: this.#path, reason: `it is ${kindOf(info)}` });
    const weakness = weaknessOf(this.#path, uid, {
      at: (path) => this.#examine(path),
      target: Deno.readLinkSync,
    });
    if (weakness !== undefined) this.#refuse(weakness);
    // Root and this user can still exchange it. Binding a socket in it changes its times.
    const before = this.#verified;
    if (before !== undefined && (before.dev !== info.dev || before.ino !== info.ino)) {
      this.#refuse({ path: this.#path, reason: "it was replaced while the socket was bound" });
    }
    this.#verified = info;
  }

  /**
   * Returns why another user could exchange the socket, or `undefined` if no other user can. A
   * directory without read permission counts as unsafe, except for the root directory: permission
   * to read that would be permission to read everything.
   *
   * @param uid The user of this process.
   */
  unsafe(uid: Uid): Unsafe | undefined {
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

  /** Describes a directory. Throws `NotCapable` if that is not permitted. */
  #examine(path: string): Deno.FileInfo | undefined {
    // Read permission for the root would be one for every file.
    if (path === "/" && this.#path !== "/") return WHERE_GRANTED.at(path);
    this.#context.require({ read: [path] });
    return Deno.lstatSync(path);
  }

  #refuse(weakness: Weakness): never {
    throw this.#context.error(
      InsecurePath,
      `${this.#describe(weakness)}. Choose a directory that only you can write to`,
      { path: weakness.path },
    );
  }

  #describe({ path, reason }: Weakness): string {
    const which = path === this.#path ? "its directory" : "on the way to it,";
    return `${which} ${JSON.stringify(path)} is not safe: ${reason}`;
  }
}

/** Returns the first place on the way to a directory that another user can exchange or fill. */
function weaknessOf(directory: string, uid: Uid, look: Look): Weakness | undefined {
  let trusted: Uid[] = [0, uid];
  for (const { path, info, parent } of stepsTo(directory, look)) {
    // The owner of the root directory owns the system: in a user namespace it need not be user 0.
    if (path === "/") trusted = [0, uid, info?.uid];
    if (info === undefined) continue;
    const isTrusted = trusted.includes(info.uid);
    if (info.isSymlink) {
      // In a directory with the sticky bit, the owner of the link can exchange it.
      if (isTrusted || parent === undefined || !isWritable(parent)) continue;
      return { path, reason: `it is a symbolic link of uid ${info.uid}` };
    }
    if (!isTrusted) return { path, reason: `it belongs to uid ${info.uid}` };
    const mode = info.mode ?? 0;
    if (isWritable(info) && (mode & STICKY) === 0) {
      return { path, reason: `others may write to it (mode ${octal(mode)}, no sticky bit)` };
    }
  }
  return undefined;
}

/** Reports whether its group, which includes access control lists, or others may write to it. */
function isWritable({ mode }: Deno.FileInfo): boolean {
  return ((mode ?? 0) & GROUP_AND_OTHERS_WRITE) !== 0;
}
