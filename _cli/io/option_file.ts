/** A file that an option of a server names. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import { explained } from "../text/failure.ts";

/** Reads the file that an option names. */
export function readOptionFile(file: string): Promise<Uint8Array> {
  const attempt = `Cannot read ${JSON.stringify(file)}`;
  requireGrants(attempt, { read: [file] }, { operation: "serve", path: null });
  return explained(attempt, () => Deno.readFile(file));
}
