/** The process's umask, around one synchronous call. */

import { isGranted } from "./grants.ts";

/**
 * Takes bits away from what is created next, where this process may; gives back the way to restore
 * them. The umask belongs to the whole process, and Deno creates files on other threads too: therefore
 * only for a synchronous call, and never the owner's bits, without which a directory that another thread
 * makes in that instant could not be entered.
 */
export function narrowUmask(mask: number): () => void {
  if (!isGranted("sys", "umask")) return () => {};
  const before = Deno.umask();
  Deno.umask(before | mask);
  return () => void Deno.umask(before);
}
