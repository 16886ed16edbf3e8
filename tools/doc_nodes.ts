/** The parts of `deno doc --json` that the checks use. */

/** A doc comment. */
export interface Doc {
  doc?: string;
  tags?: { kind: string; name?: string; doc?: string; value?: string }[];
}

/** A parameter. If it is destructured, its name is at the left of its default. */
export interface Param {
  name?: string;
  left?: { name?: string };
  arg?: { name?: string };
}

/** The type of a result or of a property. */
export interface Type {
  repr?: string;
  kind?: string;
  value?: object;
}

/** Where something is declared. */
export interface Location {
  filename: string;
  byteIndex: number;
}

/** A method or a property of an interface. */
export interface Member {
  name: string;
  location: Location;
  jsDoc?: Doc;
  optional?: boolean;
  params?: Param[];
  returnType?: Type;
  tsType?: Type;
}

/** One declaration of a symbol. */
export interface Declaration {
  kind: string;
  declarationKind: string;
  location: Location;
  jsDoc?: Doc;
  def?: {
    params?: Param[];
    returnType?: Type;
    isAsync?: boolean;
    hasBody?: boolean;
    methods?: Member[];
    properties?: Member[];
    extends?: Type[];
  };
}

/** A file. */
export interface Module {
  module_doc?: Doc;
  symbols: { name: string; declarations: Declaration[] }[];
}

/**
 * Returns the docs of a file, from `deno doc`, without the body of a function that has overloads:
 * its callers see those only.
 */
export async function docsOf(file: string): Promise<Module[]> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", file],
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`deno doc cannot read ${file}`);
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout)) as {
    nodes: Record<string, Module>;
  };
  return Object.values(nodes).map((module) => ({
    ...module,
    symbols: module.symbols.map(({ name, declarations }) => ({
      name,
      declarations: declarations.filter(({ kind, def }) =>
        kind !== "function" || declarations.length === 1 || !def?.hasBody
      ),
    })),
  }));
}
