/**
 * Keeps freed memory in a process that reads much.
 *
 * - V8 frees many megabytes of buffers at once. By default glibc then returns them to the kernel,
 *   and each page of the next buffers costs a page fault.
 * - After a block that was mapped by itself has been freed, glibc keeps up to twice its size at the
 *   end of the heap (M_TRIM_THRESHOLD of mallopt(3)). Other allocators are not affected.
 */

/** How much is allocated before freed memory is kept: a program may need it once only. */
const MUCH_BYTES = 32 * 1024 * 1024;
/** The most that glibc takes, 32 MiB, less what it adds. With 8 MiB, memory was still returned. */
const BLOCK_BYTES = 32 * 1024 * 1024 - 8192;

let allocated = 0;

/** Counts memory that is allocated again and again. After 32 MiB freed memory is kept. */
export function countAllocated(size: number): void {
  if (allocated >= MUCH_BYTES) return;
  allocated += size;
  if (allocated < MUCH_BYTES) return;
  try {
    // This block is freed at once, and none of its pages was touched.
    new ArrayBuffer(BLOCK_BYTES).transfer(0);
  } catch {
    // Where memory is limited (ulimit -v), it goes back to the kernel.
  }
}
