/**
 * The score that JSR will show, as far as files determine it: 14 of 17 points. Fails below 14.
 *
 * A description and the runtimes (a point each) are set at the registry. The point for provenance
 * comes from publishing in CI.
 */

import { docsOf } from "./doc_nodes.ts";

/** The share of documented symbols for which JSR awards all points. */
const ENOUGH = 0.8;

const { exports } = JSON.parse(await Deno.readTextFile("deno.json")) as {
  exports: Record<string, string>;
};
const files = Object.values(exports);
const main = exports["."];
const readme = await Deno.readTextFile("README.md").catch(() => undefined);
const docs = await Promise.all(files.map(async (file) => ({ file, modules: await docsOf(file) })));

const withoutDoc = docs.filter(({ file, modules }) =>
  !(file === main && readme !== undefined) && !modules.every(({ module_doc }) => module_doc)
);

// A symbol counts at every entry point that exports it, and once for each of its declarations.
const symbols = docs.flatMap(({ file, modules }) =>
  modules.flatMap((module) =>
    module.symbols.flatMap(({ name, declarations }) =>
      declarations.filter(({ declarationKind }) => declarationKind === "export")
        .map(({ jsDoc }) => ({ name: `${file}: ${name}`, isDocumented: jsDoc !== undefined }))
    )
  )
);
const bare = symbols.filter(({ isDocumented }) => !isDocumented).map(({ name }) => name);
const share = (symbols.length - bare.length) / symbols.length;

const { stdout } = await new Deno.Command(Deno.execPath(), {
  args: ["lint", "--json", "--rules-tags=jsr"],
}).output();
const { diagnostics } = JSON.parse(new TextDecoder().decode(stdout)) as {
  diagnostics: { code: string; filename: string }[];
};
const slow = diagnostics.filter(({ code }) => code === "no-slow-types");

const rows: [points: number, of: number, what: string, missing: string[]][] = [
  [readme === undefined ? 0 : 2, 2, "a README", []],
  [readme?.includes("```") ? 1 : 0, 1, "an example in it", []],
  [
    withoutDoc.length > 0 ? 0 : 1,
    1,
    "every entry point has a module doc",
    withoutDoc.map(({ file }) => file),
  ],
  [
    Math.floor(5 * Math.min(1, share / ENOUGH)),
    5,
    `${symbols.length - bare.length} of ${symbols.length} symbols have docs`,
    bare,
  ],
  [slow.length > 0 ? 0 : 5, 5, "no slow types", slow.map(({ filename }) => filename)],
];
let sum = 0;
let most = 0;
for (const [points, of, what, missing] of rows) {
  sum += points;
  most += of;
  console.log(`${points}/${of} ${what}`);
  if (missing.length > 0) console.log(`    missing: ${missing.join(", ")}`);
}
console.log(`JSR score: ${sum}/${most}, and 3 that the registry sets`);
if (sum < most) Deno.exit(1);
