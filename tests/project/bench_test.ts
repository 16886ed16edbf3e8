import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { measure } from "../../bench/measure.ts";
import { check, run } from "../../bench/run.ts";
import type { Contender, Subject } from "../../bench/subject.ts";
import { SUBJECTS } from "../../bench/subjects/all.ts";
import { Toolbox } from "../../bench/toolbox.ts";
import { verdictOf } from "../../bench/verdict.ts";

const test = (name: string, fn: () => Promise<void> | void) => Deno.test({ name, fn });

/** Returns a subject with only some of its contenders. */
function only(name: string, contenders: string[]): Subject {
  const subject = SUBJECTS.find((subject) => subject.name === name) as Subject;
  return {
    ...subject,
    contenders: subject.contenders.filter(({ name }) => contenders.includes(name)),
  };
}

test("the benchmark measures a subject in both orders, and checks the counts", async () => {
  await using tools = await Toolbox.open();
  const subject = only("round trip", ["uds Connection", "Deno raw loop"]);
  const shown: string[] = [];
  const figures = await measure(tools, [subject], {
    rounds: 2,
    pointRounds: 1,
    scale: 0.002,
    onProgress: (done, total, what) => shown.push(`${done}/${total} ${what.split(":")[0]}`),
  });
  for (const { values, failed } of figures.get("round trip")?.values() ?? []) {
    assertEquals(failed, undefined);
    assertEquals(values.map((value) => value > 0), [true, true]);
  }
  assertEquals(shown, ["1/4", "2/4", "3/4", "4/4"].map((place) => `${place} round trip`));
});

test("the benchmark refuses a count that is not exact", async () => {
  check({ items: 3, bytes: 30 }, { size: 10, warm: 1, count: 2 });
  const load = { size: 10, warm: 1, count: 2 };
  assertThrows(() => check({ items: 2, bytes: 30 }, load), Error, "2 items instead of 3");
  assertThrows(() => check({ items: 3, bytes: 29 }, load), Error, "29 bytes instead of 30");
  await using tools = await Toolbox.open();
  // The records of JSON lines have 100 bytes.
  const contender: Contender = {
    name: "",
    program: "json_lines/memory.ts",
    alone: true,
    count: 16,
  };
  const subject = { ...only("JSON lines", []), size: 64 };
  await assertRejects(() => run(tools, subject, contender, 1), Error, "1800 bytes instead of 1152");
});

test("the benchmark skips a missing program, and names it", async () => {
  await using tools = await Toolbox.open();
  delete tools.versions["gcc"];
  const subject = only("round trip", ["C"]);
  const options = { rounds: 1, pointRounds: 1, scale: 0.01, onProgress: () => {} };
  const figures = await measure(tools, [subject], options);
  assertEquals(figures.get("round trip")?.get("C"), { values: [], missing: "no gcc" });
});

test("the verdict of the benchmark is the median of the ratios of the rounds", () => {
  const subject = only("round trip", []);
  const figures = new Map([
    ["ours", { values: [10, 40, 12] }],
    ["raw", { values: [10, 20, 10] }],
  ]);
  const verdict = (line: { atLeast?: number; atMost?: number }) =>
    verdictOf(subject, figures, { ours: "ours", baseline: "raw", ...line });
  // Microseconds: 1, 2 and 1.2 times the cost; 1, 0.5 and 0.833 times the speed.
  assertEquals(verdict({ atMost: 1.2 }).ratio?.median, 1.2);
  assertEquals(verdict({ atMost: 1.2 }).reached, true);
  assertEquals(verdict({ atMost: 1.1 }).reached, false);
  assertEquals(verdict({ atMost: 1.1 }).farOff, false);
  assertEquals(verdict({ atMost: 0.9 }).farOff, true);
  assertEquals(verdict({ atLeast: 0.8 }).reached, true);
  assertEquals(verdict({ atLeast: 0.9 }).farOff, false);
  assertEquals(verdict({ atLeast: 1.05 }).farOff, true);
});

test("every line of the benchmark names contenders of its subject", () => {
  for (const { name, contenders, lines } of SUBJECTS) {
    const names = contenders.map((contender) => contender.name);
    assertEquals(new Set(names).size, names.length, name);
    for (const { ours, baseline } of lines) {
      assertEquals([ours, baseline].filter((each) => !names.includes(each)), [], name);
    }
  }
});
