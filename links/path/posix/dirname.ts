/** `dirname` of `@std/path/posix`, from its npm re-pack. @module */

// @ts-types="../types.d.ts"
export { dirname } from "deno-std/path/posix/dirname.js";
