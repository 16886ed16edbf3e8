/** The process's umask during one synchronous call. */

import { isGranted } from "../base/deno_permissions.ts";

/** The bits of a umask that apply to others than the owner of a file. */
const GROUP_AND_OTHERS = 0o077;

/**
 * Calls a function under a narrower umask, if this process may set it. The umask belongs to the
 * whole process, and Deno creates files on other threads too. So the call is synchronous, and the
 * owner keeps all bits: another thread must be able to enter a directory that it creates in that
 * instant.
 *
 * @param mask The bits to take from the group and from others.
 * @param exactly Whether to take no others, even if the umask does.
 * @param call The function.
 */
export function withUmask<T>(mask: number, exactly: boolean, call: () => T): T {
  if (!isGranted("sys", "umask")) return call();
  // Deno reads the umask by setting it to 0 for an instant. This sets it to the narrowest one.
  const before = Deno.umask(GROUP_AND_OTHERS);
  const wanted = mask | (exactly ? before & ~GROUP_AND_OTHERS : before);
  if (wanted !== GROUP_AND_OTHERS) Deno.umask(wanted);
  try {
    return call();
  } finally {
    Deno.umask(before);
  }
}
