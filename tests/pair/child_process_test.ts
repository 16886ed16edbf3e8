import { pair } from "@uds/uds";
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { denoArgs, fixture, Program, readText, run, TempDir, test } from "../_helpers.ts";
import { MODULE } from "./_pair.ts";

const flags = ["--allow-run=sh", "--allow-env"];

// ---- Signals without a name ---------------------------------------------------------------------

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

/** Returns what a program reports of children that realtime signals end. It must exit with 0. */
async function realtime(flags: string[], args: string[]): Promise<unknown> {
  await using parent = fixture("pair_realtime.ts", flags, args);
  const [line] = await parent.output();
  assertEquals([await parent.stderr(), (await parent.status).code], ["", 0]);
  return JSON.parse(line!);
}

test(
  "child.status reports of each of 20 children its own realtime signal, also at once",
  async () => {
    const [codes, other] = await realtime(flags, ["many"]) as [number[], number];
    const numbers = Array.from({ length: 20 }, (_, i) => 34 + i);
    assertEquals(codes, numbers.map((number) => 128 + number));
    assertEquals(other, 3);
  },
  { needs: ["sh"] },
);

test("pair() keeps what a child sent before a realtime signal ended it", async () => {
  assertEquals(await realtime(flags, ["sent"]), [
    { success: false, code: 168, signal: null },
    "last\n",
    "said\n",
  ]);
}, { needs: ["sh"] });

test(
  "pair(module) survives a module that a realtime signal ends, and disposal is prompt",
  async () => {
    await using dir = new TempDir();
    await Deno.writeTextFile(dir.file("m.ts"), "setInterval(() => {}, 1000);");
    const [killed, status] = await realtime(["-A"], ["module", dir.file("m.ts")]) as unknown[];
    assertEquals(killed, 0);
    assertEquals(status, { success: false, code: 163, signal: null });
  },
  { needs: ["sh"] },
);

test("pair() does not handle rejections that its children did not cause", async () => {
  await using program = fixture("pair_rejections.ts", flags);
  assertEquals(await program.output(), ["Invalid signal: 34", "Invalid signal: 36", "1"]);
  assertEquals([await program.stderr(), (await program.status).code], ["", 0]);
});

// ---- What cannot be started ---------------------------------------------------------------------

/** Returns the error of a start that fails. */
async function refusal(command: string): Promise<Error & { code?: string; operation?: string }> {
  return await assertRejects(() => pair(command), Error);
}

test("pair() names the interpreter of a script if its first line ends with a carriage return", async () => {
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

test("pair() starts a script with an interpreter that has an argument, behind blanks", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("script"), "#! \t/bin/sh -e\necho ran >&3\n", { mode: 0o755 });
  await using child = await pair(dir.file("script"));
  assertEquals(await readText(child.conn), "ran\n");
});

test("pair() of a fifo is refused at once, even if it takes the place of a program", async () => {
  await using dir = new TempDir();
  const path = dir.file("program");
  assertEquals((await run("mkfifo", ["-m", "755", path])).code, 0);
  const error = await refusal(path);
  assertInstanceOf(error, Deno.errors.PermissionDenied);
  // The exchange happens between the stat and the read of the first line.
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

// ---- An environment that is not UTF-8 -----------------------------------------------------------

/** A name that is not UTF-8, in a shell. */
const ODD = "$(printf 'jos\\351')";

/** The cache of this process, which saves compiling everything again. */
const CACHE = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;

/** Starts pair_environment.ts after a line of a shell. */
function after(line: string, args: string[]): Program {
  const words = [Deno.execPath(), ...denoArgs("pair_environment.ts", ["-A"], args)];
  const command = words.map((word) => `'${word}'`).join(" ");
  return new Program("sh", ["-c", `${line}; exec ${command}`], { env: { DENO_DIR: CACHE } });
}

/**
 * Starts a program with a variable that is a path in the directory with a name that is not UTF-8.
 */
function withByte(dir: TempDir, variable: string, args: string[]): Program {
  return after(`${variable}="${dir.path}/${ODD}"; export ${variable}`, args);
}

test(
  "pair() does not find a program in a directory of PATH that is not UTF-8, and takes another PATH",
  async () => {
    await using dir = new TempDir();
    await using program = withByte(dir, "PATH", ["sh"]);
    assertEquals(await program.output(), [
      'NotFound: Cannot start "sh": the program does not exist',
      "started",
    ]);
  },
  { needs: ["sh"] },
);

test("pair() leaves out a variable that is not UTF-8, and passes on the others", async () => {
  await using dir = new TempDir();
  await using program = withByte(dir, "UDS_ODD", ["sh"]);
  assertEquals(await program.output(), ["started", "started"]);
}, { needs: ["sh"] });

test("pair() keeps the directories of PATH that are UTF-8", async () => {
  await using dir = new TempDir();
  const odd = `${dir.path}/a\\b "c" é\u200b`;
  await Deno.mkdir(odd);
  await Deno.writeTextFile(`${odd}/tool`, "#!/bin/sh\nexit 0\n", { mode: 0o755 });
  const quoted = odd.replaceAll('"', '\\"').replaceAll("\\b", "\\\\b");
  const line = `PATH="/${ODD}:${quoted}:$PATH:/home/${ODD}/bin"; export PATH`;
  await using program = after(line, ["tool"]);
  assertEquals((await program.output())[0], "started");
}, { needs: ["sh"] });

test(
  "pair(module) starts with any variable that is not UTF-8, PATH and HOME included",
  async () => {
    const line = `HOME="/home/${ODD}"; PATH="$PATH:/home/${ODD}"; UDS_ODD="${ODD}"; ` +
      "export HOME PATH UDS_ODD";
    await using program = after(line, [MODULE.href]);
    assertEquals(await program.output(), ["started", "started"]);
  },
  { needs: ["sh"], deadline: 20_000 },
);

test("pair(module) refuses to lose a registry by a variable that is not UTF-8", async () => {
  await using dir = new TempDir();
  // DENO_DIR is set, and does not name the registry.
  await using program = withByte(dir, "JSR_URL", [MODULE.href]);
  const [line] = await program.output();
  assertEquals(
    line,
    `InvalidData: Cannot start "${MODULE.href}": the variable JSR_URL is not UTF-8, and Deno ` +
      "cannot hand it on. Set another one, or pass one as env",
  );
}, { needs: ["sh"] });

test("pair(module) refuses to lose Deno's cache by a HOME that is not UTF-8", async () => {
  await using dir = new TempDir();
  // The cache of this process is found by DENO_DIR, which the program removes for its child.
  await using program = withByte(dir, "HOME", ["file:///m.ts", "DENO_DIR"]);
  const [line] = await program.output();
  assertEquals(
    line,
    `InvalidData: Cannot start "file:///m.ts": the variable HOME is not UTF-8, and Deno cannot ` +
      "hand it on. Set another one, or pass one as env",
  );
}, { needs: ["sh"] });
