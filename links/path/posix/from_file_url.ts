/** `fromFileUrl` of `@std/path/posix`, from its npm re-pack. @module */

// @ts-types="../types.d.ts"
export { fromFileUrl } from "deno-std/path/posix/from_file_url.js";
