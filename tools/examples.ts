/**
 * The examples of the docs as test files, which can share a process. `deno test --doc` starts each
 * of them anew, and each file that has some.
 */

/** A block of TypeScript. Its lines begin with the same margin, such as ` * ` in a doc comment. */
const BLOCK = /^( *(?:\* )?)```ts(?! ignore)\b.*\n([^]*?)^\1```$/gm;
/** The imports at the beginning of a block, with comments between them. */
const IMPORTS = /^(?:(?:import [^;]*;|\/\/.*)?\n)*/;

/** The first line of a block of a page: the flags with which its code runs. */
export const COMMAND: RegExp = /^\/\/ deno run((?: -{1,2}[\w=,/-]+)*) main\.ts\n/;
const SHORT_FLAGS: Record<string, string> = {
  R: "read",
  W: "write",
  N: "net",
  E: "env",
  S: "sys",
};

/** A test that opens libc is taken for one that leaks it, so it is opened before. */
const OPENS_LIBC = new URL("../tests/native/_libc.ts", import.meta.url).href;

/**
 * Returns the permissions of a block, which are those that the flags of its first line grant.
 *
 * @throws {SyntaxError} When the line is missing or has another flag.
 */
function permissionsOf(code: string): Deno.PermissionOptionsObject {
  const command = code.match(COMMAND);
  if (!command) throw new SyntaxError("it does not begin with // deno run FLAGS main.ts");
  const flags = command[1]?.trim().split(" ").filter((flag) => flag !== "") ?? [];
  return Object.fromEntries(flags.flatMap((flag): [string, true | string[]][] => {
    const [, short, long, values] = flag.match(/^(?:-([RWNES]+)|--allow-(\w+)(?:=(.+))?)$/) ?? [];
    if (short !== undefined) return [...short].map((letter) => [SHORT_FLAGS[letter] ?? "", true]);
    if (long === undefined) throw new SyntaxError(`the flag ${flag} is not known`);
    return [[long, values?.split(",") ?? true]];
  }));
}

/** A block of TypeScript, without its margin. */
export interface Sample {
  /** The number of its first line. */
  line: number;
  code: string;
}

/** Returns the blocks of TypeScript of a file. */
export function samplesOf(file: string): Sample[] {
  const text = Deno.readTextFileSync(file);
  return [...text.matchAll(BLOCK)].map(({ index, 1: margin = "", 2: block = "" }) => {
    const lines = block.split("\n").map((each) =>
      each.startsWith(margin) ? each.slice(margin.length) : ""
    );
    return { line: text.slice(0, index).split("\n").length, code: lines.join("\n") };
  });
}

/**
 * Writes each example of some files as a test file into a directory. Returns their paths.
 *
 * An example of a page runs with the permissions that its first line names.
 *
 * @throws {SyntaxError} When an example of a page does not name them.
 */
export function writeExamples(files: string[], directory: string): string[] {
  const root = new URL("../", import.meta.url);
  return files.flatMap((file) => {
    return samplesOf(file).map((sample) => {
      const { line } = sample;
      const code = sample.code.replaceAll(
        "import.meta.url",
        JSON.stringify(new URL(file, root)),
      );
      let [imports = ""] = code.match(IMPORTS) ?? [];
      const body = code.slice(imports.length);
      if (imports.includes('"@uds/uds/native"')) {
        imports += `import ${JSON.stringify(OPENS_LIBC)};\n`;
      }
      const name = `${file}, line ${line}`;
      let options = "";
      if (file.endsWith(".md")) {
        try {
          // In quotes: a test file with the word alone has a process of its own.
          options = `${JSON.stringify({ permissions: permissionsOf(code) })}, `;
        } catch (error) {
          throw new SyntaxError(`Cannot run the example at ${name}: ${(error as Error).message}`);
        }
      }
      const test = `Deno.test("${name}", ${options}async () => {`;
      const path = `${directory}/${file.replaceAll("/", "_")}_${line}_test.ts`;
      Deno.writeTextFileSync(path, `${imports}${test}\n${body}});\n`);
      return path;
    });
  });
}

/**
 * Allows the programs of commands to read two more variables. With them, a child finds the package
 * in the cache of a project that has installed it. Returns the commands.
 */
export function withCacheVariables(commands: string): string {
  return commands.replaceAll(/--allow-env=\S+/g, "$&,DENO_DIR,JSR_URL")
    .replaceAll("-E HOME", "$& -E DENO_DIR -E JSR_URL");
}
