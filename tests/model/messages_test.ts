/**
 * Random courses of two ends that send and receive messages, abort, detach, half-close and leave.
 * What comes of each call is compared with a naive model.
 *
 * UDS_CASES sets the number of courses. UDS_SEED sets the seed: a failure prints its own.
 */

import { socketpair } from "@uds/uds";
import fc from "fast-check";
import { test } from "../_helpers.ts";
import { Clock, End, type EndOptions, pause, SMALL_FRAMINGS, type Step, WEIGHTS } from "./_end.ts";
import { runCourses, weighted } from "./_courses.ts";
import { checkCourse } from "./_reference.ts";

const step = fc.record<Step>({
  end: fc.constantFrom(0, 1),
  act: weighted(WEIGHTS),
  n: fc.nat(999),
});

/** Most ends have no timeouts: those wait in real time. */
const timeout = fc.oneof(
  { arbitrary: fc.constant(undefined), weight: 60 },
  { arbitrary: fc.constant(10), weight: 1 },
);
const framing = fc.oneof(
  { arbitrary: fc.nat(SMALL_FRAMINGS - 1), weight: 4 },
  { arbitrary: fc.integer({ min: SMALL_FRAMINGS, max: SMALL_FRAMINGS + 2 }), weight: 1 },
);
const options = fc.record<Omit<EndOptions, "framing">>({
  maxPending: fc.constantFrom(1, 100, 1024 * 1024),
  frameTimeout: timeout,
  writeTimeout: timeout,
});

/** Runs a course, and compares what came of it. */
async function run(
  framings: readonly [number, number],
  options: readonly [Omit<EndOptions, "framing">, Omit<EndOptions, "framing">],
  steps: Step[],
): Promise<void> {
  const clock = new Clock();
  const [a, b] = await socketpair();
  await using ends = new Ends(
    new End(a, clock, { ...options[0], framing: framings[0] }),
    new End(b, clock, { ...options[1], framing: framings[1] }),
  );
  const hasTimeouts = options.some((each) => each.frameTimeout ?? each.writeTimeout);
  for (const { end, act, n } of steps) {
    if (act === "pause") await pause(n, hasTimeouts);
    else {
      // Two disposals that both wait for the other to read take 5 seconds.
      const isAlone = ends.both[1 - end]!.closedAt < Infinity;
      ends.both[end].act(act === "dispose" && isAlone ? "close" : act, n);
    }
  }
  await Promise.all(ends.both.map((end) => end.finish()));
  await Promise.all(ends.both.map((end) => end.settled()));
  checkCourse(ends.both);
}

/** Both ends, which are closed also after a failure. */
class Ends implements AsyncDisposable {
  readonly both: readonly [End, End];

  constructor(...both: [End, End]) {
    this.both = both;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A channel stops its timers. A connection would only when a read that was given up has ended.
    for (const { phase, conn } of this.both) (phase.channel ?? conn).close();
    await Promise.all(this.both.map(({ conn }) => conn.closed));
  }
}

test(
  "messages() in any course of two ends: each message comes once, whole and in order",
  async () => {
    const courses = fc.tuple(
      // Mostly the same framing at both ends.
      fc.oneof(
        { arbitrary: framing.map((i) => [i, i] as const), weight: 5 },
        { arbitrary: fc.tuple(framing, framing), weight: 1 },
      ),
      fc.tuple(options, options),
      fc.array(step, { maxLength: 30, size: "max" }),
    );
    await runCourses(courses, (course) => run(...course));
  },
  { deadline: 600_000 },
);
