/** The Deno permissions that starting a child takes. */

/**
 * Returns the permissions for `pair()`.
 *
 * @param command A program, or the URL of a module.
 * @param clearEnv Whether the child gets none of this process's environment.
 */
export function pairPermissions(
  command: string | URL,
  clearEnv: boolean = command instanceof URL,
): Deno.PermissionOptionsObject {
  return {
    run: [command instanceof URL ? Deno.execPath() : command],
    // node:child_process reads this variable whatever environment it is given.
    env: clearEnv ? ["NODE_V8_COVERAGE"] : true,
  };
}
