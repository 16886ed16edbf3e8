/** The part of `@std/path/posix` that this project uses. @module */

export { basename } from "./posix/basename.ts";
export { dirname } from "./posix/dirname.ts";
export { fromFileUrl } from "./posix/from_file_url.ts";
export { join } from "./posix/join.ts";
export { resolve } from "./posix/resolve.ts";
export { toFileUrl } from "./posix/to_file_url.ts";
