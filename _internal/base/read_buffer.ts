/** Memory to read into. */

import { countAllocated } from "./freed_memory.ts";

/** The kernel's memory pages. */
const PAGE = 4096;

/**
 * How much a socket of Linux takes at once by default (`net.core.wmem_default`). More needs a
 * second write, with its own turn of the event loop.
 */
export const SOCKET_BYTES: number = 208 * 1024;

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
