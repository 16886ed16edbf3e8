import { assertEquals } from "@std/assert";
import { applyAllowed, placesOf } from "../../tools/check_language.ts";
import { problemsOf, wrapComments } from "../../tools/check_comments.ts";
import { partsOf } from "../../tools/source_text.ts";
import { test } from "../_helpers.ts";

function words(source: string, file = "a.ts"): string[] {
  return placesOf(file, source).map(({ line, words }) => `${line} ${words}`);
}

test("placesOf() finds banned words in comments and strings, and not in code", () => {
  const source = `/** Nobody waits. */
const whoever = gives(1); // lets it go
const text = "somebody" + 'stranger' + \`whom \${whom("who")} rival\`;
`;
  assertEquals(words(source), [
    "1 Nobody",
    "2 lets",
    "3 somebody",
    "3 stranger",
    "3 whom",
    "3 who",
    "3 rival",
  ]);
});

test("placesOf() finds words that are apart on two lines of a comment", () => {
  assertEquals(words("/**\n * It has\n * to be said.\n */\n"), ["2 has to be"]);
  assertEquals(words("// It is\n// to be said.\n"), ["1 is to be"]);
});

test("placesOf() reads all of a page", () => {
  assertEquals(words("# A\n\nIt tells `who` it is.\n", "a.md"), ["3 tells", "3 who"]);
});

test("placesOf() accepts people, the user called nobody, and what is not there", () => {
  assertEquals(words("There is no file. A user who owns it runs as `nobody`.", "a.md"), []);
});

test("placesOf() does not find words within words", () => {
  assertEquals(words("The whole of it is not arrival, and some body is nowhere.", "a.md"), []);
});

test("applyAllowed() returns the places without an entry, and the unused entries", () => {
  const places = placesOf("a.md", "Who is there?\n\nNobody.\n");
  const used = { file: "a.md", phrase: "Who is there", reason: "a question" };
  const unused = { file: "b.md", phrase: "Nobody", reason: "another file" };
  const found = applyAllowed(places, [used, unused]);
  assertEquals(found.rest.map(({ words }) => words), ["Nobody"]);
  assertEquals(found.unused, [unused]);
});

test("partsOf() knows regular expressions, divisions and nested templates", () => {
  const texts = (source: string) => partsOf(source).map(({ text }) => text);
  assertEquals(texts(`a = /["/*]/.test(b) / 2; // c`), ["// c"]);
  assertEquals(texts("a = `b${`c${d}`}e`;"), ["`b${", "`c${", "}`", "}e`"]);
  assertEquals(texts("a = `${{ b: {} }}`; // c"), ["`${", "}`", "// c"]);
  assertEquals(texts("// a\n  // b\n\n// c"), ["// a\n  // b", "// c"]);
});

function problems(source: string): string[] {
  return problemsOf("a.ts", source).map(({ line, kind, size }) => `${line} ${kind} ${size}`);
}

const LONG = "/**\n * 1\n * 2\n * 3\n * 4\n * 5\n */\n";

test("problemsOf() finds lines of more than 100 columns, but not in code", () => {
  const wide = "x ".repeat(50);
  assertEquals(problems(`a();\n// ${wide.trim()}\nb("${wide}");\n`), ["2 wide 102"]);
  assertEquals(problems(`a();\n// ${"x".repeat(200)}\n`), []);
});

test("problemsOf() finds comments of more than four lines in code", () => {
  assertEquals(problems(`a();\n${LONG}function b() {}\n`), ["2 long 5"]);
  assertEquals(problems("a();\n// 1\n// 2\n// 3\n// 4\n"), []);
});

test("problemsOf() allows long headers, and long docs of exports", () => {
  assertEquals(problems(`${LONG}\nimport "b";\n`), []);
  assertEquals(problems(`a();\n${LONG}export function b() {}\n`), []);
  const member = LONG.replaceAll(/^(?=.)/gm, "  ");
  assertEquals(problems(`a();\nexport interface B {\n${member}  c: number;\n}\n`), []);
  assertEquals(problems(`a();\ninterface B {\n${member}  c: number;\n}\n`), ["3 long 5"]);
});

test("wrapComments() wraps wide paragraphs, and keeps lists, code and narrow lines", () => {
  const words = "word ".repeat(24).trim();
  const source = `/** ${words} */
const a = 1;

/**
 * Short
 * lines.
 *
 * - ${words}
 *   and more
 *
 * @example
 * \`\`\`ts
 * ${"x(); ".repeat(30).trim()}
 * \`\`\`
 */
function b() {
  // ${words}
  c(); // ${words}
}
`;
  const wrapped = wrapComments(source).split("\n");
  assertEquals(wrapped.slice(0, 5), [
    "/**",
    ` * ${"word ".repeat(19).trim()}`,
    ` * ${"word ".repeat(5).trim()}`,
    " */",
    "const a = 1;",
  ]);
  assertEquals(wrapped.slice(6, 13), [
    "/**",
    " * Short",
    " * lines.",
    " *",
    ` * - ${"word ".repeat(19).trim()}`,
    ` *   ${"word ".repeat(5).trim()} and more`,
    " *",
  ]);
  assertEquals(wrapped.slice(13, 17), source.split("\n").slice(10, 14));
  assertEquals(wrapped.slice(19, 22), [
    `  // ${"word ".repeat(19).trim()}`,
    `  // ${"word ".repeat(5).trim()}`,
    `  c(); // ${words}`,
  ]);
});

test("wrapComments() keeps each label of a fault on a line of its own", () => {
  const wide = "word ".repeat(24).trim();
  assertEquals(
    wrapComments(`/**\n * Fault: ${wide}\n * How: a\n * Then: b\n */\n`),
    `/**\n * Fault: ${"word ".repeat(18).trim()}\n * ${
      "word ".repeat(6).trim()
    }\n * How: a\n * Then: b\n */\n`,
  );
});
