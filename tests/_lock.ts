/** Lock files as they lie on the disk, for tests. */

/** The content of the lock of a process; with the inode of the socket that it has published by rename. */
export function lockContent(pid: number, published?: number | null): string {
  const line = published === undefined ? "" : `published ${published}\n`;
  return `uds socket lock\n${pid}\n${line}`.padEnd(498) + "\n";
}

/** Writes a lock file as a process leaves it that was killed. */
export function leaveLock(path: string, pid: number, published?: number | null): void {
  Deno.writeTextFileSync(path, lockContent(pid, published), { mode: 0o700 });
}

/** The pid in a lock file. */
export function pidIn(path: string): number {
  return Number(Deno.readTextFileSync(path).split("\n")[1]);
}
