/**
 * Shared code of the parents of a pair, in Deno and in Node: the task, the passes, the report.
 *
 * - A parent is started as `parent WHAT PATH SIZE WARM COUNT`, its child as `child WHAT - SIZE WARM
 *   COUNT`. WHAT is `start` (to the first byte back), `trip`, `down` (child to parent) or `up`.
 * - For `down` 8 bytes of the parent start each pass. For `up` the child answers each pass with 8
 *   bytes.
 */

const argv = globalThis.Deno?.args ?? process.argv.slice(2);
const [role, what, , ...numbers] = argv;
const [size, warm, count] = numbers.map(Number);

/** The task of this program. */
export const TASK = { role, what, size, warm, count };

/** The items of the warm-up pass and of the timed pass. */
export const PASSES = [warm, count];

/** How many bytes start or answer a pass. */
export const SIGNAL_SIZE = 8;

/** The arguments of the child. */
export const CHILD_ARGS = ["child", what, "-", ...numbers];

/**
 * @typedef {object} Transfers
 * @property {() => Promise<number>} trip Sends an item, returns the bytes that come back.
 * @property {(total: number) => Promise<number>} down Starts a pass, returns the bytes it reads.
 * @property {(items: number) => Promise<number>} up Sends items, returns the bytes of the answer.
 */

/** @typedef {Transfers & { end: () => Promise<unknown> }} Parent `end` ends the child. */

/**
 * Runs the task and reports the result.
 *
 * @param {() => Parent | Promise<Parent>} open
 */
export async function drive(open) {
  const counted = { items: 0, bytes: 0 };
  let seconds = 0;
  let parent = what === "start" ? undefined : await open();
  for (const items of PASSES) {
    const begin = performance.now();
    if (what === "down") {
      counted.bytes += await parent.down(items * size);
    } else if (what === "up") {
      counted.bytes += await parent.up(items);
    } else {
      for (let i = 0; i < items; i++) {
        if (what === "start") parent = await open();
        counted.bytes += await parent.trip();
        if (what === "start" && i < items - 1) await parent.end();
      }
    }
    seconds = (performance.now() - begin) / 1000;
    if (what === "start") await parent.end();
  }
  if (what !== "start") await parent.end();
  counted.items = counted.bytes / size;
  console.log(JSON.stringify({ ...counted, seconds }));
}
