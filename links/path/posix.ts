/** The part of `@std/path/posix` that this project uses, from its npm re-pack. @module */

// @ts-types="./types.d.ts"
export { basename } from "deno-std/path/posix/basename.js";
// @ts-types="./types.d.ts"
export { dirname } from "deno-std/path/posix/dirname.js";
// @ts-types="./types.d.ts"
export { fromFileUrl } from "deno-std/path/posix/from_file_url.js";
// @ts-types="./types.d.ts"
export { join } from "deno-std/path/posix/join.js";
// @ts-types="./types.d.ts"
export { resolve } from "deno-std/path/posix/resolve.js";
// @ts-types="./types.d.ts"
export { toFileUrl } from "deno-std/path/posix/to_file_url.js";
