/**
 * Buffers to read into.
 *
 * On common processors a copy of 16 KiB or more is slow, by a factor of up to four, when its source
 * and its destination have the same offset within a memory page (4 KiB aliasing of `rep movsb`). The
 * kernel's socket buffers start at page boundaries, and so do large typed arrays: ours start in the
 * middle of a page.
 */
export function readBuffer(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(size + PAGE), PAGE / 2, size);
}

const PAGE = 4096;
