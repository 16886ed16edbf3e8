import { type Child, inherited, type InheritedOptions, pair, type PairOptions } from "@uds/uds";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path/posix";
import {
  decode,
  denoArgs,
  encode,
  readAll,
  readText,
  ROOT,
  ROOT_URL,
  run,
  TempDir,
  test,
} from "../_helpers.ts";

const DENIED = ["--deny-env"];

/** Starts a Deno child without any permission. */
function peer(args: string[], options: PairOptions = {}): Promise<Child> {
  return pair(Deno.execPath(), { ...options, args: denoArgs("pair_peer.ts", DENIED, args) });
}

/** Waits, where a test is about time. */
function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Returns the outcome of adopting each descriptor. The program must end by itself. */
async function adopt(launcher: string[], descriptors: string[]): Promise<string[]> {
  const command = [...launcher, Deno.execPath(), ...denoArgs("pair_adopt.ts", DENIED, descriptors)];
  const { code, stdout, stderr } = await run(command[0]!, command.slice(1));
  assertEquals([code, stderr], [0, ""]);
  return stdout.trimEnd().split("\n");
}

/** Returns a shell command that opens a file at descriptor 3, and becomes the program. */
function opening(redirection: string): string[] {
  return ["sh", "-c", `exec ${redirection}; exec "$@"`, "sh"];
}

/** Returns a Python command that opens a descriptor of some kind at 3, and becomes the program. */
function launching(kind: string): string[] {
  return ["python3", join(ROOT, "tests/fixtures/pair_launch.py"), kind];
}

// Staying alive -----------------------------------------------------------------------------------

test("inherited() without a pending read allows the process to end", async () => {
  await using child = await peer(["idle"], { stdout: "piped" });
  assertEquals(await child.status, { success: true, code: 0, signal: null });
  assertEquals(await new Response(child.stdout).text(), "idle\n");
});

test("inherited(): a pending read keeps the process alive, until something comes", async () => {
  await using child = await peer(["wait"], { stdout: "piped" });
  const said = child.stdout.getReader();
  const next = async () => decode((await said.read()).value ?? new Uint8Array());
  assertEquals(await next(), "waiting\n");
  const ended = await Promise.race([child.status.then(() => true), pass(200)]);
  assertEquals(ended, undefined);
  await child.conn.write(encode("x"));
  assertEquals((await child.status).code, 0);
  assertEquals(await next(), "read\n");
});

test("inherited(): a pending read after unref() allows the process to end", async () => {
  await using child = await peer(["wait-unref"], { stdout: "piped" });
  assertEquals((await child.status).code, 0);
  assertEquals(await new Response(child.stdout).text(), "waiting\n");
});

test("inherited(): a write that is not awaited is sent before the process ends", async () => {
  await using child = await peer(["send-unawaited", `${4 * 1024 * 1024}`]);
  assertEquals((await readAll(child.conn)).length, 4 * 1024 * 1024);
  assertEquals((await child.status).code, 0);
});

test("inherited(): reads that are aborted lose no byte", async () => {
  const script = `
    import { inherited } from ${JSON.stringify(`${ROOT_URL}mod.ts`)};
    const conn = inherited();
    let text = "";
    for (let i = 0; text.length < 6; i++) {
      const controller = new AbortController();
      const buffer = new Uint8Array(2);
      const reading = conn.read(buffer, { signal: controller.signal }).catch(() => 0);
      if (i % 2 === 0) controller.abort();
      text += new TextDecoder().decode(buffer.subarray(0, await reading));
    }
    const last = new AbortController();
    const reading = conn.read(new Uint8Array(1), { signal: last.signal }).catch((error) => error);
    last.abort();
    await conn.write(new TextEncoder().encode(text + " " + (await reading).name));
  `;
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("child.ts"), script);
  const args = ["run", "--no-config", "--no-lock", dir.file("child.ts")];
  await using child = await pair(Deno.execPath(), { args });
  await child.conn.write(encode("abc"));
  await child.conn.write(encode("def"));
  assertEquals(await readText(child.conn), "abcdef AbortError");
  child.conn.close();
  assertEquals((await child.status).code, 0);
});

// Other parents -----------------------------------------------------------------------------------

test("inherited() works under a parent that is not Deno", async () => {
  assertEquals(await adopt(launching("a socket pair"), ["3"]), ["adopted"]);
}, { needs: ["python3"] });

test("inherited({ fd }) takes the descriptor that was agreed on", async () => {
  const moved = ["sh", "-c", 'exec 9<&3 3<&-; exec "$@"', "sh"];
  assertEquals(await adopt([...launching("a socket pair"), ...moved], ["9"]), ["adopted"]);
}, { needs: ["python3"] });

// Descriptors that are not sockets ----------------------------------------------------------------

/** Asserts that a line is the error of a refused descriptor. */
function assertRefused(line: string): void {
  const error = JSON.parse(line);
  assertEquals([error.class, error.operation, error.path], ["NotASocket", "inherited", null]);
  assertEquals(
    error.message,
    "Cannot take over descriptor 3: no connected Unix stream socket is open there. Start this " +
      "program with pair(), or pass the descriptor that the parent has agreed on",
  );
}

for (
  const [name, redirection] of [
    ["a closed descriptor", "3<&-"],
    ["a regular file", `3<"${join(ROOT, "deno.json")}"`],
    ["/dev/null", "3</dev/null"],
    ["/dev/zero", "3<>/dev/zero"],
    ["a directory", `3<"${ROOT}"`],
  ] as [string, string][]
) {
  test(`inherited() refuses ${name} with NotASocket`, async () => {
    const [line, ...more] = await adopt(opening(redirection), ["3"]);
    assertRefused(line!);
    assertEquals(more, []);
  });
}

for (
  const kind of [
    "a TCP socket",
    "a listening TCP socket",
    "a UDP socket",
    "a Unix datagram socket",
    "a Unix seqpacket socket",
  ]
) {
  test(`inherited() refuses ${kind} with NotASocket`, async () => {
    const [line, ...more] = await adopt(launching(kind), ["3"]);
    assertRefused(line!);
    assertEquals(more, []);
  }, { needs: ["python3"] });
}

test("inherited() leaves a TCP socket open", async () => {
  const script = `
    import { inherited } from ${JSON.stringify(`${ROOT_URL}mod.ts`)};
    for (let i = 0; i < 2; i++) {
      try { inherited(); } catch (error) { console.log(error.name); }
    }
    console.log(Deno.readLinkSync("/proc/self/fd/3").split(":")[0]);`;
  const flags = ["--quiet", "--config", `${ROOT}deno.json`, "--no-lock", "-A"];
  const url = `data:text/javascript,${encodeURIComponent(script)}`;
  const command = [...launching("a TCP socket"), Deno.execPath(), "run", ...flags, url];
  const { stdout, stderr } = await run(command[0]!, command.slice(1));
  assertEquals([stdout, stderr], ["NotASocket\nNotASocket\nsocket\n", ""]);
}, { needs: ["python3"] });

/** Prints the errors of the first read and write, where the adoption succeeds. */
const USE = `
import { inherited, isSocketError } from ${JSON.stringify(`${ROOT_URL}mod.ts`)};
try {
  const conn = inherited();
  for (const operation of ["write", "read"]) {
    const error = await conn[operation](new Uint8Array(1)).catch((error) => error);
    console.log(error.name, error.code, isSocketError(error) && error.operation === operation);
    if (operation === "read") console.log(error.message);
  }
  conn.close();
} catch (error) {
  console.log(error.name);
}`;

/** Runs that script with a file at descriptor 3. */
async function useOf(launcher: string[]): Promise<string[]> {
  const script = `data:text/javascript,${encodeURIComponent(USE)}`;
  const flags = ["--quiet", "--config", `${ROOT}deno.json`, "--no-lock", "--allow-read"];
  const command = [...launcher, Deno.execPath(), "run", ...flags, script];
  const { code, stdout, stderr } = await run(command[0]!, command.slice(1));
  assertEquals([code, stderr], [0, ""]);
  return stdout.trimEnd().split("\n");
}

// No public API distinguishes these from a connected socket: only the first use fails.
for (const kind of ["a listening Unix socket", "a Unix socket that is not connected"]) {
  test(
    `inherited() of ${kind} is refused with NotASocket by its first read and write`,
    async () => {
      assertEquals(await useOf(launching(kind)), [
        "NotASocket ENOTCONN true",
        "NotASocket EINVAL true",
        "Cannot read from the unnamed peer: the descriptor is not a connected Unix stream socket",
      ]);
    },
    { needs: ["python3"] },
  );
}

test(
  "inherited() of a FIFO to read from is refused with NotASocket by its first write",
  async () => {
    await using dir = new TempDir();
    const made = await run("mkfifo", [dir.file("fifo")]);
    assertEquals(made.code, 0);
    const path = dir.file("fifo");
    // Open both directions first, because opening one direction waits for the other.
    const said = await useOf(opening(`4<>'${path}' 3<'${path}' 4<&-`));
    assertEquals(said[0], "NotASocket EBADF true");
  },
  { needs: ["mkfifo"] },
);

test("inherited() takes a descriptor once: the second call fails with Busy", async () => {
  const [first, second, ...more] = await adopt(launching("a socket pair"), ["3", "3"]);
  assertEquals([first, more], ["adopted", []]);
  const error = JSON.parse(second!);
  assertEquals([error.class, error.operation, error.path], ["Busy", "inherited", null]);
  assertEquals(error.message, "Cannot take over descriptor 3: it was taken over before");
}, { needs: ["python3"] });

test("inherited() fails with Busy after the first connection was closed", async () => {
  const [first, second, ...more] = await adopt(launching("a socket pair"), ["-3", "3"]);
  assertEquals([first, more], ["adopted", []]);
  const error = JSON.parse(second!);
  assertEquals(error.class, "Busy");
}, { needs: ["python3"] });

test("inherited() is refused in a worker, which cannot know whether the main thread has it", async () => {
  const use = `
    import { inherited } from ${JSON.stringify(`${ROOT_URL}mod.ts`)};
    let said = "adopted";
    try { inherited(); } catch (error) { said = error.name + ": " + error.message; }
    if (globalThis.WorkerGlobalScope) postMessage(said);
    else {
      console.log(said);
      const worker = new Worker(import.meta.url, { type: "module" });
      worker.onmessage = ({ data }) => { console.log(data); worker.terminate(); };
    }`;
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("use.js"), use);
  await using child = await pair(Deno.execPath(), {
    args: ["run", "--quiet", "--config", `${ROOT}deno.json`, "--no-lock", "-A", dir.file("use.js")],
    stdout: "piped",
  });
  const [first, second] = (await new Response(child.stdout).text()).trimEnd().split("\n");
  assertEquals(first, "adopted");
  assertStringIncludes(
    second!,
    "NotSupported: Cannot take over descriptor 3: a worker cannot find out",
  );
});

test("inherited() refuses one descriptor and takes the next", async () => {
  const moved = ["sh", "-c", 'exec 9<&3 3</dev/null; exec "$@"', "sh"];
  const [refused, taken] = await adopt([...launching("a socket pair"), ...moved], ["3", "9"]);
  assertStringIncludes(refused!, "NotASocket");
  assertEquals(taken, "adopted");
}, { needs: ["python3"] });

test("inherited(): the connection is usable after a second adoption was refused", async () => {
  await using child = await pair(Deno.execPath(), {
    args: [
      ...denoArgs("pair_adopt.ts", DENIED, ["3", "3"]),
    ],
    stdout: "piped",
  });
  const lines = (await new Response(child.stdout).text()).trimEnd().split("\n");
  assertEquals([lines[0], JSON.parse(lines[1]!).class], ["adopted", "Busy"]);
  assertEquals(await readText(child.conn), null);
});

// Bad input ---------------------------------------------------------------------------------------

for (const fd of [-1, 1.5, NaN, Infinity, 2 ** 31]) {
  test(`inherited() refuses ${fd} for fd with a RangeError`, () => {
    const error = assertThrows(() => inherited({ fd }), RangeError, "Invalid fd");
    assertEquals(error.constructor, RangeError);
  });
}

for (
  const [name, options, message] of [
    ["a string for fd", { fd: "3" }, "Invalid fd: expected a number"],
    ["null for fd", { fd: null }, "Invalid fd: expected a number"],
    ["an unknown option", { descriptor: 3 }, '"descriptor"'],
    ["a number", 3, "expected an object"],
    ["null", null, "expected an object"],
  ] as [string, unknown, string][]
) {
  test(`inherited() refuses ${name} with a TypeError`, () => {
    const error = assertThrows(() => inherited(options as InheritedOptions), TypeError, message);
    assertEquals(error.constructor, TypeError);
  });
}

test("inherited() refuses a descriptor that is not open", () => {
  const error = assertThrows(() => inherited({ fd: 99_999 }), Error, "Cannot take over descriptor");
  assertEquals(error.name, "NotASocket");
});
