/** `join` of `@std/path/posix`, from its npm re-pack. @module */

// @ts-types="../types.d.ts"
export { join } from "deno-std/path/posix/join.js";
