/**
 * Sockets at paths that are longer than the system's limit.
 *
 * The directory of the path is opened, and the socket is reached through the descriptor, by a short
 * name: `/proc/self/fd/N/name`. Deno does not check what libc does with a path, so the permissions
 * that its own call would need are required here.
 */

import type { ErrorContext } from "../base/error_context.ts";
import { absolutePath, directoryOf, faultOfUrl, pathOfUrl } from "../base/path.ts";
import { show, showPath } from "../base/check.ts";
import { socketPermissions } from "../base/socket_permissions.ts";
import {
  AF_UNIX,
  IS_MAC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SUN_PATH_BYTES,
} from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { encodeName } from "../libc/socket_name.ts";

/** What is left for the name of the file, after `/proc/self/fd/` and a number of up to 7 digits. */
const MAX_NAME_BYTES: number = SUN_PATH_BYTES - 1 - "/proc/self/fd/1048576/".length;

/** Returns an absolute path, of any length. */
export function resolveLongPath(path: string | URL): string {
  const fault = path instanceof URL ? faultOfUrl(path) : undefined;
  if (fault !== undefined) throw new TypeError(`Invalid socket path ${showPath(path)}: ${fault}`);
  const text = path instanceof URL ? pathOfUrl(path) : path;
  if (typeof text !== "string" || !/^[^\0]*[^\0/]$/.test(text) || !text.isWellFormed()) {
    throw new TypeError(`Invalid socket path: expected the path of a file, got ${show(path)}`);
  }
  const absolute = absolutePath(text);
  const name = absolute.slice(absolute.lastIndexOf("/") + 1);
  const bytes = new TextEncoder().encode(name).length;
  if (bytes <= MAX_NAME_BYTES) return absolute;
  throw new RangeError(
    `Invalid socket path ${
      showPath(absolute)
    }: the name of its file has ${bytes} bytes, and at most ` +
      `${MAX_NAME_BYTES} can be reached through its directory`,
  );
}

/**
 * Opens a stream socket, and binds or connects it.
 *
 * @param call The function of libc.
 * @param prepare Called with the socket before that.
 * @returns The descriptor, which does not block.
 */
export function openAt(
  libc: Libc,
  context: ErrorContext,
  call: "bind" | "connect",
  prepare?: (fd: number) => void,
): number {
  if (IS_MAC) {
    throw context.error(Deno.errors.NotSupported, "macOS cannot reach a file by a descriptor");
  }
  context.require(socketPermissions("connect", context.path, {}));
  const directory = libc.open(
    new TextEncoder().encode(`${directoryOf(context.path)}\0`),
    O_PATH | O_DIRECTORY | O_CLOEXEC,
  );
  if (directory < 0) throw lastFailure(libc);
  const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  try {
    if (fd < 0) throw lastFailure(libc);
    prepare?.(fd);
    const name = context.path.slice(context.path.lastIndexOf("/") + 1);
    const address = encodeName(`/proc/self/fd/${directory}/${name}`);
    if (libc[call](fd, address, address.length) < 0) throw lastFailure(libc);
    return fd;
  } catch (error) {
    if (fd >= 0) libc.close(fd);
    throw error;
  } finally {
    libc.close(directory);
  }
}
