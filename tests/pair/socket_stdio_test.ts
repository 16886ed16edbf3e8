import { json, lines, messages, pair, type PairOptions } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  decode,
  encode,
  fixture,
  MIB,
  openDescriptors,
  pseudoRandom,
  readAll,
  readText,
  test,
  turn,
} from "../_helpers.ts";
import { assertNoneLeft, assertSameBytes, errorOf, MODULE, textOf } from "./_pair.ts";

/** Starts a program with the connection as its standard input and output. */
function onStdio(command: string, args: string[] = [], options: PairOptions = {}) {
  return pair(command, { ...options, args, socket: "stdio" });
}

test('pair() with socket "stdio": bytes in both directions at once, with backpressure', async () => {
  await using child = await onStdio("cat");
  const data = pseudoRandom(3 * MIB, 7);
  const sending = child.conn.write(data).then(() => child.conn.closeWrite());
  assertSameBytes(await readAll(child.conn), data);
  await sending;
  await child.conn.closed;
  assertEquals(child.conn.bytesRead, data.length);
  assertEquals((await child.status).code, 0);
});

test('pair() with socket "stdio": questions and answers', async () => {
  await using child = await onStdio("sh", ["-c", "while read -r n; do echo $((n * n)); done"]);
  for (let n = 0; n < 100; n++) {
    await child.conn.write(encode(`${n}\n`));
    assertEquals(await readText(child.conn), `${n * n}\n`);
  }
});

test('pair() with socket "stdio": messages with a Python program', async () => {
  const script = "import json, sys\n" +
    'for line in sys.stdin: print(json.dumps({"got": json.loads(line)}), flush=True)';
  await using child = await onStdio("python3", ["-c", script]);
  const channel = messages<unknown>(child.conn, json(lines()));
  await channel.send({ id: 1 });
  assertEquals(await channel.receive(), { got: { id: 1 } });
}, { needs: ["python3"] });

test('pair() with socket "stdio": an answer after closeWrite() arrives whole', async () => {
  await using child = await onStdio("sh", ["-c", "wc -c; head -c 100000 /dev/zero"]);
  await child.conn.write(new Uint8Array(100_000));
  await child.conn.closeWrite();
  const [line, zeros] = decode(await readAll(child.conn)).split("\n");
  assertEquals(line?.trim(), "100000");
  assertEquals(zeros?.length, 100_000);
});

test('pair() with socket "stdio": what the child sent before its end is not lost', async () => {
  await using child = await onStdio("head", ["-c", "60000", "/dev/zero"]);
  await child.status;
  // Wait, so that the bytes would get lost if they were not kept.
  for (let i = 0; i < 20; i++) await turn();
  assertEquals((await readAll(child.conn)).length, 60_000);
});

test('pair() with socket "stdio": a child that ends its output goes on reading', async () => {
  await using child = await onStdio("sh", ["-c", "exec >&-; read -r line; echo $line >&2"], {
    stderr: "piped",
  });
  assertEquals(await child.conn.read(new Uint8Array(9)), null);
  await child.conn.write(encode("still here\n"));
  assertEquals(await textOf(child.stderr), "still here\n");
});

test('pair() with socket "stdio": a write to a child that ends its input rejects, and its output is read', async () => {
  await using child = await onStdio("sh", ["-c", "exec <&-; echo closed; exec sleep 60"]);
  assertEquals(await readText(child.conn), "closed\n");
  const error = await errorOf(child.conn.write(encode("late")));
  assert(error instanceof Deno.errors.BrokenPipe);
  assertEquals(decode((error as { unsent?: Uint8Array }).unsent ?? new Uint8Array()), "late");
  child.kill("SIGKILL");
  assertEquals(await child.conn.read(new Uint8Array(9)), null);
});

test('pair() with socket "stdio": the child has two pipes, and nothing at descriptor 3', async () => {
  // Without a pipeline, for which the shell itself opens descriptor 3.
  const script = "for n in 0 1 3; do readlink /proc/$$/fd/$n || :; done";
  await using child = await onStdio("sh", ["-c", script]);
  const links = decode(await readAll(child.conn)).replace(/:.*/g, "");
  assertEquals(links, "pipe\npipe\n");
});

for (
  const [stderr, parentGets] of [[undefined, "to stderr\n"], ["inherit", "to stderr\n"], [
    "null",
    "",
  ]] as const
) {
  test(`pair() with socket "stdio": standard error with ${stderr ?? "nothing said"}`, async () => {
    const options = { socket: "stdio", args: ["-c", "echo to stderr >&2; echo to conn"] };
    await using parent = fixture(
      "pair_use.ts",
      ["--allow-run=sh", "--allow-env"],
      ["sh", JSON.stringify({ ...options, ...(stderr && { stderr }) })],
    );
    assertEquals(await parent.output(), ["to conn", ""]);
    assertEquals(await parent.stderr(), parentGets);
  });
}

test('pair() with socket "stdio" needs no more permissions than without', async () => {
  const options = { socket: "stdio", clearEnv: true, args: ["-c", "echo to conn"] };
  await using parent = fixture(
    "pair_use.ts",
    ["--allow-run=/bin/sh", "--allow-env=NODE_V8_COVERAGE"],
    ["/bin/sh", JSON.stringify(options)],
  );
  assertEquals(await parent.output(), ["to conn", ""]);
});

test('child.stdin and child.stdout throw with socket "stdio", and name conn', async () => {
  await using child = await onStdio("cat");
  assertThrows(() => child.stdin, TypeError, "Cannot get stdin: it is a direction of the conn");
  assertThrows(() => child.stdout, TypeError, "Use conn");
  assertThrows(() => child.stderr, TypeError, 'stderr: "piped"');
});

for (
  const [name, command, options, message] of [
    ["stdin", "cat", { stdin: "piped" }, "stdin of the child is the connection. Leave out stdin"],
    ["stdout", "cat", { stdout: "inherit" }, "stdout of the child is the connection"],
    ["a module", MODULE, {}, "pair_plain.ts"],
    ["another word", "cat", { socket: "stdin" }, 'expected "descriptor" or "stdio", got "stdin"'],
  ] as [string, string | URL, PairOptions, string][]
) {
  test(`pair() with socket "stdio" refuses ${name}`, async () => {
    const starting = (async () => {
      await using _ = await pair(command, { socket: "stdio", ...options });
    })();
    await assertRejects(() => starting, TypeError, message);
  });
}

test('pair() with socket "stdio": disposal ends the input, and the child ends by itself', async () => {
  const child = await onStdio("cat", [], { grace: 60_000 });
  await child.conn.write(encode("unread"));
  await child[Symbol.asyncDispose]();
  assertEquals(await child.status, { success: true, code: 0, signal: null });
});

test('pair() with socket "stdio": disposal ends a child that does not heed the end of file', async () => {
  const child = await onStdio("sleep", ["60"], { grace: 10 });
  await child[Symbol.asyncDispose]();
  assertEquals((await child.status).signal, "SIGTERM");
});

test('pair() with socket "stdio": a child that is killed is the end of file', async () => {
  await using child = await onStdio("sleep", ["60"]);
  child.kill("SIGKILL");
  assertEquals(await child.conn.read(new Uint8Array(9)), null);
  // The kernel may close the child's output a moment before its input.
  await child.status;
  const error = await errorOf(child.conn.write(encode("late")));
  assert(error instanceof Deno.errors.BrokenPipe, `${error}`);
  await child.conn.closed;
});

test('pair() with socket "stdio": 50 children, one after the other, leave no descriptor', async () => {
  await using _warm = await onStdio("true");
  const before = openDescriptors();
  for (let i = 0; i < 50; i++) {
    await using child = await onStdio("cat");
    await child.conn.write(encode("x"));
    assertEquals(await readText(child.conn), "x");
  }
  assertNoneLeft(before);
});
