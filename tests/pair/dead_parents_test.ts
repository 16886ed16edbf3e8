import { assert, assertEquals } from "@std/assert";
import { denoArgs, fixture, isPending, readText, test, testAlone } from "../_helpers.ts";
import { shell } from "./_pair.ts";

/** Reports whether a process is running. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

for (const name of ["a shell", "Deno", "Deno, waiting for closed"]) {
  test(`pair(): the child of a killed parent sees the end of file (${name})`, async () => {
    const mode = name === "Deno" ? "until-end" : "until-closed";
    const command = name === "a shell"
      ? ["sh", "-c", "echo ready; cat <&3; echo ended"]
      : [Deno.execPath(), ...denoArgs("pair_peer.ts", ["--deny-env"], [mode])];
    const flags = ["--allow-env", `--allow-run=${command[0]}`];
    await using parent = fixture("pair_parent.ts", flags, command);
    // The child shares the parent's standard output, so either line may come first.
    const [pid, ready] = [await parent.line(), await parent.line()].sort();
    try {
      assertEquals(ready, "ready");
      assert(isAlive(Number(pid)));
      parent.kill("SIGKILL");
      // The shared standard output outlives the parent.
      assertEquals(await parent.line(), "ended");
      assertEquals(await parent.output(), []);
      assertEquals((await parent.status).signal, "SIGKILL");
    } finally {
      if (isAlive(Number(pid))) Deno.kill(Number(pid), "SIGKILL");
    }
  });
}

testAlone(
  "child.status and dispose do not wait for a grandchild that holds the socket and the pipes",
  async () => {
    const start = performance.now();
    const child = await shell("sleep 20 & echo $! >&3; echo out; exit 3", { stdout: "piped" });
    const pid = Number(await readText(child.conn));
    try {
      assertEquals(await child.status, { success: false, code: 3, signal: null });
      assert(isAlive(pid));
      // There is no end of file while the grandchild runs.
      assert(await isPending(child.conn.read(new Uint8Array(1)).catch(() => {})));
      await child[Symbol.asyncDispose]();
      const taken = performance.now() - start;
      assert(taken < 2000, `it took ${taken} ms`);
      assert(isAlive(pid));
      await child.conn.closed;
    } finally {
      Deno.kill(pid, "SIGKILL");
    }
  },
);
