import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { join } from "@std/path/posix";
import { writeExamples } from "../../tools/examples.ts";
import { processesOf, type TestResult } from "../../tools/test.ts";
import { decode, ROOT, TempDir, test } from "../_helpers.ts";

/** Writes files into a directory. Returns their paths. */
function write(dir: TempDir, files: Record<string, string>): string[] {
  return Object.entries(files).map(([name, text]) => {
    Deno.writeTextFileSync(dir.file(name), text);
    return dir.file(name);
  });
}

test("processesOf() puts files together unless they look at their whole process", async () => {
  await using dir = new TempDir();
  const [a, b, mask, helped] = write(dir, {
    "a_test.ts": "",
    "b_test.ts": "",
    "mask_test.ts": "Deno.umask(0)",
    "helped_test.ts": 'import { left } from "./_left.ts";',
    "_left.ts": "export const left = () => openDescriptors();",
  }) as [string, string, string, string];
  assertEquals(processesOf([a, mask, b, helped]), [[a, b], [mask], [helped]]);
});

test("runTests() shows a line for a file that passes, and the failures of others", async () => {
  await using dir = new TempDir();
  const files = write(dir, {
    "fails_test.ts": 'Deno.test("one", () => { throw new Error("no") });',
    "breaks_test.ts": 'Deno.test("two", () => {}); throw new Error("never");',
    "passes_test.ts": 'Deno.test("three", () => {});',
  });
  // The runner prints what it runs, which would look like failures here.
  const script = `import { runTests } from "${import.meta.resolve("../../tools/test.ts")}";
    const result = await runTests({ files: ${JSON.stringify(files)} });
    Deno.writeTextFileSync("${dir.file("result")}", JSON.stringify(result));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  const lines = decode(stdout).split("\n");
  assert(lines.some((line) => line.startsWith(`ok ${files[2]} (1 passed, `)), decode(stdout));
  const result: TestResult = JSON.parse(Deno.readTextFileSync(dir.file("result")));
  const { ok, counts, failed } = result;
  // A file that fails while it loads counts as one failed test.
  assertEquals([ok, counts], [false, { passed: 1, failed: 2, ignored: 0 }]);
  const named = failed.filter((line) => !line.startsWith(" "));
  assertEquals(named, [files.join(" "), files[0], files[1]]);
});

test("a test that hangs reports its programs, and leaves nothing to the next one", async () => {
  await using dir = new TempDir();
  const [file] = write(dir, {
    "hangs_test.ts": `import { test } from "${import.meta.resolve("../_helpers.ts")}";
      import { Process } from "${import.meta.resolve("../_cli.ts")}";
      test("hangs", async () => {
        await using process = new Process(["sh", "-c", "echo so far; exec sleep 100"]);
        await process.stdout.until("so far");
        await process.stderr.until("what never comes");
      }, { deadline: 100 });
      test("next", () => {});`,
  }) as [string];
  const args = ["test", "-A", "--no-check", "--sanitize-ops", "--sanitize-resources", file];
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [...args, "--config", "deno.json"],
    env: { NO_COLOR: "1" },
  }).output();
  const text = decode(stdout);
  assertMatch(text, /^error: Error: not done within 300 ms .*\nrunning: sh -c .*sleep 100$/m);
  assertMatch(text, /^ {2}stdout: "so far\\n"\n {2}waited for in stderr: "what never comes"$/m);
  assertMatch(text, /^next \.\.\. ok/m);
});

for (
  const [name, state] of [
    ["tests/nothere", "it does not exist"],
    ["tests/nothere_test.ts", "it does not exist"],
    ["nothere", "it is not below tests/"],
  ]
) {
  test(`deno task test refuses ${name}`, async () => {
    const runner = join(ROOT, "tools/test.ts");
    const args = ["run", "--no-prompt", "--allow-read=tests", runner, name!];
    const { code, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).output();
    const remedy = "Pass some of tests/, such as tests/rpc";
    assertEquals(decode(stderr), `Cannot test "${name}": ${state}. ${remedy}\n`);
    assertEquals(code, 2);
  });
}

test("writeExamples() takes the permissions of a page's example from its first line", async () => {
  await using dir = new TempDir();
  const example = (flags: string) => {
    const [page] = write(dir, {
      "page.md": `\`\`\`ts\n// deno run ${flags}main.ts\na();\n\`\`\`\n`,
    }) as [string];
    return Deno.readTextFileSync(writeExamples([page], dir.path)[0]!);
  };
  assert(example("").includes('{"permissions":{}}'));
  assert(example("-RN --allow-run=a,b ").includes('{"read":true,"net":true,"run":["a","b"]}'));
  assertThrows(() => example("--alow-run "), SyntaxError, "--alow-run");
});

test("writeExamples() makes a test file of each block, with its imports first", async () => {
  await using dir = new TempDir();
  const [page] = write(dir, {
    "page.ts": [
      "/**",
      " * ```ts",
      ' * import { a } from "a";',
      " *",
      " * a(import.meta.url);",
      " * ```",
      " * ```ts ignore",
      " * b();",
      " * ```",
      " */",
      "",
    ].join("\n"),
  }) as [string];
  const written = writeExamples([page], dir.path).map((path) => Deno.readTextFileSync(path));
  assertEquals(written, [
    'import { a } from "a";\n\n' +
    `Deno.test("${page}, line 2", async () => {\na("file://${page}");\n});\n`,
  ]);
});
