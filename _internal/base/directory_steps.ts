/** The directories on the way to a path, from the root down. */

import { directoryOf } from "./path.ts";
import { isGranted } from "./deno_permissions.ts";

/** The maximum number of symbolic links that Linux follows in one path (ELOOP). */
const MAX_LINKS = 40;

/** Two looks at the file system. Both return `undefined` if this process may not look. */
export interface Look {
  /** Returns what is at a path itself. */
  at(path: string): Deno.FileInfo | undefined;
  /** Returns where a symbolic link leads. */
  target(path: string): string | undefined;
}

/** A directory, or a symbolic link, on the way. */
export interface Step {
  path: string;
  /** What is at the path; `undefined` if nothing is, or if this process may not look. */
  info: Deno.FileInfo | undefined;
  /** The directory that it is in. */
  parent: Deno.FileInfo | undefined;
}

/**
 * Walks from the root to a directory as the system does, through each symbolic link. Ends early at
 * a link that cannot be read, and after too many links.
 */
export function* stepsTo(directory: string, look: Look): Generator<Step> {
  const root = look.at("/");
  yield { path: "/", info: root, parent: undefined };
  const names = namesOf(directory);
  let path = "/";
  let info = root;
  for (let links = 0; links <= MAX_LINKS;) {
    const name = names.shift();
    if (name === undefined) return;
    const next = name === ".." ? directoryOf(path) : `${path === "/" ? "" : path}/${name}`;
    const found = look.at(next);
    yield { path: next, info: found, parent: info };
    if (!found?.isSymlink) {
      path = next;
      info = found;
      continue;
    }
    const target = look.target(next);
    if (target === undefined) return;
    links++;
    names.unshift(...namesOf(target));
    if (target.startsWith("/")) [path, info] = ["/", root];
  }
}

/** Looks where this process has read permission. The call that uses the path reports its faults. */
export const WHERE_GRANTED: Look = {
  at: (path) => isGranted("read", path) ? orUndefined(() => Deno.lstatSync(path)) : undefined,
  target: (path) => orUndefined(() => Deno.readLinkSync(path)),
};

/**
 * Returns the directories above a path that can be looked at only with read permission, the nearest
 * one first. The root directory is among them only if the path is directly in it.
 */
export function directoriesAbove(path: string): string[] {
  const directory = directoryOf(path);
  if (directory === "/") return ["/"];
  const steps = [...stepsTo(directory, WHERE_GRANTED)].map((step) => step.path);
  return [...new Set([directory, ...steps.reverse()])].filter((step) => step !== "/");
}

function orUndefined<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}
