/** The listening sockets of this process that are not close-on-exec. */

/** The descriptors that every child would inherit. */
export const inheritable: Set<number> = new Set();

/**
 * Returns what a child gets at each of its descriptors.
 *
 * @param stdio What it gets at its first ones.
 * @param kept The held socket that it inherits, if any.
 * @returns The same, with a pipe in the place of each other listening socket.
 */
export function hidingSockets<Way>(
  stdio: readonly Way[],
  kept: number | undefined,
): (Way | "pipe" | "ignore")[] {
  const ways: (Way | "pipe" | "ignore")[] = [...stdio];
  for (const fd of inheritable) {
    if (fd === kept || fd < stdio.length) continue;
    // Node leaves a further descriptor that it should ignore as it is.
    while (ways.length < fd) ways.push("ignore");
    ways[fd] = "pipe";
  }
  return ways;
}
