/** The differences between two sequences of bytes. */

/** A range in which bytes differ. One of the two may end before the other. */
export interface Difference {
  /** The number of equal or compared bytes before it. */
  readonly offset: number;
  readonly expected: Uint8Array;
  readonly got: Uint8Array;
  /** Whether the other side was silent after what it sent there, and had not ended. */
  readonly isSilent?: boolean;
}

/** Ranges with fewer equal bytes between them count as one. */
const MIN_EQUAL_BYTES = 4;

/** Returns the ranges that differ, in order. The last one has what only one of the two has. */
export function differences(expected: Uint8Array, got: Uint8Array): Difference[] {
  const ranges: [from: number, to: number][] = [];
  const shorter = Math.min(expected.length, got.length);
  const longer = Math.max(expected.length, got.length);
  for (let at = 0; at < longer; at++) {
    if (at < shorter && expected[at] === got[at]) continue;
    const last = ranges.at(-1);
    const end = at < shorter ? at + 1 : longer;
    if (last !== undefined && at - last[1] < MIN_EQUAL_BYTES) last[1] = end;
    else ranges.push([at, end]);
    if (at >= shorter) break;
  }
  return ranges.map(([from, to]) => ({
    offset: from,
    expected: expected.subarray(from, to),
    got: got.subarray(from, to),
  }));
}
