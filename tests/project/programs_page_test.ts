import { assert, assertEquals, assertThrows } from "@std/assert";
import { checkedBy, pageWith, tableOf } from "../../tools/programs.ts";
import { test } from "../_helpers.ts";

const PAGE = `# Compatibility

## Programs

What was run.

| old | table |
| --- | ----- |

## Next

| other | table |
`;

const TABLE = tableOf([
  { program: "Redis", version: "7.0.15", way: "`uds relay`", what: "a | b" },
  { program: "D-Bus", version: "1.14", way: "`relay()`", what: "calls" },
]);

test("pageWith() replaces the table of the section by one that is sorted by program", () => {
  assertEquals(
    pageWith(PAGE, TABLE),
    PAGE.replace(
      "| old | table |\n| --- | ----- |\n",
      "| program | version | way | what was checked |\n| --- | --- | --- | --- |\n" +
        "| D-Bus | 1.14 | `relay()` | calls |\n| Redis | 7.0.15 | `uds relay` | a \\| b |\n",
    ),
  );
  assertThrows(() => pageWith("# Compatibility\n", TABLE), Error, 'no section "## Programs"');
});

test("checkedBy() ignores versions and widths, and nothing else", () => {
  const page = pageWith(PAGE, TABLE);
  const other = page.replace("7.0.15", "8.0   ").replace("| --- |", "| ------- |");
  assertEquals(checkedBy(other), checkedBy(page));
  assert(checkedBy(page.replace("calls", "mail")).join() !== checkedBy(page).join());
  assertEquals(checkedBy(page).at(-1), " | Redis | `uds relay` | a \\| b | ");
});
