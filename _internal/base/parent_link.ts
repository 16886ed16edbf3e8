/** `..` behind a symbolic link, which has two meanings. */

import { directoryOf } from "./path.ts";
import { isGranted } from "./deno_permissions.ts";

/** A symbolic link with `..` behind it. */
export interface Ambiguity {
  link: string;
  /** The directory that the system takes: the parent of where the link leads. */
  parent: string;
  /** The directory that Deno's permissions take: the one that the link is in. */
  lexical: string;
}

/**
 * Returns the first symbolic link in a path behind which `..` leads to another directory for the system than
 * by the letter. Returns `undefined` where there is none, as far as this process may look.
 */
export function ambiguityOf(path: string): Ambiguity | undefined {
  if (!path.includes("/..")) return undefined;
  let before = path.startsWith("/") ? "" : Deno.cwd();
  for (const part of path.split("/")) {
    if (part === "..") {
      const found = ambiguityBehind(before);
      if (found !== undefined) return found;
      before = directoryOf(before || "/").replace(/^\/$/, "");
    } else if (part !== "" && part !== ".") {
      before += `/${part}`;
    }
  }
  return undefined;
}

function ambiguityBehind(link: string): Ambiguity | undefined {
  const lexical = directoryOf(link || "/");
  if (link === "" || !isGranted("read", link) || !isGranted("read", lexical)) return undefined;
  try {
    if (!Deno.lstatSync(link).isSymlink) return undefined;
    const parent = directoryOf(Deno.realPathSync(link));
    return parent === Deno.realPathSync(lexical) ? undefined : { link, parent, lexical };
  } catch {
    // What is missing, or not to be seen, is told by the call that uses the path.
    return undefined;
  }
}
