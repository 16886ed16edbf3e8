/** Why the system denies something: a mode that does not allow it, or a policy beside the modes. */

import { isGranted } from "./deno_permissions.ts";

/** What stands in the way where mode and owner do not. */
export const POLICY: string =
  "a security policy denies it (such as SELinux, AppArmor or Landlock, or a " +
  "capability that root was deprived of). Ask who manages this system";

/** The permission bit with which a process may connect to a socket. */
export const TO_CONNECT: number = 0o2;
/** The permission bits with which a process may make a file in a directory. */
export const TO_MAKE_A_FILE: number = 0o3;

/**
 * Reports whether the mode and the owner of a file would let this process use it. Where the process may
 * not know its user, or might be in the file's group, it takes bits that everyone has.
 *
 * @param info The file.
 * @param bits The permission bits of one class of users that the use takes.
 */
export function modeAllows({ mode, uid, gid }: Deno.FileInfo, bits: number): boolean {
  const [owner, group, others] = [6, 3, 0].map((shift) => ((mode ?? 0) >> shift & bits) === bits);
  if (isGranted("sys", "uid")) {
    const own = Deno.uid();
    if (own === uid) return owner === true;
    if (own === 0) return true;
    if (isGranted("sys", "gid") && Deno.gid() === gid) return group === true;
    return group === true && others === true;
  }
  return owner === true && group === true && others === true;
}
