/**
 * Checks of the docs that `deno doc --lint` and the publish dry run do not make: every entry point has
 * a module doc, and every exported function has its parameters, its result, an example and, where it
 * asks the system, its permissions described.
 */

interface Doc {
  doc?: string;
  tags?: { kind: string; name?: string }[];
}
interface Declaration {
  kind: string;
  declarationKind: string;
  jsDoc?: Doc;
  def?: { params?: { name?: string; left?: { name?: string } }[]; isAsync?: boolean };
}
interface Symbol {
  name: string;
  declarations: Declaration[];
}
interface Module {
  module_doc?: Doc;
  symbols: Symbol[];
}

const problems: string[] = [];

for (const file of Deno.args) {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["doc", "--json", file] })
    .output();
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout)) as {
    nodes: Record<string, Module>;
  };
  for (const { module_doc, symbols } of Object.values(nodes)) {
    if (!module_doc?.doc && !module_doc?.tags?.length) problems.push(`${file}: no module doc`);
    for (const { name, declarations } of symbols) {
      for (const { kind, declarationKind, jsDoc, def } of declarations) {
        if (declarationKind !== "export") continue;
        const say = (what: string) => problems.push(`${file}: ${name}: ${what}`);
        if (!jsDoc?.doc) say("no description");
        if (kind !== "function") continue;
        const tags = jsDoc?.tags ?? [];
        const described = new Set(tags.filter((t) => t.kind === "param").map((t) => t.name));
        for (const param of def?.params ?? []) {
          const label = param.name ?? param.left?.name ?? "?";
          if (!described.has(label)) say(`no @param ${label}`);
        }
        if (!tags.some((tag) => tag.kind === "return")) say("no @returns");
        if (!tags.some((tag) => tag.kind === "example")) say("no @example");
        if (def?.isAsync && !jsDoc?.doc?.includes("**Permissions**")) say("no **Permissions**");
      }
    }
  }
}

for (const problem of new Set(problems)) console.error(problem);
if (problems.length > 0) Deno.exit(1);
