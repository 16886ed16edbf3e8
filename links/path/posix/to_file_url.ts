/** `toFileUrl` of `@std/path/posix`, from its npm re-pack. @module */

// @ts-types="../types.d.ts"
export { toFileUrl } from "deno-std/path/posix/to_file_url.js";
