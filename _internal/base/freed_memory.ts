/**
 * Keeps freed memory in the process, for streams whose chunks are used once.
 *
 * - V8 frees many megabytes of chunks at once. By default glibc then returns them to the kernel,
 *   and each page of the next chunks costs a page fault.
 * - After a block that was mapped by itself has been freed, glibc keeps up to twice its size at the
 *   end of the heap: the dynamic threshold of `mallopt(3)`. Other allocators are not affected.
 */

/** Half of what is kept. With 8 MiB, memory was still returned. */
const BLOCK_BYTES = 16 * 1024 * 1024;

let isKept = false;

/** Makes glibc keep up to 32 MiB of freed memory. Only the first call does anything. */
export function keepFreedMemory(): void {
  if (isKept) return;
  isKept = true;
  // Frees the block at once. None of its pages was touched.
  new ArrayBuffer(BLOCK_BYTES).transfer(0);
}
