/** Medians and spreads. */

/** The median and the middle half of some figures, and their number. */
export interface Spread {
  median: number;
  /** A quarter of the figures are below this. */
  low: number;
  /** A quarter of the figures are above this. */
  high: number;
  count: number;
}

/** Returns the spread of at least one figure. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): number => {
    const place = part * (sorted.length - 1);
    const low = sorted[Math.floor(place)] as number;
    const high = sorted[Math.ceil(place)] as number;
    return low + (high - low) * (place - Math.floor(place));
  };
  return { median: at(0.5), low: at(0.25), high: at(0.75), count: sorted.length };
}
