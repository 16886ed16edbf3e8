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

/** The attacker's program: swaps a valid lock and a fifo as fast as it can. */
export const EXCHANGE = `
import os, sys, threading
lock, other = sys.argv[1], sys.argv[1] + ".other"
os.umask(0)
with open(lock, "w") as file: file.write(sys.argv[2])
os.chmod(lock, 0o777)
print("ready", flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    os.rename(lock, other)
    os.mkfifo(lock, 0o777)
    os.unlink(lock)
    os.rename(other, lock)
`;
