/** How values are spread. */

/** Values from one on, up to that of the next bin. */
export interface Bin {
  from: number;
  count: number;
}

/** Bins to a doubling: enough to show a shape, and few enough to fit a terminal. */
const BINS_PER_DOUBLING = 2;

/** The bins of sorted values, each wider than the one before by the same factor; none left out. */
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

/** The value that a share of sorted values does not exceed. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}
