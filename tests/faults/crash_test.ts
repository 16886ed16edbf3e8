/**
 * # Crashes and failing calls
 *
 * The system calls come from a traced good run, so that none is missing. `strace` kills the process
 * at a call, or makes the call fail. The library has no hooks for this.
 */

import { connect } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { denoArgs, makeStale, run, TempDir, test } from "../_helpers.ts";
import { leaveLock } from "../_lock.ts";

/** A way to own a path. */
interface Way {
  how: "listen" | "claim" | "listenPackets";
  options: Record<string, unknown>;
}

const WAYS: Record<string, Way> = {
  "listen()": { how: "listen", options: {} },
  'listen({ publish: "rename" })': { how: "listen", options: { publish: "rename" } },
  "claim()": { how: "claim", options: {} },
  "listen({ createDirectory, verifyDirectory })": {
    how: "listen",
    options: { createDirectory: true, verifyDirectory: true },
  },
  "listenPackets()": { how: "listenPackets", options: {} },
};

/** What is at the path before. */
const BEFORE: Record<string, (path: string) => Promise<void>> = {
  "nothing there": async () => {},
  "a dead owner's files there": async (path) => {
    leaveLock(`${path}.lock`, 999999);
    await makeStale(path);
  },
};

/** One system call of a run, as strace counts it. */
interface Call {
  /** strace's options that select such calls. */
  filter: string[];
  name: string;
  when: number;
}

/** Returns strace's options for the names that an owner of the path uses. */
function namesOf(path: string): string[] {
  const names = [path, `${path}.lock`, `${path}.new`, `${path}.lock.new`];
  return names.flatMap((name) => ["-P", name]);
}

/** Calls that strace cannot select by a file: those of sockets, and of the process. */
const OTHERS = ["-e", "trace=bind,listen,connect,umask,fchmod"];

interface Outcome {
  lines: string[];
  killed: boolean;
}

/** Runs an owner under strace. */
async function own(path: string, { how, options }: Way, strace: string[]): Promise<Outcome> {
  const args = denoArgs("fault_owner.ts", ["-A"], [path, how, JSON.stringify(options)]);
  const { code, stdout, stderr } = await run("strace", [...strace, Deno.execPath(), ...args]);
  // strace ends with the signal that ended its program.
  const killed = code === 128 + 9;
  // strace prints a note if the path is a symbolic link.
  if (!killed) {
    assertEquals([code, stderr.replace(/^.*strace: Requested path .*\n/gm, "")], [0, ""]);
  }
  return { lines: stdout.split("\n").filter((line) => line !== ""), killed };
}

const QUIET = ["-f", "-qq"];

/** Returns the calls of a good run. */
async function callsOf(way: Way, before: keyof typeof BEFORE): Promise<Call[]> {
  const calls: Call[] = [];
  for (const isFiltered of [true, false]) {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await BEFORE[before]!(path);
    const filter = isFiltered ? namesOf(path) : OTHERS;
    const trace = dir.file("trace");
    const { lines } = await own(path, way, [...QUIET, "-o", trace, ...filter]);
    assertEquals(lines, ["ready", "closed"]);
    const counts = new Map<string, number>();
    for (const line of (await Deno.readTextFile(trace)).split("\n")) {
      const name = /^\d+ +([a-z_0-9]+)\(/.exec(line)?.[1];
      if (name === undefined) continue;
      const when = (counts.get(name) ?? 0) + 1;
      counts.set(name, when);
      calls.push({ filter: isFiltered ? namesOf("") : OTHERS, name, when });
    }
  }
  return calls;
}

/** Returns strace's options that inject a fault at one call. */
function injecting({ filter, name, when }: Call, path: string, what: string): string[] {
  const chosen = filter === OTHERS ? OTHERS : namesOf(path);
  return [...QUIET, "-o", "/dev/null", ...chosen, "-e", `inject=${name}:${what}:when=${when}`];
}

/** Asserts that the next owner gets the path, and leaves no file. */
async function assertNextStarts(dir: TempDir, path: string, way: Way, after: string) {
  const { code, stdout } = await run(
    Deno.execPath(),
    denoArgs("fault_owner.ts", ["-A"], [path, way.how, JSON.stringify(way.options)]),
  );
  assertEquals([code, stdout], [0, "ready\nclosed\n"], after);
  assertEquals(dir.list(), [], after);
}

for (const [name, way] of Object.entries(WAYS)) {
  for (const before of Object.keys(BEFORE)) {
    /**
     * Fault: The owner of a path is killed at any system call of claiming and releasing it
     * How: `strace -e inject=…:signal=SIGKILL` at each call
     * Then: The next start gets the path, and leaves no file
     */
    test(`SIGKILL at each call of ${name}, ${before}: the next start succeeds`, async () => {
      const calls = await callsOf(way, before);
      let killed = 0;
      for (const call of calls) {
        await using dir = new TempDir();
        const path = dir.file("a.sock");
        await BEFORE[before]!(path);
        const outcome = await own(path, way, injecting(call, path, "signal=SIGKILL"));
        if (outcome.killed) killed++;
        await assertNextStarts(dir, path, way, `after SIGKILL at ${call.name} ${call.when}`);
      }
      console.log(`${calls.length} calls, ${killed} kills`);
      assert(killed >= calls.length * 0.9, "hardly anything was killed");
    }, { needs: ["strace"], deadline: 180_000 });

    /**
     * Fault: Any of those calls fails: no space, no access, no descriptor, interrupted,
     * input/output error
     * How: `strace -e inject=…:error=…` at each call
     * Then: A clear error, or none. No file is left behind, and the next start gets the path
     */
    test(
      `every failing call of ${name}, ${before}: a clear error or none, and no file left`,
      async () => {
        const calls = await callsOf(way, before);
        let failures = 0;
        let runs = 0;
        // By POSIX umask cannot fail. Deno panics if it does.
        for (const call of calls.filter(({ name }) => name !== "umask")) {
          for (const code of ["ENOSPC", "EACCES", "EMFILE", "EINTR", "EIO"]) {
            await using dir = new TempDir();
            const path = dir.file("a.sock");
            await BEFORE[before]!(path);
            const where = `${code} of ${call.name} ${call.when}`;
            const outcome = await own(path, way, injecting(call, path, `error=${code}`));
            runs++;
            assert(!outcome.killed, where);
            const last = outcome.lines.at(-1)!;
            if (last !== "closed") {
              failures++;
              const error = JSON.parse(last);
              assertMatch(error.message, /^(Cannot|Invalid) .*"[^"]*a\.sock/, where);
              assertEquals(typeof error.operation, "string", where);
              assert(error.path.startsWith(path), where);
            }
            // Only a file that could not be removed at the end may remain, and the error reports
            // it.
            const isReported = last !== "closed" &&
              JSON.parse(last).message.startsWith("Cannot remove");
            if (before === "nothing there" && !isReported) assertEquals(dir.list(), [], where);
            await assertNextStarts(dir, path, way, `after ${where}`);
          }
        }
        console.log(`${runs} injected failures, ${failures} errors`);
        assert(failures > 0);
      },
      { needs: ["strace"], deadline: 300_000 },
    );
  }
}

/** What a killed start must leave untouched. */
const FOREIGN: Record<string, (path: string) => Promise<AsyncDisposable>> = {
  "a live server of this package": async (path) => {
    const { serve } = await import("@uds/uds");
    return await serve(path, async (conn) => {
      await conn.write(new TextEncoder().encode("here"));
    });
  },
  "a live server without a lock": (path) => {
    const listener = Deno.listen({ transport: "unix", path });
    const accepting = (async () => {
      for await (const conn of listener) {
        await conn.write(new TextEncoder().encode("here")).catch(() => {});
        conn.close();
      }
    })();
    return Promise.resolve({
      async [Symbol.asyncDispose]() {
        listener.close();
        await accepting;
      },
    });
  },
  "a regular file": async (path) => {
    await Deno.writeTextFile(path, "precious");
    return { async [Symbol.asyncDispose]() {} };
  },
  "a symbolic link": async (path) => {
    await Deno.symlink("/etc/hostname", path);
    return { async [Symbol.asyncDispose]() {} };
  },
};

for (const [name, open] of Object.entries(FOREIGN)) {
  /**
   * Fault: A start is killed while a live server, a file or a link is at the path
   * How: `strace`, at each call of the start
   * Then: What is at the path is unchanged
   */
  test(`SIGKILL at each call of a start leaves ${name} untouched`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using _foreign = await open(path);
    const before = await Deno.lstat(path);
    const way = WAYS["listen()"]!;
    const trace = `${dir.path}.trace`;
    try {
      await own(path, way, [...QUIET, "-o", trace, ...namesOf(path)]);
      const counts = new Map<string, number>();
      for (const line of (await Deno.readTextFile(trace)).split("\n")) {
        const call = /^\d+ +([a-z_0-9]+)\(/.exec(line)?.[1];
        if (call === undefined) continue;
        const when = (counts.get(call) ?? 0) + 1;
        counts.set(call, when);
        // A waiting start repeats its calls. One round of them is enough.
        if (when > 12) continue;
        const kill = injecting({ filter: [], name: call, when }, path, "signal=SIGKILL");
        await own(path, way, kill);
        const after = await Deno.lstat(path);
        assertEquals([after.ino, after.mode, after.size], [before.ino, before.mode, before.size]);
        if (!before.isSocket) continue;
        await using conn = await connect(path);
        assertEquals(await new Response(conn.readable).text(), "here");
      }
      assert(counts.size > 0);
    } finally {
      await Deno.remove(trace);
    }
  }, { needs: ["strace"], deadline: 120_000 });
}
