/**
 * The examples of the docs as test files, which can share a process. `deno test --doc` starts each
 * of them anew, and each file that has some.
 */

/** A block of TypeScript. Its lines begin with the same margin, such as ` * ` in a doc comment. */
const BLOCK = /^( *(?:\* )?)```ts(?! ignore)\b.*\n([^]*?)^\1```$/gm;
/** The imports at the beginning of a block, with comments between them. */
const IMPORTS = /^(?:(?:import [^;]*;|\/\/.*)?\n)*/;

/** A test that opens libc is taken for one that leaks it, so it is opened before. */
const OPENS_LIBC = new URL("../tests/native/_libc.ts", import.meta.url).href;

/** Writes each example of some files as a test file into a directory. Returns their paths. */
export function writeExamples(files: string[], directory: string): string[] {
  const root = new URL("../", import.meta.url);
  return files.flatMap((file) => {
    const text = Deno.readTextFileSync(file);
    return [...text.matchAll(BLOCK)].map(({ index, 1: margin = "", 2: block = "" }) => {
      const line = text.slice(0, index).split("\n").length;
      const lines = block.split("\n").map((each) =>
        each.startsWith(margin) ? each.slice(margin.length) : ""
      );
      const code = lines.join("\n").replaceAll(
        "import.meta.url",
        JSON.stringify(new URL(file, root)),
      );
      let [imports = ""] = code.match(IMPORTS) ?? [];
      const body = code.slice(imports.length);
      if (imports.includes('"@uds/uds/native"')) {
        imports += `import ${JSON.stringify(OPENS_LIBC)};\n`;
      }
      const test = `Deno.test("${file}, line ${line}", async () => {`;
      const path = `${directory}/${file.replaceAll("/", "_")}_${line}_test.ts`;
      Deno.writeTextFileSync(path, `${imports}${test}\n${body}});\n`);
      return path;
    });
  });
}
