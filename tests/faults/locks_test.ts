/**
 * # Foreign locks
 */

import { assert, assertEquals } from "@std/assert";
import { denoArgs, fixture, Program, run, TempDir, test } from "../_helpers.ts";
import { EXCHANGE, lockContent } from "../_lock.ts";

const AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/** Returns everything that shows whether a file was touched, except its access time. */
function look(lock: string): Record<string, unknown> {
  const { dev, ino, mode, uid, size, mtime, ctime } = Deno.lstatSync(lock);
  return { dev, ino, mode, uid, size, mtime, ctime };
}

for (
  const [what, content] of [
    ["MySQL", "1234\n"],
    ["MUNGE", ""],
    ["PostgreSQL", "1234\n/var/lib/postgresql\n1700000000\n5432\n"],
  ] as const
) {
  /**
   * Fault: Another program's `<socket>.lock` is beside its live socket
   * How: A start is killed by `strace` at each call at the path or the lock
   * Then: The lock is unchanged, with its times
   */
  test(
    `SIGKILL at each call of a start leaves the lock of ${what} unchanged`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      const lock = `${path}.lock`;
      Deno.writeTextFileSync(lock, content);
      using _live = Deno.listen({ transport: "unix", path });
      const before = look(lock);
      const trace = `${dir.path}.trace`;
      const args = denoArgs("fault_owner.ts", ["-A"], [path, "listen", "{}"]);
      const files = ["-P", path, "-P", lock];
      const start = (strace: string[]) =>
        run("strace", ["-f", "-qq", ...strace, ...files, Deno.execPath(), ...args]);
      try {
        const { stdout } = await start(["-o", trace]);
        assertEquals(JSON.parse(stdout).name, "SocketInUse");
        const counts = new Map<string, number>();
        for (const [, call] of Deno.readTextFileSync(trace).matchAll(/^\d+ +([a-z_0-9]+)\(/gm)) {
          const when = (counts.get(call!) ?? 0) + 1;
          counts.set(call!, when);
          // A waiting start repeats its calls. One round of them is enough.
          if (when > 12) continue;
          const kill = `inject=${call}:signal=SIGKILL:when=${when}`;
          await start(["-o", "/dev/null", "-e", kill]);
          assertEquals(look(lock), before, kill);
        }
        assert(counts.size > 0);
      } finally {
        await Deno.remove(trace);
      }
    },
    { needs: ["strace"], deadline: 60_000 },
  );
}

/** Probes a path while another user swaps its lock. Returns the results. */
async function probeUnderAttack(
  flags: string[],
  calls: number,
  options: { connect?: boolean },
): Promise<{ states: Record<string, number>; longest: number; ticks: number }> {
  await using dir = new TempDir(0o1777);
  const path = dir.file("a.sock");
  await using attacker = new Program("setpriv", [
    ...[...AS_NOBODY, "/usr/bin/python3", "-c", EXCHANGE, `${path}.lock`, lockContent(1)],
  ], { stdin: "piped" });
  assertEquals(await attacker.line(), "ready");
  await using victim = fixture("lock_prober.ts", flags, [
    path,
    `${calls}`,
    JSON.stringify(options),
  ]);
  const found = JSON.parse(await victim.line());
  assertEquals((await victim.status).code, 0);
  await attacker.stdin.close();
  await attacker.status;
  return found;
}

/**
 * Fault: Another user exchanges the lock and a fifo
 * How: A loop of `rename`, `mkfifo`, `unlink` in a sticky directory
 * Then: `probe()` never hangs
 */
test(
  "probe() never hangs while another user exchanges the lock and a fifo, 10,000 calls",
  async () => {
    const { states, longest } = await probeUnderAttack(["-A"], 10_000, {});
    console.log(JSON.stringify(states), `the longest took ${longest} ms`);
    assert(longest < 1000);
  },
  { root: true, needs: ["setpriv", "python3"], deadline: 60_000 },
);

/**
 * Fault: The same, for a process that may only read
 * How: The same
 * Then: Each call returns in time, and the event loop keeps running
 */
test(
  "probe() with only read permission returns in time beside a fifo that does not open",
  async () => {
    const flags = ["--allow-read"];
    const { states, longest, ticks } = await probeUnderAttack(flags, 500, { connect: false });
    console.log(JSON.stringify(states), `the longest took ${longest} ms, ${ticks} ticks`);
    assert(longest < 3000);
    // The event loop keeps running meanwhile.
    assert(longest < 100 || ticks > 20);
  },
  { root: true, needs: ["setpriv", "python3"], deadline: 60_000 },
);
