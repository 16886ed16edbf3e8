/**
 * Writes `llms.txt`, docs/options.md, and lists in doc comments, from README.md, the doc comments
 * and the examples.
 *
 * - `llms.txt` has all pages, functions, errors and examples, a line each.
 * - docs/options.md has all properties of each type of options.
 * - `deno doc` shows only the properties that a type declares itself. So the doc comment of a type
 *   of options lists those of the types that it extends.
 * - With `--check` it fails if one of them differs.
 */

import { type Declaration, type Doc, docsOf, type Member, type Type } from "./doc_nodes.ts";
import { formatMarkdown } from "./markdown.ts";

/** A symbol that an entry point exports. */
interface Symbol {
  name: string;
  /** The entry point, as it is imported. */
  from: string;
  declaration: Declaration;
}

/** Returns the path of the file that declares it. */
function fileOf({ location }: { location: { filename: string } }): string {
  return location.filename.replace(new URL("../", import.meta.url).href, "");
}

/** Returns the first sentence of a doc comment, without the links of its symbols. */
function summaryOf(doc: Doc | undefined): string {
  const text = (doc?.doc ?? "").replace(/\s+/g, " ").replace(/\{@linkcode ([^}]*)\}/g, "`$1`");
  return text.match(/^.*?(?:\.(?= |$)|:(?= - ))/)?.[0].replace(/:$/, ".") ?? text.trim();
}

function tagOf(doc: Doc | undefined, kind: string): string | undefined {
  const tag = doc?.tags?.find((tag) => tag.kind === kind);
  return tag?.doc ?? tag?.value;
}

const { exports } = JSON.parse(await Deno.readTextFile("deno.json")) as {
  exports: Record<string, string>;
};
/** The entry points that have symbols which no other has, and `mod.ts` first. */
const ENTRIES = [".", "./rpc", "./pool", "./workers", "./systemd", "./native"];

const symbols: Symbol[] = [];
for (const entry of ENTRIES) {
  for (const module of await docsOf(exports[entry] ?? "")) {
    for (const { name, declarations } of module.symbols) {
      const [declaration] = declarations.filter(({ declarationKind, jsDoc }) =>
        declarationKind === "export" && jsDoc
      );
      if (!declaration) continue;
      const isKnown = symbols.some((known) =>
        known.name === name && fileOf(known.declaration) === fileOf(declaration)
      );
      if (!isKnown) symbols.push({ name, from: entry.replace(".", "@uds/uds"), declaration });
    }
  }
}

/** Returns the names that a type of names has. */
function namesOf(type: Type, from: string): string[] {
  if (type.kind === "literal") return [(type.value as { string: string }).string];
  if (type.kind === "union") return (type.value as Type[]).flatMap((each) => namesOf(each, from));
  const { operator, tsType } = type.value as { operator?: string; tsType: Type };
  if (operator !== "keyof") throw new Error(`unknown type of names: ${JSON.stringify(type)}`);
  return propertiesOf(tsType, from).map(({ name }) => name);
}

/** Returns all properties of a type that an interface extends. */
function propertiesOf(type: Type, from: string): Member[] {
  const { typeName, typeParams = [] } = type.value as { typeName: string; typeParams?: Type[] };
  const [of, names] = typeParams as [Type, Type];
  if (typeName === "Partial") return propertiesOf(of, from);
  if (typeName === "Omit" || typeName === "Pick") {
    const listed = namesOf(names, from);
    return propertiesOf(of, from).filter(({ name }) =>
      listed.includes(name) === (typeName === "Pick")
    );
  }
  const found = symbols.filter(({ name }) => name === typeName);
  const symbol = found.find((each) => each.from === from) ?? found[0];
  if (!symbol) throw new Error(`${typeName} is not exported`);
  return allPropertiesOf(symbol);
}

/** Returns all properties of an interface, those that it extends included. */
function allPropertiesOf({ declaration: { def }, from }: Symbol): Member[] {
  const own = def?.properties ?? [];
  const inherited = (def?.extends ?? []).flatMap((type) => propertiesOf(type, from));
  const all = [...own, ...inherited];
  return all.filter(({ name }, i) => all.findIndex((other) => other.name === name) === i);
}

/** Returns the type of a property, as it is written. */
function typeOf(property: Member): string {
  const bytes = Deno.readFileSync(fileOf(property));
  const text = new TextDecoder().decode(bytes.subarray(property.location.byteIndex));
  const [declared = ""] = text.match(/^[^]*?(?=;\n)/) ?? [];
  return declared.replace(/^\w+\??:\s+(\| )?/, "").replace(/ \| undefined$/, "")
    .replace(/\s+/g, " ").replace(/^\(+ ?(\([^]*\) => [^()]*)\)$/, "$1");
}

/** Reports whether a symbol has options: its name says so, or its file has the checks of them. */
function isOptions({ name, declaration }: Symbol): boolean {
  return name.endsWith("Options") ||
    Deno.readTextFileSync(fileOf(declaration)).includes(`: Checks<${name}>`);
}

/** Returns all properties of a type but those that are only `undefined`, which are refused. */
function allowedPropertiesOf(symbol: Symbol): Member[] {
  return allPropertiesOf(symbol).filter((each) => typeOf(each) !== "undefined");
}

const LIST = / \*\n \* (?:Besides the properties below, it|It) has:\n \*\n(?: \* [- ] .*\n)+/;
const COMMENT_WIDTH = 100;

/** Returns lines of a doc comment with a list of the properties that a type inherits. */
function inheritedList(symbol: Symbol): string {
  const own = symbol.declaration.def?.properties ?? [];
  const items = allowedPropertiesOf(symbol).filter((each) => !own.includes(each)).map((each) => {
    const owner = symbols.find(({ declaration: { def } }) => def?.properties?.includes(each));
    const text = `{@linkcode\0${owner?.name}.${each.name}\0|\0${each.name}}: ${
      summaryOf(each.jsDoc)
    }`;
    let lines = " * -";
    let width = lines.length;
    for (const word of text.split(" ")) {
      // The next line begins with ` *   `.
      const breaks = width + 1 + word.length > COMMENT_WIDTH;
      lines += breaks ? `\n *   ${word}` : ` ${word}`;
      width = breaks ? 5 + word.length : width + 1 + word.length;
    }
    return `${lines.replaceAll("\0", " ")}\n`;
  });
  if (items.length === 0) return "";
  const start = own.length === 0 ? "It" : "Besides the properties below, it";
  return ` *\n * ${start} has:\n *\n${items.join("")}`;
}

/** Returns the files that declare options, with the lists in their doc comments. */
function sourcesWithLists(): Map<string, string> {
  const sources = new Map<string, string>();
  for (const symbol of symbols.filter(isOptions)) {
    const file = fileOf(symbol.declaration);
    const text = sources.get(file) ?? Deno.readTextFileSync(file);
    const end = text.indexOf(`\nexport interface ${symbol.name}`);
    const start = text.lastIndexOf("\n/**\n", end);
    const comment = text.slice(start, end).replace(LIST, "")
      .replace(/ \*\n \* @/, (tags) => inheritedList(symbol) + tags);
    sources.set(file, text.slice(0, start) + comment + text.slice(end));
  }
  return sources;
}

function optionsPage(): string {
  const sections = symbols.filter(isOptions).map((symbol) => {
    const properties = allowedPropertiesOf(symbol).map((property) => {
      const { name, optional, jsDoc } = property;
      const fallback = tagOf(jsDoc, "default")?.replace(/^\{([^]*)\}$/, "$1");
      // A default in words has its code in backticks already.
      const code = /^(?!none$)[\w.$/"()]+$/.test(fallback ?? "") ? `\`${fallback}\`` : fallback;
      return `- \`${name}${optional ? "?" : ""}: ${typeOf(property)}\`` +
        `${code === undefined ? "" : `, by default ${code}`}. ${summaryOf(jsDoc)}`;
    });
    const file = fileOf(symbol.declaration);
    return [
      `## ${symbol.name}`,
      `${summaryOf(symbol.declaration.jsDoc)} From \`${symbol.from}\`, in [${file}](../${file}).`,
      properties.join("\n"),
    ].join("\n\n");
  });
  return `# All options

Each type of options, with all its properties: those of the types that it extends, too. Here is the
first sentence of each. The doc comments have the rest.

This page is written by \`tools/reference.ts\` from the doc comments.

${sections.join("\n\n")}
`;
}

async function index(): Promise<string> {
  const readme = await Deno.readTextFile("README.md");
  const [, title, summary = ""] = readme.match(/^# (.*)\n\n([^]*?)\n\n/) ?? [];
  const table = readme.slice(readme.indexOf("## Documentation"));
  const pages = [...table.matchAll(/^\| (\S.*?) +\| (\[.*?) +\|$/gm)].flatMap(([, what, links]) =>
    [...links?.matchAll(/\[[^\]]*\]\([^)]*\)/g) ?? []].map(([link]) => `- ${link}: ${what}`)
  );
  const categories = Map.groupBy(
    symbols.filter(({ declaration: { kind } }) => kind === "function" || kind === "class"),
    ({ declaration }) => tagOf(declaration.jsDoc, "category"),
  );
  const api = [...categories].map(([category, members]) => {
    const lines = members.map(({ name, from, declaration }) =>
      `- [${name}](${fileOf(declaration)}): ${summaryOf(declaration.jsDoc)}` +
      (from === "@uds/uds" ? "" : ` From \`${from}\`.`)
    );
    return `## ${category}\n\n${lines.join("\n")}`;
  });
  const examples = [...Deno.readDirSync("examples")].filter(({ isFile }) => isFile)
    .map(({ name }) => `examples/${name}`).sort().map((file) => {
      const [, doc = ""] = Deno.readTextFileSync(file).match(/^\/\*\*\n([^]*?)\n \*\//) ?? [];
      return `- [${file}](${file}): ${summaryOf({ doc: doc.replace(/^ \* ?/gm, "") })}`;
    });
  return [
    `# ${title}`,
    `> ${summary.replace(/\n/g, " ")}`,
    "Import from `jsr:@uds/uds`, unless another module is named. The first line of each sample of the pages is the command that runs it, or the name of its file.",
    `## Pages\n\n${pages.join("\n")}`,
    ...api,
    `## Examples\n\n${examples.join("\n")}`,
  ].join("\n\n") + "\n";
}

const isCheck = Deno.args.includes("--check");
const texts = new Map([
  ["docs/options.md", await formatMarkdown(optionsPage())],
  ["llms.txt", await formatMarkdown(await index())],
  ...sourcesWithLists(),
]);
for (const [path, text] of texts) {
  if (!isCheck) await Deno.writeTextFile(path, text);
  else if (await Deno.readTextFile(path) !== text) {
    console.error(`${path} is out of date: deno run -A tools/reference.ts`);
    Deno.exitCode = 1;
  }
}
