/** The names of a socket: `struct sockaddr_un` of unix(7), sys/un.h on macOS. */

import { AF_UNIX, IS_MAC } from "./constants.ts";
import { SOCKADDR_UN } from "./layouts.ts";
import type { Libc } from "./library.ts";
import { fixedMemory } from "./memory.ts";

const NAME_BYTES = SOCKADDR_UN.bytes;
const { sun_family: FAMILY, sun_path: PATH } = SOCKADDR_UN;

const name = fixedMemory(NAME_BYTES);
const length = new Uint32Array(new ArrayBuffer(4));
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Returns the name of this end; `""` without one, `undefined` if it is not a Unix socket, or its
 * name is not UTF-8.
 */
export function ownName(libc: Libc, fd: number): string | undefined {
  length[0] = NAME_BYTES;
  return libc.getsockname(fd, name, length) === 0 ? decode() : undefined;
}

/** Returns the name of the other end, as {@linkcode ownName} does. */
export function peerName(libc: Libc, fd: number): string | undefined {
  length[0] = NAME_BYTES;
  return libc.getpeername(fd, name, length) === 0 ? decode() : undefined;
}

/** Returns the name that the last call wrote, or that another function wrote in the same layout. */
function decode(): string | undefined {
  return decodeName(name, length[0]!);
}

/** Returns the path in a `struct sockaddr_un`: `"\0name"` for an abstract name. */
export function decodeName(address: Uint8Array, bytes: number): string | undefined {
  if (bytes < PATH) return "";
  if (address[FAMILY] !== AF_UNIX) return undefined;
  let end = Math.min(bytes, address.length);
  // The kernel counts the zero byte at the end of a path. An abstract name has none.
  if (address[PATH] !== 0) { while (end > PATH && address[end - 1] === 0) end--; }
  try {
    return decoder.decode(address.subarray(PATH, end));
  } catch {
    // A replacement character would make it the name of another file.
    return undefined;
  }
}

/** Returns the `struct sockaddr_un` of a path, or of an abstract name that begins with `"\0"`. */
export function encodeName(path: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(path);
  const size = PATH + bytes.length + (bytes[0] === 0 ? 0 : 1);
  const address = fixedMemory(size);
  address[FAMILY] = AF_UNIX;
  if (IS_MAC) address[0] = size;
  address.set(bytes, PATH);
  return address;
}
