import { assertEquals, assertStringIncludes } from "@std/assert";
import { denoArgs, fixture, Program, TempDir, test } from "../_helpers.ts";

const HOWS = ["leave", "work", "exit"];

async function assertEnds(program: Program, how: string): Promise<void> {
  const [output, status] = await Promise.all([program.output(), program.status]);
  assertEquals({ output, code: status.code, stderr: await program.stderr() }, {
    output: [how],
    code: 0,
    stderr: "",
  });
}

for (const [way, name] of [["", "the event loop"], ["thread", "a thread"]] as const) {
  // All at once, because each takes a process and most of its time is the start.
  test(`a process that waits by ${name} ends when nothing keeps it alive`, async () => {
    await Promise.all(HOWS.map(async (how) => {
      await using program = fixture("native_wait.ts", ["-A"], [how, way]);
      await assertEnds(program, how);
    }));
  });
}

test("a thread waits where a policy forbids asynchronous I/O of the kernel", async () => {
  await using dir = new TempDir();
  const log = dir.file("log");
  const forbid = ["-e", "trace=io_setup", "-e", "inject=io_setup:error=EPERM", "-o", log];
  const command = [Deno.execPath(), ...denoArgs("native_wait.ts", ["-A"], ["leave"])];
  const args = ["-f", "-qq", "--seccomp-bpf", ...forbid, ...command];
  await using program = new Program("strace", args);
  await assertEnds(program, "leave");
  assertStringIncludes(Deno.readTextFileSync(log), "EPERM");
}, { needs: ["strace"] });
