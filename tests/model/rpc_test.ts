/**
 * Random courses of two ends that call each other, give up, refuse, fail, drain and leave. What
 * comes of each call is compared with a naive model.
 *
 * UDS_CASES sets the number of courses. UDS_SEED sets the seed: a failure prints its own.
 */

import { socketpair } from "@uds/uds";
import fc from "fast-check";
import { test } from "../_helpers.ts";
import { CallingEnd, type Limits } from "./_calls.ts";
import { checkCalls } from "./_calls_reference.ts";
import { runCourses, weighted } from "./_courses.ts";
import { RawEnd } from "./_raw_calls.ts";
import { Clock, pause, type Step } from "./_end.ts";

const step = fc.record<Step>({
  end: fc.constantFrom(0, 1),
  act: weighted({
    echo: 4,
    hold: 6,
    note: 4,
    refuse: 2,
    fail: 2,
    missing: 1,
    large: 1,
    bad: 1,
    ask: 2,
    callAborted: 5,
    abort: 2,
    callInTime: 1,
    release: 5,
    drain: 0.2,
    close: 0.6,
    dispose: 0.4,
    pause: 9,
  }),
  n: fc.nat(999),
});

const limits = fc.record<Limits>({
  maxConcurrent: fc.constantFrom(1, 3, 100),
  maxQueued: fc.constantFrom(1, 5, 1000, 1000),
  maxCalls: fc.constantFrom(3, 65536, 65536),
});

/** Runs a course, and compares what came of it. */
async function run(limits: readonly [Limits, Limits], steps: Step[]): Promise<void> {
  const clock = new Clock();
  const [a, b] = await socketpair();
  const ends = [new CallingEnd(a, clock, limits[0]), new CallingEnd(b, clock, limits[1])] as const;
  try {
    for (const { end, act, n } of steps) {
      if (act === "pause") await pause(n, false);
      // If both ends asked, each could wait for the other.
      else ends[act === "ask" ? 0 : end].act(act, n);
    }
    await Promise.all([ends[0].untilAborted(ends[1]), ends[1].untilAborted(ends[0])]);
    for (const end of ends) end.releaseAll();
    await Promise.all(ends.map((end) => end.finish()));
    checkCalls(ends);
  } finally {
    for (const { peer } of ends) peer.close();
    await Promise.all(ends.map(({ peer }) => peer.closed));
  }
}

test("rpc() in any course of two ends: each call settles once, with its own result", async () => {
  const courses = fc.tuple(
    fc.tuple(limits, limits),
    fc.array(step, { maxLength: 30, size: "max" }),
  );
  await runCourses(courses, (course) => run(...course));
}, { deadline: 600_000 });

const rawStep = fc.record({
  act: weighted({
    echo: 3,
    hold: 6,
    note: 3,
    refuse: 2,
    fail: 2,
    missing: 1,
    batch: 2,
    cancel: 4,
    closeWrite: 0.4,
    close: 0.2,
    "peer echo": 2,
    "peer hold": 3,
    "peer callAborted": 3,
    "peer abort": 1,
    "peer note": 2,
    "peer release": 5,
    "peer close": 0.2,
    "peer drain": 0.1,
    pause: 8,
  }),
  n: fc.nat(999),
});

/** Runs a course of an end and one that is written by hand. */
async function runRaw(limits: Limits, steps: { act: string; n: number }[]): Promise<void> {
  const clock = new Clock();
  const [a, b] = await socketpair();
  const end = new CallingEnd(a, clock, limits);
  const raw = new RawEnd(b, clock);
  try {
    for (const { act, n } of steps) {
      if (act === "pause") await pause(n, false);
      else if (act.startsWith("peer ")) end.act(act.slice(5), n);
      else raw.act(act, n);
    }
    end.releaseAll();
    await Promise.all([end.finish(), raw.finish(end)]);
    checkCalls([end, raw]);
  } finally {
    raw.close();
    end.peer.close();
    await end.peer.closed;
  }
}

test(
  "rpc() with a peer that half-closes at any moment: each request is answered once",
  async () => {
    const courses = fc.tuple(limits, fc.array(rawStep, { maxLength: 30, size: "max" }));
    await runCourses(courses, (course) => runRaw(...course));
  },
  { deadline: 600_000 },
);
