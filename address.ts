/**
 * Addresses of Unix domain sockets: paths and abstract names.
 *
 * - A path becomes absolute at once, so a later `Deno.chdir` changes nothing.
 * - What the kernel or Deno would misread is refused first. Without a path, `Deno.listen` binds a
 *   file called `undefined` in the working directory. With an empty one it binds an abstract name.
 *
 * @module
 */

import { ErrorContext } from "./_internal/base/error_context.ts";
import { show } from "./_internal/base/check.ts";
import { ambiguityOf } from "./_internal/base/parent_link.ts";
import { absolutePath, pathOfUrl } from "./_internal/base/path.ts";
import { checkPathLength } from "./_internal/base/path_length.ts";

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
 */
export type SocketPath = string | URL;

/** One end of a Unix domain socket connection. */
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
 */
export function resolveSocketPath(path: SocketPath): string {
  if (path instanceof URL) return checkPathLength(fromUrl(path));
  if (typeof path !== "string") {
    throw new TypeError(`Invalid socket path: expected a string or a file: URL, got ${show(path)}`);
  }
  if (path === "") {
    throw new TypeError(
      "Invalid socket path: it is empty. Pass the path of a file, such as /run/app.sock",
    );
  }
  if (!path.isWellFormed()) {
    throw invalid(path, "it contains a lone surrogate, which UTF-8 cannot hold");
  }
  if (path.startsWith("\0")) return checkAbstractName(path);
  if (/^(file:|unix:|[a-z][a-z0-9+.-]*:\/\/)/i.test(path)) {
    throw invalid(path, "it is a URL in a string. Pass a path, or new URL(…) of a file: URL");
  }
  checkFileName(path);
  try {
    requireOneMeaning(path);
    return checkPathLength(absolutePath(path));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const state = "it is relative, and the working directory does not exist any more";
    throw new ErrorContext("resolve", path).fail(error, state);
  }
}

function invalid(path: string, state: string): TypeError {
  return new TypeError(`Invalid socket path ${show(path)}: ${state}`);
}

/** Throws if the system and Deno's permissions would take the path for different files. */
function requireOneMeaning(path: string): void {
  const found = ambiguityOf(path);
  if (found === undefined) return;
  const [link, parent, lexical] = [found.link, found.parent, found.lexical].map(show);
  throw invalid(
    path,
    `${link} is a symbolic link, and behind it ".." leads to ${parent} for the system and to ` +
      `${lexical} for Deno's permissions. Write the path without ".."`,
  );
}

/** Returns the path of a `file:` URL. */
function fromUrl(url: URL): string {
  const { protocol, host, search, hash, href } = url;
  if (protocol !== "file:") throw invalid(href, "expected a file: URL");
  if (host + search + hash !== "") {
    throw invalid(
      href,
      `a file: URL with a host, a query or a hash names no socket. Escape "?" and "#" in a path ` +
        `as %3F and %23`,
    );
  }
  let path;
  try {
    path = pathOfUrl(url);
  } catch {
    throw invalid(href, "its percent escapes are not those of UTF-8");
  }
  checkFileName(path);
  return absolutePath(path);
}

function checkFileName(path: string): void {
  if (path.includes("\0")) {
    throw invalid(
      path,
      "it contains a NUL. Only an abstract name has one, as its first character",
    );
  }
  if (path.endsWith("/")) throw invalid(path, `it ends with "/". Name a file in that directory`);
}

function checkAbstractName(name: string): string {
  if (Deno.build.os !== "linux" && Deno.build.os !== "android") {
    throw invalid(name, "abstract names exist on Linux only. Pass a path");
  }
  if (name.length === 1) throw invalid(name, "the abstract name is empty");
  return checkPathLength(name);
}
