import { assertEquals } from "@std/assert";
import * as child from "@uds/uds/child";
import { inherited } from "@uds/uds";
import { ROOT, run, test } from "../_helpers.ts";

test("@uds/uds/child has inherited() alone", () => {
  assertEquals(Object.entries(child), [["inherited", inherited]]);
});

/** A file, with what it imports as code. Imports of types have no `code`. */
interface Module {
  specifier: string;
  dependencies?: { code?: { specifier: string } }[];
}

/** The folders with code that a child does not need. */
const OTHERS = /_internal\/(?:accept|lock|messages|path|sandbox|server)\//;

test("@uds/uds/child loads no code of servers, messages and starts of children", async () => {
  const { stdout } = await run(Deno.execPath(), ["info", "--json", `${ROOT}/child.ts`]);
  const { roots, modules } = JSON.parse(stdout) as { roots: string[]; modules: Module[] };
  const loaded = new Set(roots);
  for (const file of loaded) {
    const { dependencies = [] } = modules.find(({ specifier }) => specifier === file) ?? {};
    for (const { code } of dependencies) if (code) loaded.add(code.specifier);
  }
  assertEquals([...loaded].filter((file) => OTHERS.test(file)), []);
  assertEquals(loaded.size > 10, true);
});
