import { pair } from "@uds/uds";
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { denoArgs, encode, fixture, Program, readText, run, TempDir, test } from "./_helpers.ts";

const flags = ["--allow-run=sh", "--allow-env"];

// ---- Signals without a name ------------------------------------------------------------------

for (const number of [34, 50, 64]) {
  test(
    `child.status reports realtime signal ${number} as a code, and the parent lives`,
    async () => {
      await using parent = fixture("pair_status.ts", flags, [`kill -${number} $$`]);
      const expected = { success: false, code: 128 + number, signal: null };
      assertEquals(await parent.output(), [JSON.stringify(expected)]);
      assertEquals(await parent.stderr(), "");
      assertEquals((await parent.status).code, 0);
    },
    { needs: ["sh"] },
  );
}

test("child.status reports of each of 20 children its own realtime signal, also at once", async () => {
  const numbers = Array.from({ length: 20 }, (_, i) => 34 + i);
  const children = await Promise.all(
    numbers.map((number) => pair("sh", { args: ["-c", `read x <&3; kill -${number} $$`] })),
  );
  await using other = await pair("sh", { args: ["-c", "read x <&3; exit 3"] });
  for (const child of [...children, other]) child.conn.write(encode("\n"));
  const codes = await Promise.all(children.map(async (child) => (await child.status).code));
  assertEquals(codes, numbers.map((number) => 128 + number));
  assertEquals((await other.status).code, 3);
  await Promise.all(children.map((child) => child[Symbol.asyncDispose]()));
});

test("pair() keeps what a child sent before a realtime signal ended it", async () => {
  await using child = await pair("sh", {
    args: ["-c", "echo last >&3; echo said; kill -40 $$"],
    stdout: "piped",
  });
  assertEquals(await child.status, { success: false, code: 168, signal: null });
  assertEquals(await readText(child.conn), "last\n");
  assertEquals(await new Response(child.stdout).text(), "said\n");
});

test("pair(module) survives a module that a realtime signal ends, and disposal is prompt", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("m.ts"), "setInterval(() => {}, 1000);");
  await using child = await pair(new URL(`file://${dir.file("m.ts")}`), { grace: 20_000 });
  assertEquals((await run("sh", ["-c", `kill -35 ${child.pid}`])).code, 0);
  assertEquals(await child.status, { success: false, code: 163, signal: null });
});

test("pair() leaves alone the rejections that are not those of its children", async () => {
  await using program = fixture("pair_rejections.ts", flags);
  assertEquals(await program.output(), ["Invalid signal: 34", "Invalid signal: 36", "1"]);
  assertEquals([await program.stderr(), (await program.status).code], ["", 0]);
});

// ---- What cannot be started ------------------------------------------------------------------

/** How a start fails. */
async function refusal(command: string): Promise<Error & { code?: string; operation?: string }> {
  return await assertRejects(() => pair(command), Error);
}

test("pair() names the interpreter of a script whose first line ends with a carriage return", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("script"), "#!/bin/sh\r\n", { mode: 0o755 });
  const error = await refusal(dir.file("script"));
  assertInstanceOf(error, Deno.errors.NotFound);
  assertEquals(
    error.message,
    `Cannot start "${
      dir.file("script")
    }": its first line names an interpreter that does not exist, ` +
      `"/bin/sh\\r". Save the file with LF line endings`,
  );
});

test("pair() starts a script whose interpreter has an argument, behind blanks", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("script"), "#! \t/bin/sh -e\necho ran >&3\n", { mode: 0o755 });
  await using child = await pair(dir.file("script"));
  assertEquals(await readText(child.conn), "ran\n");
});

test("pair() of a fifo is refused at once, also if it takes the place of a program", async () => {
  await using dir = new TempDir();
  const path = dir.file("program");
  assertEquals((await run("mkfifo", ["-m", "755", path])).code, 0);
  const error = await refusal(path);
  assertInstanceOf(error, Deno.errors.PermissionDenied);
  // Between the look and the reading of its first line.
  const stat = Deno.statSync;
  const regular = Deno.statSync(new URL(import.meta.url));
  Deno.statSync = (at) => at === path ? { ...regular, mode: 0o100755 } : stat(at);
  try {
    assertInstanceOf(await refusal(path), Deno.errors.PermissionDenied);
  } finally {
    Deno.statSync = stat;
  }
}, { needs: ["mkfifo"] });

test(
  "pair() and socketpair() without a free descriptor say so, with operation and code",
  async () => {
    const script = denoArgs("pair_no_descriptors.ts", ["-A"]).map((word) => `'${word}'`).join(" ");
    await using program = new Program("sh", [
      "-c",
      `ulimit -n 64; exec '${Deno.execPath()}' ${script}`,
    ]);
    const state = "this process has too many open files. Raise its limit (ulimit -n)";
    assertEquals((await program.output()).map((line) => JSON.parse(line)), [
      ["socketpair", "EMFILE", null, `Cannot make a socket pair: ${state}`],
      ["pair", "EMFILE", null, `Cannot start "true": ${state}`],
      ["pair", "EMFILE", null, `Cannot start "file:///m.ts": ${state}`],
    ]);
  },
  { needs: ["sh"] },
);

// ---- An environment that is not UTF-8 ----------------------------------------------------------

/** A program in a shell that has set a variable to a path of a directory, and of a name not UTF-8. */
function withByte(dir: TempDir, variable: string, args: string[]): Program {
  const words = [Deno.execPath(), ...denoArgs("pair_environment.ts", ["-A"], args)];
  const command = words.map((word) => `'${word}'`).join(" ");
  const script =
    `${variable}="${dir.path}/$(printf 'jos\\351')"; export ${variable}; exec ${command}`;
  // The cache of this process, so that nothing is compiled anew.
  const cache = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  return new Program("sh", ["-c", script], { env: { DENO_DIR: cache } });
}

test("pair() refuses to leave out a PATH that is not UTF-8, and takes another one", async () => {
  await using dir = new TempDir();
  await using program = withByte(dir, "PATH", ["sh"]);
  assertEquals(await program.output(), [
    `InvalidData: Cannot start "sh": the variable PATH is not UTF-8, and Deno cannot hand it on. ` +
    "Set another one, or pass one as env",
    "started",
  ]);
}, { needs: ["sh"] });

test("pair() leaves out a variable that is not UTF-8, and hands on the others", async () => {
  await using dir = new TempDir();
  await using program = withByte(dir, "UDS_ODD", ["sh"]);
  assertEquals(await program.output(), ["started", "started"]);
}, { needs: ["sh"] });

test("pair(module) refuses to lose Deno's cache by a HOME that is not UTF-8", async () => {
  await using dir = new TempDir();
  await using program = withByte(dir, "HOME", ["file:///m.ts"]);
  const [line] = await program.output();
  assertEquals(
    line,
    `InvalidData: Cannot start "file:///m.ts": the variable HOME is not UTF-8, and Deno cannot ` +
      "hand it on. Set another one, or pass one as env",
  );
}, { needs: ["sh"] });
