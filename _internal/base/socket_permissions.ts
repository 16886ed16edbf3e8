/** The Deno permissions that an operation on a socket needs. */

import { ALL_PERMISSIONS } from "./deno_permissions.ts";
import { directoriesAbove } from "./directory_steps.ts";
import { directoryOf } from "./path.ts";

/** The options of an operation that change what it needs. */
interface Use {
  mode?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  publish?: "direct" | "rename" | undefined;
  createDirectory?: boolean | undefined;
  verifyDirectory?: boolean | undefined;
  connect?: boolean | undefined;
}

/** Below these, Deno requires every permission (`check_special_file`). */
const SPECIAL_DIRECTORIES = ["/dev/", "/proc/", "/sys/"];

/**
 * Returns the least set of permissions with which an operation works.
 *
 * @param operation An operation on a socket.
 * @param path An absolute path, or an abstract name.
 * @param options The options of that operation that matter here.
 */
export function socketPermissions(
  operation: "connect" | "serve" | "claim" | "probe",
  path: string,
  options: Use,
): Deno.PermissionOptionsObject {
  if (path.startsWith("\0")) return { net: true };
  if (SPECIAL_DIRECTORIES.some((directory) => path.startsWith(directory))) {
    return { ...ALL_PERMISSIONS };
  }
  const lock = `${path}.lock`;
  const read = [path];
  const write = [path];
  const net = [`unix:${path}`];
  if (operation !== "connect") read.push(lock);
  if (operation === "probe" && options.connect === false) return { read };
  if (operation === "connect" || operation === "probe") return { read, write, net };
  write.push(lock);
  if (options.publish === "rename") {
    for (const list of [read, write]) list.push(`${path}.new`, `${lock}.new`);
    net.push(`unix:${path}.new`);
    if (operation === "claim") {
      for (const list of [read, write]) list.push(`${path}.old`);
      net.push(`unix:${path}.old`);
    }
  }
  const { verifyDirectory, mode, uid, gid } = options;
  if (verifyDirectory || (mode ?? uid ?? gid) !== undefined) read.push(...directoriesAbove(path));
  if (options.createDirectory) write.push(directoryOf(path));
  return { read, write, net };
}
