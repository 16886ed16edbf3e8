import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { manPages } from "../../_cli/parse/man_pages.ts";
import { PROGRAM } from "../../_cli/parse/help.ts";
import { COMMANDS } from "../../_cli/table.ts";
import { uds } from "../_cli.ts";
import { run, TempDir, test } from "../_helpers.ts";

const PAGES = manPages(COMMANDS, PROGRAM, "1.2.3");

/** Formats pages as `man` does, for a number of columns. Fails at a warning. */
async function formatted(dir: TempDir, text: string, width = 78): Promise<string> {
  await Deno.writeTextFile(dir.file("page.1"), text);
  // Without SGR, bold is a character over itself, which is removed here.
  const program = `groff -ww -man -Tutf8 -P-c -rLL=${width}n "$1" | sed 's/.\\x08//g'`;
  const { code, stdout, stderr } = await run("sh", ["-c", program, "-", dir.file("page.1")]);
  assertEquals([code, stderr], [0, ""]);
  return stdout;
}

test(
  "every man page is formatted by groff without a warning, and says what the help says",
  async () => {
    await using dir = new TempDir();
    // A page for the program, and one for each command.
    assertEquals(PAGES.length, COMMANDS.size + 1);
    const all = await formatted(dir, PAGES.map(({ text }) => text).join(""));
    // A command that does not fit is broken as for a shell.
    const words = (text: string) => text.replace(/ \\\n/g, " ").replace(/\s+/g, " ");
    const seen = words(all);
    for (const [name, { brief, examples, options, args }] of COMMANDS) {
      const lines = [...examples.map(([line]) => line), `uds-${name} - ${brief}`];
      const briefs = [...Object.values(options), ...args].map((each) => each.brief);
      for (const text of [...lines, ...briefs]) {
        if (/^[ -~]*$/.test(text)) assertStringIncludes(seen, words(text));
      }
      for (const option of Object.keys(options)) assertStringIncludes(seen, `--${option}`);
    }
  },
  { needs: ["groff"] },
);

test("every man page fits 60 columns, and breaks only commands that do not fit", async () => {
  await using dir = new TempDir();
  const all = PAGES.map(({ text }) => text).join("");
  const narrow = await formatted(dir, all, 60);
  assertEquals(narrow.split("\n").filter((line) => line.length > 60), []);
  assertMatch(narrow, / uds relay --cert c\.pem [^\n]* \\\n {15}tls:0\.0\.0\.0:8443 /);
  assertMatch(await formatted(dir, all, 120), / uds relay [^\n]* --client-ca [^\n]*app\.sock\n/);
}, { needs: ["groff"] });

test("a man page begins with its name, its synopsis and its examples, in ASCII", () => {
  for (const { file, text } of PAGES) {
    assertMatch(file, /^uds(-[a-z]+)?\.1$/);
    const titles = [...text.matchAll(/^\.SH (.*)$/gm)].map(([, title]) => title);
    assertEquals(titles.slice(0, 3), ["NAME", "SYNOPSIS", "EXAMPLES"]);
    assertMatch(text, /^[\n -~]*$/);
  }
});

test("uds man prints a page, or writes all of them", async () => {
  await using dir = new TempDir();
  const target = dir.file("share/man1");
  const [program, serve, wrong, written, both] = await Promise.all([
    uds(["man"], { flags: [] }),
    uds(["man", "serve"], { flags: [] }),
    uds(["man", "sevre"], { flags: [] }),
    uds(["man", "--dir", target], { flags: [`--allow-write=${target}`] }),
    uds(["man", "--dir", target, "serve"], { flags: [] }),
  ]);
  assertMatch(program.stdout, /^\.TH UDS 1 /);
  assertMatch(serve.stdout, /^\.TH UDS-SERVE 1 /);
  assertEquals([wrong.code, both.code], [2, 2]);
  assertStringIncludes(wrong.stderr, 'unknown command "sevre". Did you mean serve?');
  assertEquals(written, {
    code: 0,
    stdout: "",
    stderr: `wrote ${PAGES.length} pages to ${target}\n`,
  });
  const names = [...Deno.readDirSync(target)].map(({ name }) => name).sort();
  assertEquals(names, PAGES.map(({ file }) => file).sort());
  assert(names.includes("uds-man.1"));
});
