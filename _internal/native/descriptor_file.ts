/**
 * A `Deno.FsFile` over a descriptor, which Deno's own API cannot make.
 *
 * - Deno opens another file, the placeholder. `dup3` then puts the descriptor in its place.
 * - The placeholder gets the lowest number that is free. Other threads open and close files
 *   meanwhile, so all numbers around the lowest free ones are looked at, before and after. It must
 *   be new at exactly one of them.
 * - Threads that do this at once would find each other's placeholders. A lock of libc, which all
 *   threads of the process share, keeps them apart.
 */

import type { ErrorContext } from "../base/error_context.ts";
import { F_DUPFD_CLOEXEC, F_SETFD, FD_CLOEXEC, IS_MAC, O_CLOEXEC } from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { fixedMemory } from "../libc/memory.ts";
import { ProcessLock } from "../libc/process_lock.ts";

/** A file that every system has, and that nothing can be read from. */
const PLACEHOLDER = "/dev/null";
const MAX_TRIES = 10;

/** How many numbers other threads may take or free at the same moment. */
const PLACES = 8;

/** More than `sizeof (struct stat)`, which begins with `st_dev` and has `st_ino` at 8. */
const STAT_BYTES = 256;
const INODE_OFFSET = 8;

const stat = fixedMemory(STAT_BYTES);
const statView = new DataView(stat.buffer);

type Fstat = NonNullable<Libc["fstat"]>;
type Inode = Pick<Deno.FileInfo, "dev" | "ino">;

/** Returns a file that has the same open file as the descriptor, which stays open. */
export function fileOver(context: ErrorContext<null>, libc: Libc, fd: number): Deno.FsFile {
  context.require({ read: [PLACEHOLDER] });
  const { fstat } = libc;
  if (fstat === null) {
    throw context.error(Deno.errors.NotSupported, "this libc has no fstat. Update it");
  }
  for (let i = 0; i < MAX_TRIES; i++) {
    using _lock = ProcessLock.take(context, libc);
    let file: Deno.FsFile | undefined;
    try {
      const inode = Deno.statSync(PLACEHOLDER);
      const places = placesAround(libc, fd).filter((each) => !isAt(fstat, inode, each));
      file = Deno.openSync(PLACEHOLDER);
      const [place, ...others] = places.filter((each) => isAt(fstat, inode, each));
      const isFound = place !== undefined && others.length === 0;
      if (isFound && replace(libc, fstat, file, fd, place)) return file;
    } catch (error) {
      file?.close();
      throw context.fail(error);
    }
    file.close();
  }
  const state = "other threads open files all the time, so Deno's could not be found among theirs";
  throw context.error(Deno.errors.Busy, state);
}

/** Returns the lowest numbers that are free, and all around them. */
function placesAround(libc: Libc, fd: number): number[] {
  const free: number[] = [];
  for (let place = libc.dup(fd); place >= 0; place = libc.dup(fd)) {
    if (free.push(place) === PLACES) break;
  }
  for (const place of free) libc.close(place);
  const first = Math.max(0, (free[0] ?? 0) - PLACES);
  return Array.from({ length: (free.at(-1) ?? -1) + 1 - first }, (_, i) => first + i);
}

function isAt(fstat: Fstat, { dev, ino }: Inode, fd: number): boolean {
  if (fstat(fd, stat) < 0) return false;
  const device = IS_MAC ? statView.getInt32(0, true) : Number(statView.getBigUint64(0, true));
  return device === dev && Number(statView.getBigUint64(INODE_OFFSET, true)) === ino;
}

/**
 * Puts a descriptor in the place of another one. Reports whether the file has it now. If not, the
 * place was another thread's, and has its own file again.
 */
function replace(
  libc: Libc,
  fstat: Fstat,
  file: Deno.FsFile,
  fd: number,
  place: number,
): boolean {
  const before = libc.fcntl(place, F_DUPFD_CLOEXEC, 0);
  if (before < 0) throw lastFailure(libc);
  try {
    put(libc, fd, place);
    if (isAt(fstat, file.statSync(), fd)) return true;
    put(libc, before, place);
    return false;
  } finally {
    libc.close(before);
  }
}

function put(libc: Libc, fd: number, place: number): void {
  const done = libc.dup3?.(fd, place, O_CLOEXEC) ?? libc.dup2(fd, place);
  if (done < 0) throw lastFailure(libc);
  if (libc.dup3 === null) libc.fcntl(place, F_SETFD, FD_CLOEXEC);
}
