/** `basename` of `@std/path/posix`, from its npm re-pack. @module */

// @ts-types="../types.d.ts"
export { basename } from "deno-std/path/posix/basename.js";
