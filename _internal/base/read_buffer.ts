/** Memory to read into. */

/** The kernel's memory pages. */
const PAGE = 4096;
/** How much memory is allocated before freed memory is kept: a program may need it once only. */
const MUCH_BYTES = 32 * 1024 * 1024;
/** The most that glibc takes, 32 MiB, less its own bytes and those of a page. */
const KEPT_BYTES = 32 * 1024 * 1024 - 2 * PAGE;

let allocated = 0;

/**
 * Returns a buffer to read into, which starts in the middle of a memory page.
 *
 * The kernel's socket buffers start at page boundaries, and so do large typed arrays. On common
 * processors a copy of 16 KiB or more between equal offsets within a page is up to four times
 * slower (4 KiB aliasing of `rep movsb`).
 */
export function readBuffer(size: number): Uint8Array<ArrayBuffer> {
  countAllocated(size);
  return new Uint8Array(new ArrayBuffer(size + PAGE), PAGE / 2, size);
}

/**
 * Counts memory that is allocated again and again. From 32 MiB on, the process keeps what it frees.
 *
 * glibc returns freed memory to the kernel, and a new page of it costs more than what is read into
 * it. It keeps twice the largest block that was freed, see M_TRIM_THRESHOLD of mallopt(3).
 */
export function countAllocated(size: number): void {
  if (allocated >= MUCH_BYTES) return;
  allocated += size;
  // This block is freed at once, and never touched.
  if (allocated >= MUCH_BYTES) new ArrayBuffer(KEPT_BYTES).transfer(0);
}
