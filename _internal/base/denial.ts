/** The reasons for which the system denies access: a mode, or a security policy. */

import { isGranted } from "./deno_permissions.ts";

/** The state of an access that mode and owner would allow. */
export const POLICY: string =
  "a security policy denies it (such as SELinux, AppArmor or Landlock, or a " +
  "capability that root was deprived of). Ask the administrator of this system";

/** The permission bit with which a process may connect to a socket. */
export const TO_CONNECT: number = 0o2;
/** The permission bits with which a process may make a file in a directory. */
export const TO_MAKE_A_FILE: number = 0o3;

/**
 * Reports whether the mode and the owner of a file allow this process to use it. If the process has
 * no permission to know its user or its group, the bits of all three classes count.
 *
 * @param info The file.
 * @param bits The permission bits that one class of users needs.
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
