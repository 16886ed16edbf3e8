/** JSON texts, and which part of a value has none. */

import { isGenerator, show } from "../base/check.ts";

/** A kind of values without JSON, and what to do with one. */
type Kind = readonly [name: string, is: (value: unknown) => boolean, remedy: string];

const WITHOUT_JSON: readonly Kind[] = [
  [
    "BigInt",
    (value) => typeof value === "bigint" || value instanceof BigInt,
    "Make it a number or a string",
  ],
  ["promise", (value) => value instanceof Promise, "Await it first"],
  ["generator", isGenerator, "Make an array of its values"],
];

/**
 * Returns the JSON of a value.
 *
 * @param root Where the value is in its message, such as `.params`; an empty string for the whole.
 */
export function jsonText(value: unknown, root = ""): string {
  const text = jsonTextOrNone(value, root);
  if (text !== undefined) return text;
  const state = `${show(value)} has no JSON. Use null, or leave it out`;
  throw new TypeError(`Cannot encode a message: ${state}`);
}

/** Returns the JSON of a value, or `undefined` for one without, such as a function. */
export function jsonTextOrNone(value: unknown, root = ""): string | undefined {
  let text: string | undefined;
  let thrown: { cause: unknown } | undefined;
  try {
    text = JSON.stringify(value);
    // "{}" may stand for a promise or a generator, which `JSON.stringify()` takes for empty.
    if (!text?.includes("{}") || !mayHoldOneWithout(value)) return text;
  } catch (cause) {
    thrown = { cause };
  }
  const state = faultIn(value, root);
  if (state !== undefined) throw new TypeError(`Cannot encode a message: ${state}`, thrown);
  // What a `toJSON()` or a getter throws stays unchanged.
  if (thrown !== undefined) throw thrown.cause;
  return text;
}

/**
 * Reports whether a value, which has no circular references, may have a part without JSON. It takes
 * a third of the time of the walk that finds the part.
 */
function mayHoldOneWithout(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  for (const [, is] of WITHOUT_JSON) if (is(value)) return true;
  if ("toJSON" in value) return true;
  for (const part of Object.values(value)) if (mayHoldOneWithout(part)) return true;
  return false;
}

/** A value inside which the walk is, and the path to it. */
interface Step {
  readonly value: unknown;
  readonly path: string;
}

/** Describes the part that JSON cannot hold. Returns `undefined` if it can hold all. */
function faultIn(message: unknown, root: string): string | undefined {
  const steps: Step[] = [];
  let fault: string | undefined;
  const visit = function (this: unknown, key: string, value: unknown): unknown {
    while (steps.length > 0 && steps.at(-1)!.value !== this) steps.pop();
    const parent = steps.at(-1);
    const path = parent === undefined ? root : parent.path + stepTo(key, parent.value);
    const known = steps.find((step) => step.value === value);
    const kind = WITHOUT_JSON.find(([, is]) => is(value));
    if (kind !== undefined) {
      const [name, , remedy] = kind;
      const which = path === "" ? `a ${name}` : `the ${name} at ${path}`;
      fault = `${which} has no JSON. ${remedy}`;
    } else if (typeof value === "object" && value !== null && known !== undefined) {
      const where = known.path === "" ? "the whole message" : known.path;
      fault = `${path} is a circular reference to ${where}. Leave it out`;
    } else {
      steps.push({ value, path });
      return value;
    }
    // This ends the walk: the error is not used.
    throw new TypeError(fault);
  };
  try {
    JSON.stringify(message, visit);
  } catch {
    return fault;
  }
  return undefined;
}

/** Returns a key as it is written after an object: `.name`, `[0]` or `["a b"]`. */
function stepTo(key: string, parent: unknown): string {
  if (Array.isArray(parent)) return `[${key}]`;
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${show(key)}]`;
}
