/** The part of `@std/assert` that this project uses, from its npm re-pack. @module */

// @ts-types="./types.d.ts"
export { assert } from "deno-std/assert/assert.js";
// @ts-types="./types.d.ts"
export { assertEquals } from "deno-std/assert/equals.js";
// @ts-types="./types.d.ts"
export { assertInstanceOf } from "deno-std/assert/instance_of.js";
// @ts-types="./types.d.ts"
export { assertMatch } from "deno-std/assert/match.js";
// @ts-types="./types.d.ts"
export { assertRejects } from "deno-std/assert/rejects.js";
// @ts-types="./types.d.ts"
export { assertStrictEquals } from "deno-std/assert/strict_equals.js";
// @ts-types="./types.d.ts"
export { assertStringIncludes } from "deno-std/assert/string_includes.js";
// @ts-types="./types.d.ts"
export { assertThrows } from "deno-std/assert/throws.js";
// @ts-types="./types.d.ts"
export { fail } from "deno-std/assert/fail.js";
