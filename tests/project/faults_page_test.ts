import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { pageOf, sectionOf } from "../../tools/faults_page.ts";
import { test } from "../_helpers.ts";

const SOURCE = `/**
 * # Crashes
 *
 * A process is killed
 * at each call.
 */

import "./a.ts";

for (const call of CALLS) {
  /**
   * Fault: An owner
   * is killed
   * How: \`strace\`
   * Then: The next start | succeeds
   */
  test(
    \`SIGKILL at \${call}, \${when(1)}: it survives\`,
    () => {},
  );
}
`;

test("sectionOf() reads headings, comments and names", () => {
  assertEquals(sectionOf("a_test.ts", SOURCE), {
    title: "Crashes",
    text: "A process is killed at each call.",
    faults: [{
      cells: ["An owner is killed", "`strace`", "The next start | succeeds"],
      test: "SIGKILL at …, …: it survives",
    }],
  });
});

test("sectionOf() refuses a test without a comment, and a file without a heading", () => {
  assertThrows(
    () => sectionOf("a_test.ts", `${SOURCE}\ntest("it is new", () => {});\n`),
    Error,
    'a_test.ts has a test without "Fault:", "How:", "Then:" before it: it is new',
  );
  assertThrows(() => sectionOf("a_test.ts", 'test("x", () => {});'), Error, "heading");
});

test("pageOf() writes one row per test", () => {
  assertStringIncludes(
    pageOf([sectionOf("a_test.ts", SOURCE)]),
    "| An owner is killed | `strace` | The next start \\| succeeds | `SIGKILL at …, …: it survives` |",
  );
});
