import type { Child } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { MIB, openDescriptors, TempDir, test, testAlone } from "../_helpers.ts";
import { assertNoneLeft, errorOf, shell, textOf, trapping } from "./_pair.ts";

/** Disposes of a child. Returns how long that took, in milliseconds. */
async function disposalOf(child: Child): Promise<number> {
  const start = performance.now();
  await child[Symbol.asyncDispose]();
  return performance.now() - start;
}

testAlone("dispose ends the writing, and waits for a child that ends then", async () => {
  const child = await shell("cat <&3 >/dev/null; sleep 0.1; exit 5", { grace: 3000 });
  const taken = await disposalOf(child);
  assertEquals(await child.status, { success: false, code: 5, signal: null });
  assert(taken >= 90 && taken < 2000, `it took ${taken} ms`);
  await child.conn.closed;
});

testAlone("dispose sends SIGTERM after grace to a child that ignores the end of file", async () => {
  const child = await trapping(":", { grace: 150 });
  const taken = await disposalOf(child);
  assertEquals((await child.status).signal, "SIGTERM");
  assert(taken >= 145 && taken < 1500, `it took ${taken} ms`);
});

testAlone("dispose sends SIGKILL after grace twice to a child that traps SIGTERM", async () => {
  const child = await trapping("trap '' TERM", { grace: 150 });
  const taken = await disposalOf(child);
  assertEquals((await child.status).signal, "SIGKILL");
  assert(taken >= 295 && taken < 2000, `it took ${taken} ms`);
});

test("dispose ends a stopped child", async () => {
  const child = await trapping(":", { grace: 100 });
  child.kill("SIGSTOP");
  await disposalOf(child);
  assertEquals((await child.status).signal, "SIGKILL");
});

testAlone("dispose with grace 0 returns at once, and the child has ended", async () => {
  const child = await trapping("trap '' TERM", { grace: 0 });
  const taken = await disposalOf(child);
  assertEquals((await child.status).signal, "SIGKILL");
  assert(taken < 1000, `it took ${taken} ms`);
});

test("dispose with an endless grace waits for the child", async () => {
  const child = await shell("cat <&3 >/dev/null; exit 6", { grace: Infinity });
  await disposalOf(child);
  assertEquals((await child.status).code, 6);
});

testAlone("dispose of a child that has ended takes no time", async () => {
  const child = await shell("exit 0");
  await child.status;
  const taken = await disposalOf(child);
  assert(taken < 500, `it took ${taken} ms`);
});

test("dispose twice, at once and later, is the same disposal", async () => {
  const child = await trapping("trap '' TERM", { grace: 50 });
  const [once, twice] = [child[Symbol.asyncDispose](), child[Symbol.asyncDispose]()];
  await Promise.all([once, twice]);
  await child[Symbol.asyncDispose]();
  assertEquals((await child.status).signal, "SIGKILL");
});

test("dispose sends what is queued to a child that reads", async () => {
  await using dir = new TempDir();
  const child = await shell(`sleep 0.05; wc -c <&3 >'${dir.file("count")}'`);
  child.conn.write(new Uint8Array(2 * MIB));
  await disposalOf(child);
  assertEquals((await Deno.readTextFile(dir.file("count"))).trim(), `${2 * MIB}`);
});

test("dispose returns though the child reads nothing, and rejects what was queued", async () => {
  const child = await trapping(":", { grace: 100 });
  const writing = child.conn.write(new Uint8Array(2 * MIB));
  const rejected = errorOf(writing);
  await disposalOf(child);
  const error = await rejected;
  assertEquals(error.operation, "write");
  assert(error.unsent!.length > MIB, `${error.unsent!.length} bytes were unsent`);
});

test("dispose returns though the child floods and nothing reads", async () => {
  const child = await shell("exec cat /dev/zero >&3", { grace: 100 });
  await disposalOf(child);
  assertEquals((await child.status).signal, "SIGTERM");
});

testAlone("dispose ends a child that waits for the end of its standard input", async () => {
  const child = await shell("exec cat", { stdin: "piped", grace: 3000 });
  const taken = await disposalOf(child);
  assertEquals(await child.status, { success: true, code: 0, signal: null });
  assert(taken < 2000, `it took ${taken} ms`);
});

test("dispose leaves no descriptor, also of unused pipes", async () => {
  const before = openDescriptors();
  for (let i = 0; i < 5; i++) {
    const child = await shell("echo out; echo err >&2; echo more >&3", {
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    });
    await disposalOf(child);
  }
  assertNoneLeft(before);
});

for (const course of ["has read a line", "never reads"]) {
  test(`dispose closes an output if its reader ${course} and reads no more`, async () => {
    const before = openDescriptors();
    for (let i = 0; i < 5; i++) {
      const child = await shell("echo ready; head -c 200000 /dev/zero; cat <&3 >/dev/null", {
        stdout: "piped",
        grace: 50,
      });
      const reader = child.stdout.getReader();
      if (course === "has read a line") await reader.read();
      await disposalOf(child);
    }
    assertNoneLeft(before);
  });
}

test("dispose leaves an output to a slow reader, to its end", async () => {
  const child = await shell("head -c 200000 /dev/zero; exec 1>&-; cat <&3 >/dev/null", {
    stdout: "piped",
    grace: 200,
  });
  let count = 0;
  const slowly = (async () => {
    for await (const chunk of child.stdout) {
      count += chunk.length;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  await disposalOf(child);
  await slowly;
  assertEquals(count, 200_000);
});

test("dispose closes pipes that were only accessed, and leaves those that are being read", async () => {
  const before = openDescriptors();
  const child = await shell("echo out; echo err >&2; sleep 0.1; echo more", {
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
  void [child.stdin, child.stderr];
  const output = textOf(child.stdout);
  await disposalOf(child);
  assertEquals(await output, "out\nmore\n");
  assertNoneLeft(before);
});
