/** The object to send. Its JSON with a line feed has 100 bytes. */

const NAME = "a record such as a log might have";

/** @param {number} i */
export function recordOf(i) {
  return { id: 1_000_000 + i % 1_000_000, name: NAME, tags: ["x", "y"], ok: true, at: 1234567.5 };
}
