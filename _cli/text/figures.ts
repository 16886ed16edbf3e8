/** Measured figures, for people. */

import { type Bin, histogram, quantile } from "./histogram.ts";
import { inLocale } from "./locale.ts";

/** How long something took: a rate, and microseconds. */
export interface Times {
  readonly perSecond: number;
  readonly median: number;
  readonly p99: number;
  readonly longest: number;
  readonly histogram: Bin[];
}

/**
 * Returns the distribution of times.
 *
 * @param times In microseconds. They get sorted.
 * @param ms How long the measurement took.
 */
export function timesOf(times: number[], ms: number): Times {
  times.sort((a, b) => a - b);
  return {
    perSecond: rate(times.length, ms),
    median: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    longest: quantile(times, 1),
    histogram: histogram(times),
  };
}

/** Returns how many there were a second: a whole number, or at least two digits. */
export function rate(amount: number, ms: number): number {
  const perSecond = amount / ms * 1000;
  return perSecond < 10 ? Number(perSecond.toPrecision(2)) : Math.round(perSecond);
}

/** The widest bar of a histogram. */
const BAR_COLUMNS = 40;

/** Returns a line with the quantiles, and one for each bin. */
export function timeLines({ median, p99, longest, histogram }: Times): string[] {
  const most = Math.max(...histogram.map((bin) => bin.count));
  const bars = histogram.map((bin) => {
    const bar = inLocale("█", "#").repeat(Math.round(bin.count / most * BAR_COLUMNS)) ||
      (bin.count > 0 ? inLocale("▏", ".") : "");
    return `  ${time(bin.from).padStart(7)}  ${bar.padEnd(BAR_COLUMNS)}  ${count(bin.count)}`;
  });
  return [`  median ${time(median)}, 99 % below ${time(p99)}, longest ${time(longest)}`, ...bars];
}

/** Returns a number with its thousands separated. */
export function count(value: number): string {
  return Math.max(0, value).toLocaleString("en-US");
}

/** Returns a number of bytes. */
export function size(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(0)} MB`;
}

function time(us: number): string {
  return us < 1000 ? `${us.toFixed(0)} ${inLocale("µs", "us")}` : `${(us / 1000).toFixed(1)} ms`;
}
