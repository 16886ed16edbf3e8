/**
 * Probes paths that another program changes, or that cannot be examined. The probes end, and do not
 * affect other paths.
 */

import { probe } from "@uds/uds";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { udsCommand } from "../_cli.ts";
import { changing, makeStale, Program, run, TempDir, test, within } from "../_helpers.ts";
import { leaveLock } from "../_lock.ts";

/** Starts a program that replaces the stale socket at a path again and again. */
async function exchanging(path: string): Promise<Program> {
  const script = `
import os, socket, sys, time
path = sys.argv[1]
other = path + ".other"
print("ready", flush=True)
while True:
    s = socket.socket(socket.AF_UNIX)
    s.bind(other)
    s.close()
    time.sleep(0.01)
    os.rename(other, path)
`;
  const program = new Program("python3", ["-c", script, path]);
  assertEquals(await program.line(), "ready");
  return program;
}

test("probe() ends where another program binds a new socket there again and again", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await makeStale(path);
  await using _program = await exchanging(path);
  assertEquals((await within(5000, probe(path))).state, "stale");
}, { needs: ["python3"] });

test("uds ls lists all other sockets where it cannot look at one", async () => {
  await using dir = new TempDir();
  const [a, b] = [dir.file("a.sock"), dir.file("b.sock")];
  await makeStale(a);
  await makeStale(b);
  leaveLock(`${a}.lock`, 1);
  const { code, stdout, stderr } = await run("strace", [
    ...["-P", `${a}.lock`, ...changing("flock:error=ENOLCK")],
    ...udsCommand(["ls", "--json", dir.path]),
  ]);
  const entries = JSON.parse(stdout) as { path: string; state: string }[];
  assertEquals(entries.map(({ path, state }) => [path, state]), [[a, "unknown"], [b, "unknown"]]);
  assertStringIncludes(stderr, "cannot lock files by flock");
  assertEquals(code, 1);
}, { needs: ["strace"] });
