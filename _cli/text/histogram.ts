/** The distribution of values. */

/** The values from `from` on, up to the next bin. */
export interface Bin {
  from: number;
  count: number;
}

/** Bins for each doubling: enough to show a shape, few enough to fit a terminal. */
const BINS_PER_DOUBLING = 2;

/**
 * Returns the bins of sorted values, empty ones included. Each is wider than the last by the same
 * factor.
 */
export function histogram(sorted: readonly number[]): Bin[] {
  const bins: Bin[] = [];
  const binOf = (value: number) => Math.floor(Math.log2(Math.max(value, 1)) * BINS_PER_DOUBLING);
  const first = binOf(sorted[0] ?? 1);
  for (const value of sorted) {
    const bin = binOf(value);
    while (first + bins.length <= bin) {
      bins.push({ from: 2 ** ((first + bins.length) / BINS_PER_DOUBLING), count: 0 });
    }
    bins[bin - first]!.count++;
  }
  return bins;
}

/** Returns the value that a share of sorted values does not exceed. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}
