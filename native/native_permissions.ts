/** The permission that the native functions need. */

import { checked } from "../_internal/base/caller_stack.ts";
import { checkArguments } from "../_internal/base/check.ts";
import { libcPath } from "../_internal/libc/library.ts";

/**
 * Returns the Deno permission that the functions of `@uds/uds/native` need, besides those of the
 * core for a path: to call libc.
 *
 * - It means full trust in this program: code that may call libc may do everything that the user
 *   may. A child in a sandbox never gets it.
 * - Deno compares the text of the path, so the flag must have exactly this one.
 * - The path is where libc is, if this process may read it. Otherwise it is the usual one. If libc
 *   is elsewhere, as on NixOS, an unscoped `--allow-ffi` is needed.
 *
 * @returns The permission. `permissionFlags()` turns it into a flag.
 *
 * @example Usage
 * ```ts
 * import { permissionFlags, permissions } from "@uds/uds";
 * import { nativePermissions } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const set = { ...permissions("connect", "/run/app.sock"), ...nativePermissions() };
 * assertEquals(permissionFlags(set)[3], `--allow-ffi=${nativePermissions().ffi}`);
 * ```
 *
 * @category Permissions
 */
export function nativePermissions(): { ffi: [path: string] } {
  checked(nativePermissions, () => {
    checkArguments("nativePermissions", arguments, 0, "nativePermissions()");
  });
  return { ffi: [libcPath()] };
}
