/**
 * A `Deno.FsFile` over a descriptor, which Deno's own API cannot make.
 *
 * - Deno opens another file, the placeholder. `dup3` then puts the descriptor in its place.
 * - The placeholder gets the lowest number that is free. Another thread may be faster, so what is
 *   there is compared with what Deno says of its file.
 */

import type { ErrorContext } from "../base/error_context.ts";
import { F_SETFD, FD_CLOEXEC, IS_MAC, O_CLOEXEC } from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { fixedMemory } from "../libc/memory.ts";

/** A file that every system has, and that nothing can be read from. */
const PLACEHOLDER = "/dev/null";
const MAX_TRIES = 10;

/** More than `sizeof (struct stat)`, which begins with `st_dev` and has `st_ino` at 8. */
const STAT_BYTES = 256;
const INODE_OFFSET = 8;

/** Returns a file that has the same open file as the descriptor, which stays open. */
export function fileOver(context: ErrorContext<null>, libc: Libc, fd: number): Deno.FsFile {
  context.require({ read: [PLACEHOLDER] });
  const { fstat } = libc;
  if (fstat === null) {
    throw context.error(Deno.errors.NotSupported, "this libc has no fstat. Update it");
  }
  for (let i = 0; i < MAX_TRIES; i++) {
    const place = libc.dup(fd);
    if (place < 0) throw context.fail(lastFailure(libc));
    libc.close(place);
    const file = Deno.openSync(PLACEHOLDER);
    try {
      if (!isAt(fstat, file, place)) continue;
      replace(libc, fd, place);
      return file;
    } catch (error) {
      file.close();
      throw context.fail(error);
    }
  }
  const state = "other threads open files all the time, so Deno's could not be found among theirs";
  throw context.error(Deno.errors.Busy, state);
}

/** Reports whether the file that Deno has opened is at a number. */
function isAt(fstat: NonNullable<Libc["fstat"]>, file: Deno.FsFile, fd: number): boolean {
  const { dev, ino } = file.statSync();
  const stat = fixedMemory(STAT_BYTES);
  if (fstat(fd, stat) < 0) return false;
  const view = new DataView(stat.buffer);
  const device = IS_MAC ? view.getInt32(0, true) : Number(view.getBigUint64(0, true));
  return device === dev && Number(view.getBigUint64(INODE_OFFSET, true)) === ino;
}

/** Puts a descriptor in the place of another one. */
function replace(libc: Libc, fd: number, place: number): void {
  const done = libc.dup3?.(fd, place, O_CLOEXEC) ?? libc.dup2(fd, place);
  if (done < 0) throw lastFailure(libc);
  if (libc.dup3 === null) libc.fcntl(place, F_SETFD, FD_CLOEXEC);
}
