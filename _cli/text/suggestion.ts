/** Suggestions for a word that is not known. */

/** The most changes between a word and the one that it may stand for. */
const MAX_CHANGES = 2;

/**
 * Returns a question that names the known words nearest to a word; an empty text if none is near.
 */
export function didYouMean(word: string, known: readonly string[]): string {
  for (let changes = 1; changes <= MAX_CHANGES; changes++) {
    const near = known.filter((name) => isNear(word, name, changes));
    if (near.length > 0) return `. Did you mean ${near.join(" or ")}?`;
  }
  return "";
}

/**
 * Reports whether so many letters inserted, removed, replaced or swapped make one word the other.
 */
function isNear(from: string, to: string, changes: number): boolean {
  if (from === to) return true;
  if (changes === 0) return false;
  let same = 0;
  while (from[same] === to[same]) same++;
  const [a, b] = [from.slice(same), to.slice(same)];
  const isSwapped = a[0] === b[1] && a[1] === b[0];
  return isNear(a.slice(1), b, changes - 1) || isNear(a, b.slice(1), changes - 1) ||
    isNear(a.slice(1), b.slice(1), changes - 1) ||
    isSwapped && isNear(a.slice(2), b.slice(2), changes - 1);
}
