/** The length of a socket path, which the system limits. */

import { quoteAddress } from "./shown_address.ts";

/**
 * `sun_path` has 108 bytes on Linux and 104 on macOS and the BSDs, one of them for the final NUL.
 */
const MAX_PATH_BYTES = Deno.build.os === "linux" || Deno.build.os === "android" ? 107 : 103;

/**
 * Returns the path; throws `RangeError` if it has too many bytes.
 *
 * @param path An absolute path, or an abstract name.
 * @param remedy What helps, for the error.
 */
export function checkPathLength(
  path: string,
  remedy: string = "Choose a shorter directory, such as $XDG_RUNTIME_DIR",
): string {
  // An abstract name has no final NUL, but a first one: the limit is the same for what follows it.
  const bytes = new TextEncoder().encode(path).length;
  const limit = path.startsWith("\0") ? MAX_PATH_BYTES + 1 : MAX_PATH_BYTES;
  if (bytes > limit) {
    const how = path.startsWith("\0")
      ? `, and the system allows at most ${limit}. Choose a shorter name`
      : ` when absolute, and the system allows at most ${limit}. ${remedy}`;
    throw new RangeError(
      `Invalid socket path ${quoteAddress(path)}: it has ${bytes} bytes${how}`,
    );
  }
  return path;
}
