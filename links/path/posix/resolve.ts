/** `resolve` of `@std/path/posix`, from its npm re-pack. @module */

// @ts-types="../types.d.ts"
export { resolve } from "deno-std/path/posix/resolve.js";
