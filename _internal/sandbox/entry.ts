/**
 * The program that a module's process runs first. It confines the process, imports the module, and
 * reports one byte through the socket: whether the module has loaded.
 *
 * - The specifier of the module is computed. Only then does Deno check every file of its graph
 *   against `--allow-read`: a static import with a literal specifier may read any file (`with {
 *   type: "text" }`).
 * - The report runs when the whole graph has loaded, and before the module. If loading fails, the
 *   message of the error follows the byte.
 */

/** The first byte of a module that has loaded. */
export const LOADED = 1;
/** The first byte of one that could not be loaded. The message follows. */
export const FAILED = 0;

/** Returns a `data:` URL of JavaScript. */
function script(text: string): string {
  return `data:text/javascript,${encodeURIComponent(text)}`;
}

/**
 * Returns the entry as a URL.
 *
 * The report is imported beside the module, in the same graph. An import map could replace any
 * import that it can name: the report's name is random, and `node:fs` is not imported.
 *
 * @param confinement The text of the program that confines the process.
 */
export function entry(confinement: string): string {
  const report = script(`globalThis[Symbol.for("uds.loaded")]();//${crypto.randomUUID()}`);
  return script(`
const fs = globalThis.process.getBuiltinModule("node:fs");
const [module, ...args] = Deno.args;
Object.defineProperty(Deno, "args", { value: Object.freeze(args) });
globalThis.process.argv.splice(1, 1);
let loaded = false;
const key = Symbol.for("uds.loaded");
globalThis[key] = () => {
  loaded = true;
  delete globalThis[key];
  fs.writeSync(3, new Uint8Array([${LOADED}]));
};
const both = ${JSON.stringify(report)};
try {
  ${confinement}
  await import("data:text/javascript," + encodeURIComponent(
    "import " + JSON.stringify(both) + "; import " + JSON.stringify(module) + ";"
  ));
} catch (error) {
  if (loaded) throw error;
  const text = new TextEncoder().encode(String(error?.message ?? error));
  fs.writeSync(3, new Uint8Array([${FAILED}, ...text.subarray(0, 60000)]));
  Deno.exit(1);
}
`);
}
