/** The part of `@std/path` that this project uses, from its npm re-pack. @module */

// @ts-types="./types.d.ts"
export { basename } from "deno-std/path/basename.js";
// @ts-types="./types.d.ts"
export { dirname } from "deno-std/path/dirname.js";
// @ts-types="./types.d.ts"
export { fromFileUrl } from "deno-std/path/from_file_url.js";
// @ts-types="./types.d.ts"
export { join } from "deno-std/path/join.js";
// @ts-types="./types.d.ts"
export { resolve } from "deno-std/path/resolve.js";
// @ts-types="./types.d.ts"
export { toFileUrl } from "deno-std/path/to_file_url.js";
