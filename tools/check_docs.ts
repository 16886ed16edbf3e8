/**
 * Checks doc comments for what `deno doc --lint` and the publish dry run do not check.
 *
 * - Every entry point has a module doc, with `@module`.
 * - Every exported function describes its parameters, its result, an example and, if it uses the
 *   system, its failures and its permissions.
 * - Every method of an interface describes its parameters and its result.
 * - Every optional number, boolean or choice of an interface of options has its default.
 * - Every exported symbol has one of a few categories.
 */

import {
  type Declaration,
  type Doc,
  docsOf,
  type Member,
  type Param,
  type Type,
} from "./doc_nodes.ts";

/** What a reader looks for. */
const CATEGORIES = new Set([
  "Servers",
  "Clients",
  "Connections",
  "Messages",
  "Calls",
  "Children",
  "Paths",
  "Permissions",
  "Errors",
  "Identity",
  "Descriptors",
  "Packets",
  "Native",
  "systemd",
]);

const problems: string[] = [];

function has(doc: Doc | undefined, kind: string): boolean {
  return doc?.tags?.some((tag) => tag.kind === kind) ?? false;
}

function checkParams(doc: Doc | undefined, params: Param[], say: (what: string) => void): void {
  const described = new Set(
    doc?.tags?.filter(({ kind }) => kind === "param").map(({ name }) => name),
  );
  for (const param of params) {
    const label = param.name ?? param.left?.name ?? param.arg?.name ?? "?";
    if (!described.has(label)) say(`no @param ${label}`);
  }
}

function checkFunction({ jsDoc, def }: Declaration, say: (what: string) => void): void {
  checkParams(jsDoc, def?.params ?? [], say);
  if (def?.returnType?.repr !== "void" && !has(jsDoc, "return")) say("no @returns");
  if (!has(jsDoc, "example")) say("no @example");
  if (!def?.isAsync) return;
  if (!has(jsDoc, "throws")) say("no @throws");
  if (!jsDoc?.doc?.includes("**Permissions**")) say("no **Permissions**");
}

function checkMethod({ jsDoc, params, returnType }: Member, say: (what: string) => void): void {
  checkParams(jsDoc, params ?? [], say);
  const result = returnType?.repr ?? returnType?.kind;
  // A method without parameters that returns a value: its name is enough.
  const isSilent = result === "void" || result === "Promise" || (params ?? []).length === 0;
  if (!isSilent && !has(jsDoc, "return")) say("no @returns");
}

function checkOption({ jsDoc, optional, tsType }: Member, say: (what: string) => void): void {
  // Every option may be `undefined`.
  const types = unionOf(tsType).filter(({ repr }) => repr !== "undefined");
  const isValue = types.length > 1 || ["number", "boolean"].includes(types[0]?.repr ?? "");
  if (optional && isValue && !has(jsDoc, "default")) say("no @default");
}

/** Returns the members of a union, or the type alone. */
function unionOf(type: Type | undefined): Type[] {
  if (type === undefined) return [];
  return type.kind === "union" ? type.value as Type[] : [type];
}

for (const file of Deno.args) {
  for (const { module_doc, symbols } of await docsOf(file)) {
    if (!module_doc?.doc && !module_doc?.tags?.length) problems.push(`${file}: no module doc`);
    else if (!has(module_doc, "module")) problems.push(`${file}: no @module`);
    for (const { name, declarations } of symbols) {
      for (const declaration of declarations) {
        const { kind, declarationKind, jsDoc, def } = declaration;
        if (declarationKind !== "export") continue;
        const say = (what: string) => problems.push(`${file}: ${name}: ${what}`);
        if (!jsDoc?.doc) say("no description");
        const category = jsDoc?.tags?.find((tag) => tag.kind === "category")?.doc;
        if (!CATEGORIES.has(category ?? "")) say(`its @category is ${category ?? "missing"}`);
        if (kind === "function") checkFunction(declaration, say);
        if (kind !== "interface") continue;
        for (const method of def?.methods ?? []) {
          checkMethod(method, (what) => say(`${method.name}: ${what}`));
        }
        if (!name.endsWith("Options")) continue;
        for (const option of def?.properties ?? []) {
          checkOption(option, (what) => say(`${option.name}: ${what}`));
        }
      }
    }
  }
}

for (const problem of new Set(problems)) console.error(problem);
if (problems.length > 0) Deno.exit(1);
