import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { spawn } from "node:child_process";
import { decode, encode, fixture, readAll, readText, run, test, turn } from "../_helpers.ts";
import { shell } from "./_pair.ts";

// Standard streams --------------------------------------------------------------------------------

test("child.stdout and child.stderr that were not read before the exit are not lost", async () => {
  const script = "head -c 60000 /dev/zero; head -c 50000 /dev/zero >&2";
  await using child = await shell(script, { stdout: "piped", stderr: "piped" });
  await child.status;
  // Wait, so that the bytes would get lost if they were not kept.
  for (let i = 0; i < 20; i++) await turn();
  assertEquals((await new Response(child.stdout).arrayBuffer()).byteLength, 60_000);
  assertEquals((await new Response(child.stderr).arrayBuffer()).byteLength, 50_000);
});

test("child.stdin: writing to a child that does not read rejects with BrokenPipe when it ends", async () => {
  await using child = await shell("exec 0<&-; echo ready >&3; read line <&3", { stdin: "piped" });
  assertEquals(await readText(child.conn), "ready\n");
  const writer = child.stdin.getWriter();
  writer.closed.catch(() => {});
  await assertRejects(() => writer.write(encode("late")), Deno.errors.BrokenPipe);
});

test("child.stdin.close() is the end of the child's input, while conn goes on", async () => {
  await using child = await shell("wc -c >&3; cat <&3 >&3", { stdin: "piped" });
  const writer = child.stdin.getWriter();
  await writer.write(new Uint8Array(100_000));
  await writer.close();
  assertEquals((await readText(child.conn))?.trim(), "100000");
  await child.conn.write(encode("still here"));
  assertEquals(await readText(child.conn), "still here");
});

for (const name of ["stdin", "stdout", "stderr"] as const) {
  for (const way of [undefined, "inherit", "null"] as const) {
    test(`child.${name} throws where it is ${way ?? "left out"}`, async () => {
      await using child = await shell("exit 0", way && { [name]: way });
      assertThrows(() => child[name], TypeError, `${name}: "piped"`);
    });
  }
}

/** Prints the descriptors of the shell and of its parent. */
const LINKS = 'for n in 0 1 2; do a="$a$(readlink /proc/$$/fd/$n) "; done; ' +
  'for n in 0 1 2; do b="$b$(readlink /proc/$PPID/fd/$n) "; done; printf "$a|$b" >&3';

for (
  const [name, way] of [["by default", undefined], ['"null"', "null"], [
    '"inherit"',
    "inherit",
  ]] as [string, "null" | "inherit" | undefined][]
) {
  test(`pair(): stdin, stdout and stderr ${name}`, async () => {
    const options = way === undefined ? {} : { stdin: way, stdout: way, stderr: way };
    await using parent = fixture(
      "pair_use.ts",
      ["--allow-run=sh", "--allow-env"],
      ["sh", JSON.stringify({ ...options, args: ["-c", LINKS] })],
      { stdin: "piped" },
    );
    const [child, own] = (await parent.line()).split("|").map((list) => list.trim().split(" "));
    assert(own!.every((link) => link.startsWith("pipe:")), `${own}`);
    const absent = "/dev/null";
    assertEquals(
      child,
      way === undefined
        ? [absent, own![1], own![2]]
        : way === "null"
        ? [absent, absent, absent]
        : own,
    );
  });
}

test("pair(): the child has the descriptors of any child, and the socket", async () => {
  // Some are inherited from the parent of this process.
  const script = 'n=0; while [ $n -lt 64 ]; do [ -e /proc/$$/fd/$n ] && l="$l $n"; ' +
    "n=$((n+1)); done; echo $l";
  const usual = (await run("sh", ["-c", script])).stdout.trim().split(" ");
  await using child = await shell(`${script} >&3; readlink /proc/$$/fd/3 >&3`);
  const [numbers, link] = decode(await readAll(child.conn)).split("\n");
  assertEquals(numbers?.split(" "), ["0", "1", "2", "3", ...usual.slice(3)]);
  assert(link?.startsWith("socket:"), link);
});

// Internals of Deno -------------------------------------------------------------------------------

test("the parent's end of an extra pipe still has the handle that pair() takes over", async () => {
  const child = spawn("true", { stdio: ["ignore", "ignore", "ignore", "pipe"], env: {} });
  const stream = child.stdio[3] as unknown as { _handle: { fd: number } | null };
  assertEquals(typeof stream._handle?.fd, "number");
  await new Promise((resolve) => child.once("close", resolve));
});

test("pair() works, more slowly, where that handle cannot be taken over", async () => {
  await using program = fixture("pair_without_handle.ts", ["--allow-run", "--allow-env"]);
  assertEquals(await program.line(), "taken from events");
  for (
    const what of ["8388608 bytes back and forth", "150000 bytes after the end", "null: the end"]
  ) {
    assertEquals(await program.line(), what);
  }
  assertEquals((await program.status).code, 0);
});
