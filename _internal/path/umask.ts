/** The process's umask, around one synchronous call. */

import { isGranted } from "../base/deno_permissions.ts";

/** The bits of a umask that concern others than the owner of a file. */
const GROUP_AND_OTHERS = 0o077;

/**
 * Takes bits away from what is created next, where this process may; returns the function that restores
 * them. The umask belongs to the whole process, and Deno creates files on other threads too: therefore
 * only for a synchronous call, and never the owner's bits, without which a directory that another thread
 * makes in that instant could not be entered.
 *
 * @param mask The bits to take from the group and from others.
 * @param exactly Whether to take no others from them, also where the umask does: what another thread
 * creates in that instant is then as open as the socket.
 */
export function narrowUmask(mask: number, exactly = false): () => void {
  if (!isGranted("sys", "umask")) return () => {};
  // Deno reads the umask by setting it to 0 for an instant; this sets it to what lets nobody in.
  const before = Deno.umask(GROUP_AND_OTHERS);
  const wanted = mask | (exactly ? before & ~GROUP_AND_OTHERS : before);
  if (wanted !== GROUP_AND_OTHERS) Deno.umask(wanted);
  return () => void Deno.umask(before);
}
