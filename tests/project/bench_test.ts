import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { measure } from "../../bench/measure.ts";
import { markdownOf } from "../../bench/report.ts";
import { check, run } from "../../bench/run.ts";
import { by, type Line, MICROSECONDS, type Subject } from "../../bench/subject.ts";
import { SUBJECTS } from "../../bench/subjects/all.ts";
import { Tools } from "../../bench/tools.ts";
import { compare, type Verdict, verdictOf } from "../../bench/verdict.ts";

const test = (name: string, fn: () => Promise<void> | void) => Deno.test({ name, fn });

const ONE_ROUND = { rounds: 1, scale: 0.01, onProgress: () => {} };

/** Returns a subject with only some of its contenders. */
function subjectWith(name: string, contenders: string[]): Subject {
  const subject = SUBJECTS.find((subject) => subject.name === name) as Subject;
  return {
    ...subject,
    contenders: subject.contenders.filter(({ name }) => contenders.includes(name)),
  };
}

test("the benchmark measures a subject in both orders, and checks the counts", async () => {
  await using tools = await Tools.open();
  const subject = subjectWith("round trip", ["uds Connection", "Deno raw loop"]);
  const shown: string[] = [];
  const figures = await measure(tools, [subject], {
    ...ONE_ROUND,
    rounds: 2,
    scale: 0.002,
    onProgress: (done, total, what) => shown.push(`${done}/${total} ${what.split(" ", 3).at(-1)}`),
  });
  for (const { values, failed } of figures.get("round trip")?.values() ?? []) {
    assertEquals(failed, undefined);
    assertEquals(values.map((value) => value > 0), [true, true]);
  }
  assertEquals(shown, ["1/4 uds", "2/4 Deno", "3/4 Deno", "4/4 uds"]);
});

test("the benchmark takes several figures from the same runs", async () => {
  await using tools = await Tools.open();
  const subjects = ["http", "http p50"].map((name) => subjectWith(name, ["on a claimed path"]));
  const totals: number[] = [];
  const figures = await measure(tools, subjects, {
    ...ONE_ROUND,
    onProgress: (_, total) => totals.push(total),
  });
  assertEquals(totals, [1]);
  for (const { name } of subjects) {
    assertEquals(figures.get(name)?.get("on a claimed path")?.values.length, 1, name);
  }
});

test("the benchmark begins no round that its time does not allow", async () => {
  await using tools = await Tools.open();
  const subject = subjectWith("JSON lines", ["JSON alone"]);
  const figures = await measure(tools, [subject], { ...ONE_ROUND, rounds: 3, budgetMs: 1 });
  assertEquals(figures.get("JSON lines")?.get("JSON alone")?.values.length, 1);
});

test("the benchmark refuses a count that is not exact", async () => {
  const load = { size: 10, warm: 1, count: 2 };
  check({ items: 3, bytes: 30 }, load);
  assertThrows(() => check({ items: 2, bytes: 30 }, load), Error, "2 items instead of 3");
  assertThrows(() => check({ items: 3, bytes: 29 }, load), Error, "29 bytes instead of 30");
  await using tools = await Tools.open();
  // The records of JSON lines have 100 bytes.
  const contender = { name: "", program: "json.ts memory", alone: true, count: 16 };
  const subject = { ...subjectWith("JSON lines", []), size: 64 };
  await assertRejects(() => run(tools, subject, contender, 1), Error, "1800 bytes instead of 1152");
});

test("the benchmark goes on after a contender that fails or hangs, and names the failure", async () => {
  await using tools = await Tools.open();
  const subject = subjectWith("JSON lines", ["JSON alone"]);
  const contenders = [
    by("fails", "unknown.mjs", 16),
    by("hangs", "messages.ts raw", 16, { client: "connections.ts trips raw" }),
    ...subject.contenders,
  ];
  const options = { ...ONE_ROUND, limitMs: 1000 };
  const figures = (await measure(tools, [{ ...subject, contenders }], options)).get(subject.name)!;
  assertStringIncludes(
    figures.get("fails")!.failed!,
    "unknown.mjs was not ready (exit code 1): Error: Cannot find module",
  );
  assertStringIncludes(figures.get("hangs")!.failed!, "did not report in time");
  assertEquals(figures.get("JSON alone")!.values.length, 1);
});

test("the benchmark skips a missing program, and names it", async () => {
  await using tools = await Tools.open();
  delete tools.versions["gcc"];
  delete tools.versions["HAProxy"];
  const subjects = [subjectWith("round trip", ["C"]), subjectWith("relay: bulk", ["HAProxy"])];
  const figures = await measure(tools, subjects, ONE_ROUND);
  assertEquals(figures.get("round trip")?.get("C"), { values: [], missing: "no gcc" });
  assertEquals(figures.get("relay: bulk")?.get("HAProxy"), { values: [], missing: "no HAProxy" });
});

test("the verdict of the benchmark is the median of the ratios of the rounds", () => {
  const subject = subjectWith("round trip", []);
  const figures = new Map([
    ["ours", { values: [10, 40, 12] }],
    ["raw", { values: [10, 20, 10] }],
  ]);
  const verdict = (line: Partial<Line>) =>
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
  // Without a baseline it is the figure itself.
  assertEquals(verdictOf(subject, figures, { ours: "ours", atMost: 12 }).reached, true);
  assertEquals(verdictOf(subject, figures, { ours: "ours", atMost: 11 }).reached, false);
});

/** Returns the row of a ratio. */
function row(ours: string, [low, median, high]: number[], goal: Partial<Line> = {}): Verdict {
  const ratio = { low: low!, median: median!, high: high!, count: 5 };
  const reached = goal.atLeast === undefined ? undefined : median! >= goal.atLeast;
  return { subject: "s", ours, baseline: "raw", ...goal, ratio, ...(reached && { reached }) };
}

test("the benchmark compares each row with the last report", () => {
  const goal = { atLeast: 1 };
  const last = [
    row("same", [1, 1.1, 1.2], goal),
    row("now missed", [1, 1.1, 1.2], goal),
    row("worse", [2, 2.1, 2.2], goal),
    row("slower", [2, 2.1, 2.2]),
    row("skipped", [1, 1.1, 1.2], goal),
    row("gone", [1, 1.1, 1.2], goal),
    row("gone without a goal", [1, 1.1, 1.2]),
    row("costs more", [1, 1.1, 1.2], { atMost: 9 }),
  ];
  const now = [
    row("same", [0.9, 1.05, 1.3], goal),
    { ...row("now missed", [0.8, 0.9, 1.1], goal), reached: false },
    row("worse", [1.1, 1.2, 1.9], goal),
    row("slower", [1.1, 1.2, 1.9]),
    { subject: "s", ours: "skipped", baseline: "raw", ...goal, missing: "no Node" },
    row("costs more", [1.3, 1.4, 1.5], { atMost: 9 }),
    row("new", [1, 1, 1], goal),
  ];
  const lost = (whole: boolean) =>
    compare(now, last, whole).map(({ ours, last, lost }) => [ours, last?.median, lost]);
  const rows = [
    ["same", 1.1, undefined],
    ["now missed", 1.1, "missed"],
    ["worse", 2.1, "worse"],
    ["slower", 2.1, "worse"],
    ["skipped", 1.1, "not measured"],
    ["costs more", 1.1, "worse"],
    ["new", undefined, undefined],
  ];
  assertEquals(lost(true), [...rows, ["gone", 1.1, "not measured"]]);
  assertEquals(lost(false), rows);
});

test("the report of the benchmark shows the last ratio, and what got lost", async () => {
  await using tools = await Tools.open();
  const line: Line = { ours: "ours", baseline: "raw", atMost: 1.1 };
  const subject: Subject = {
    ...{ name: "s", title: "The subject", size: 1, contenders: [], lines: [line] },
    ...MICROSECONDS,
  };
  const figures = new Map([["ours", { values: [12] }], ["raw", { values: [10] }]]);
  const last = [row("ours", [1, 1.05, 1.1], { atMost: 1.1 })];
  const text = markdownOf({
    ...{ environment: await tools.environment(), scale: 1, rounds: 1 },
    ...{ subjects: [subject], figures: new Map([["s", figures]]), lastDate: "2026-11-01" },
    lines: compare([verdictOf(subject, figures, line)], last, true),
  });
  assertStringIncludes(text, "The last report is of 2026-11-01.");
  assertStringIncludes(
    text,
    "| The subject | ours 12.0 µs | raw 10.0 µs | **1.20 × cost** (1.20–1.20) | ≤ 1.1 × cost | missed | 1.05 | lost: missed |",
  );
  assertStringIncludes(text, "- **s: ours / raw**: missed. It was 1.05.");
});

test("every line of the benchmark names contenders of its subject", () => {
  for (const { name, contenders, lines } of SUBJECTS) {
    const names = contenders.map((contender) => contender.name);
    assertEquals(new Set(names).size, names.length, name);
    for (const { ours, baseline } of lines) {
      assertEquals([ours, baseline ?? ours].filter((each) => !names.includes(each)), [], name);
    }
  }
});
