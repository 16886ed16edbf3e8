/** A symbolic link followed by `..`, which has two meanings. */

import { directoryOf } from "./path.ts";
import { isGranted } from "./deno_permissions.ts";

/** A symbolic link that `..` follows in a path. */
export interface Ambiguity {
  link: string;
  /** The directory that `..` means to the system: the parent of the link's target. */
  parent: string;
  /** The directory that `..` means to Deno's permissions: the one that holds the link. */
  lexical: string;
}

/**
 * Returns the first symbolic link in a path after which `..` has two meanings. Returns `undefined` if
 * this process can see none.
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
    // The call that uses the path reports what is missing or cannot be seen.
    return undefined;
  }
}
