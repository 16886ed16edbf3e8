/** Lock files on disk, for tests. */

/** Returns the content of a process's lock, with the inode of a socket published by rename. */
export function lockContent(pid: number, published?: number | null): string {
  const line = published === undefined ? "" : `published ${published}\n`;
  return `uds socket lock\n${pid}\n${line}`.padEnd(498) + "\n";
}

/** Writes a lock file as a killed process leaves it. */
export function leaveLock(path: string, pid: number, published?: number | null): void {
  Deno.writeTextFileSync(path, lockContent(pid, published), { mode: 0o700 });
}

/** Returns the pid in a lock file. */
export function pidIn(path: string): number {
  return Number(Deno.readTextFileSync(path).split("\n")[1]);
}
