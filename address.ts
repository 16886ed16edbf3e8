/**
 * Addresses of Unix domain sockets: paths and abstract names.
 *
 * - A path becomes absolute at once, so a later `Deno.chdir` changes nothing.
 * - What the kernel or Deno would misread is refused first. Without a path, `Deno.listen` binds a
 *   file called `undefined` in the working directory. With an empty one it binds an abstract name.
 *
 * @module
 */

import { checked } from "./_internal/base/caller_stack.ts";
import { absoluteSocketPath } from "./_internal/base/socket_path.ts";

/**
 * The address of a socket.
 *
 * - A string is a path in the file system. A relative one starts at the working directory.
 * - A `URL` must be a `file:` URL without a host, query or hash.
 * - A string that starts with a NUL, `"\0name"`, is an abstract name (Linux only). It has no file
 *   and therefore no permissions: every process in the network namespace can connect. The command
 *   line writes it `@name`. All of its characters count, including NULs. A program that pads its
 *   name with NULs to the full 108 bytes, as HAProxy does, is reached at the padded name only.
 * - Deno names sockets in UTF-8. Names with other bytes are not supported.
 *
 * @category Paths
 */
export type SocketPath = string | URL;

/**
 * One end of a Unix domain socket connection.
 *
 * @category Paths
 */
export interface UnixAddr {
  /** Always `"unix"`. */
  readonly transport: "unix";
  /** The absolute path, `"\0name"` for an abstract name, or `null` if the end has no name. */
  readonly path: string | null;
}

/**
 * Checks the address of a socket and makes it absolute.
 *
 * - At most 107 bytes on Linux, 103 on macOS: bytes of UTF-8, not characters.
 * - Refused: an empty path, a NUL inside a path, a final `/`, a URL with host, query or hash, a URL
 *   that was passed as a string (`"file:///…"`, `"unix:///…"`), and a lone surrogate, which UTF-8
 *   cannot hold.
 * - Symbolic links are not resolved. But if `..` follows a symbolic link to another directory, the
 *   system and Deno's permissions disagree on where it leads. Such a path is refused if this
 *   process may read there.
 *
 * @param path The address.
 * @returns The absolute path, or the abstract name unchanged.
 * @throws {TypeError} when the address is not valid, or this system has no abstract names.
 * @throws {RangeError} when the address is too long.
 * @throws {Deno.errors.NotFound} when it is relative, and the working directory does not exist any
 * more.
 *
 * @example Usage
 * ```ts
 * import { resolveSocketPath } from "@uds/uds";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(resolveSocketPath("/run/app/../app.sock"), "/run/app.sock");
 * assertThrows(() => resolveSocketPath(""), TypeError, "empty");
 * assertThrows(() => resolveSocketPath("/" + "é".repeat(60)), RangeError, "121 bytes");
 * ```
 *
 * @category Paths
 */
export function resolveSocketPath(path: SocketPath): string {
  return checked(resolveSocketPath, () => absoluteSocketPath(path));
}
