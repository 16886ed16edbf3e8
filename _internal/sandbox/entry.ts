/**
 * The program that a module's process runs first. It confines the process, imports the module, and
 * reports one byte through the socket: whether the module has loaded.
 *
 * - The specifier of the module is computed. Only then does Deno check every file of its graph
 *   against `--allow-read`: a static import with a literal specifier may read any file (`with {
 *   type: "text" }`).
 * - The report runs when the whole graph has loaded, and before the module. If loading fails, the
 *   message of the error follows the byte.
 * - A module with a runtime has loaded when it has run, too: only then can it serve.
 */

import { childFdBeside } from "../descriptor/inherited_fd.ts";

/** The first byte of a module that has loaded. */
export const LOADED = 1;
/** The first byte of one that could not be loaded. The message follows. */
export const FAILED = 0;

/** What runs beside a module, in the same process: it serves what the module exports. */
export interface Runtime {
  /**
   * A module. Its default export is called with the other one's namespace, the descriptor, and the
   * other one's URL.
   */
  readonly program: URL;
  /** The paths that it is read from, which must be permitted. */
  readonly files: readonly string[];
  /**
   * A descriptor of the parent that the child inherits, by its number. As one of the standard
   * streams it would become blocking in every process, because Deno starts programs so.
   */
  readonly fd: number;
}

/** Returns a `data:` URL of JavaScript. */
function script(text: string): string {
  return `data:text/javascript,${encodeURIComponent(text)}`;
}

/**
 * Returns the entry as a URL.
 *
 * - The report is imported beside the module, in the same graph. An import map could replace any
 *   import that it can name: then the report's name is random. `node:fs` is not imported.
 * - The entry does not await the import at its top level. If loading never ends, Deno names the
 *   first module that waits. With an `await` here that would be the entry.
 * - Deno's cache keeps every URL that it has run. Without an import map they are always the same.
 *
 * @param confinement The text of the program that confines the process.
 * @param hasImportMap Whether the module may have one.
 * @param runtime What runs beside the module.
 */
export function entry(confinement: string, hasImportMap: boolean, runtime?: Runtime): string {
  const name = hasImportMap ? crypto.randomUUID() : "";
  const report = script(`globalThis[Symbol.for("uds.loaded")]();//${name}`);
  const [load, serve] = runtime === undefined ? ["import ", ""] : [
    `import run from ${JSON.stringify(runtime.program.href)}; import * as module from `,
    `export const serve = (url) => run(module, ${runtime.fd}, url);`,
  ];
  const hasRuntime = runtime !== undefined;
  return script(`
const fs = globalThis.process.getBuiltinModule("node:fs");
const [module, ...args] = Deno.args;
Object.defineProperty(Deno, "args", { value: Object.freeze(args) });
globalThis.process.argv.splice(1, 1);
let loaded = false;
let reported = false;
const key = Symbol.for("uds.loaded");
function report(...bytes) {
  reported = true;
  fs.writeSync(${childFdBeside(runtime?.fd)}, new Uint8Array(bytes));
}
globalThis[key] = () => {
  loaded = true;
  delete globalThis[key];
  if (!${hasRuntime}) report(${LOADED});
};
const both = ${JSON.stringify(report)};
const load = ${JSON.stringify(load)};
(async () => { try {
  ${confinement}
  const { serve } = await import("data:text/javascript," + encodeURIComponent(
    "import " + JSON.stringify(both) + ";" + load + JSON.stringify(module) + ";" + ${
    JSON.stringify(serve)
  }
  ));
  if (${hasRuntime}) {
    report(${LOADED});
    serve(module);
  }
} catch (error) {
  if (reported) throw error;
  let text = "it threw a value without a text";
  try {
    text = loaded ? "it threw " + String(error).split("\\n", 1)[0] : String(error?.message ?? error);
  } catch {}
  report(${FAILED}, ...new TextEncoder().encode(text).subarray(0, 60000));
  if (loaded) throw error;
  Deno.exit(1);
} })();
`);
}
