import {
  type Child,
  type Connection,
  ConnectionClosed,
  isSocketError,
  pair,
  type PairOptions,
  permissionFlags,
  permissions,
  type SocketError,
} from "@uds/uds";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { spawn } from "node:child_process";
import { join } from "@std/path/posix";
import {
  decode,
  denoArgs,
  encode,
  fixture,
  pseudoRandom,
  readAll,
  readText,
  ROOT,
  run,
  TempDir,
  test,
  testAlone,
} from "../_helpers.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** A fixture's path. */
function file(name: string): string {
  return join(ROOT, "tests/fixtures", name);
}

/** A path as a URL. */
function toFileUrl(path: string): URL {
  return new URL(path, "file:///");
}

/** A module that needs nothing. */
const MODULE = toFileUrl(file("pair_plain.ts"));

/** A shell with a script as the child. */
function shell(script: string, options: PairOptions = {}): Promise<Child> {
  return pair("sh", { ...options, args: ["-c", script, "sh", ...options.args ?? []] });
}

/** A Python child. */
function python(args: string[], options: PairOptions = {}): Promise<Child> {
  return pair("python3", { ...options, args: [file("pair_peer.py"), ...args] });
}

/** One turn of the event loop: what was ready has been handled. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Lets time pass, where that is what is tested. */
function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when the kernel takes no more: nothing was written for some turns of the event loop. */
async function untilFull(conn: Connection): Promise<void> {
  for (let quiet = 0, seen = -1; quiet < 20;) {
    await turn();
    quiet = conn.bytesWritten === seen ? quiet + 1 : 0;
    seen = conn.bytesWritten;
  }
}

/** 32-bit numbers from 0 up, little endian: what a fixture sends. */
function numbers(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.from({ length: bytes / 4 }, (_, i) => i).buffer);
}

/** Fails without a listing of a million bytes where they differ. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`byte ${i} of ${expected.length} differs`);
  }
}

/** The SHA-1 of bytes, in hexadecimal. */
async function sha1(...chunks: Uint8Array<ArrayBuffer>[]): Promise<string> {
  const all = await new Blob(chunks).arrayBuffer();
  return new Uint8Array(await crypto.subtle.digest("SHA-1", all)).toHex();
}

/** What a promise rejects with, which must have the shape of this package's errors. */
async function errorOf(promise: Promise<unknown>): Promise<SocketError> {
  const error = await assertRejects(() => promise, Error);
  assert(isSocketError(error), `${error} has no operation and path`);
  return error;
}

/** All of a stream, as text. */
function textOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  return new Response(stream).text();
}

/** How many descriptors this process has open. */
function openDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Fails if many are open that were not before. Deno opens two or three of its own at any time. */
function assertNoneLeft(before: number): void {
  const left = openDescriptors() - before;
  assert(left < 5, `${left} descriptors are left`);
}

/** The processes that this one has started and that are still there, dead ones included. */
function children(): string[] {
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) => {
    const list = Deno.readTextFileSync(`/proc/self/task/${name}/children`);
    return list.split(" ").filter((pid) => pid !== "");
  });
}

/** Whether a process runs. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

/** How a promise stands, without waiting for it. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  const settle = () => void (pending = false);
  promise.then(settle, settle);
  for (let i = 0; i < 5; i++) await turn();
  return pending;
}

// Bytes -------------------------------------------------------------------------------------------

for (const when of ["at once", "after the child has ended"]) {
  test(`pair() loses nothing of 200,000 bytes and the exit, read ${when}`, async () => {
    await using child = await python(["send", "200000"]);
    if (when !== "at once") assertEquals((await child.status).code, 0);
    assertSameBytes(await readAll(child.conn), numbers(200_000));
    assertEquals((await child.status).code, 0);
  }, { needs: ["python3"] });
}

test("pair() loses nothing of all that the kernel holds at the child's exit", async () => {
  await using child = await python(["fill"], { stdout: "piped" });
  assertEquals((await child.status).code, 0);
  // Time in which it would be thrown away.
  for (let i = 0; i < 20; i++) await turn();
  const sent = Number(await textOf(child.stdout));
  assert(sent > 100_000 && sent < MIB, `the kernel took ${sent} bytes`);
  assertSameBytes(await readAll(child.conn), numbers(sent));
}, { needs: ["python3"] });

test("pair() loses nothing of a child that a SIGKILL ended, read afterwards", async () => {
  await using child = await shell("printf hello >&3; kill -KILL $$");
  assertEquals((await child.status).signal, "SIGKILL");
  assertEquals(decode(await readAll(child.conn)), "hello");
});

test(
  "pair() holds back a child that writes 8 MiB to a slow and late reader, and loses nothing",
  async () => {
    await using child = await python(["send", `${8 * MIB}`]);
    // The child writes into nobody's reading for a while.
    await pass(200);
    assert(await isPending(child.status), "the child was not held back");
    const data = numbers(8 * MIB);
    const buffer = new Uint8Array(37_000);
    let end = 0;
    for (let reads = 0;; reads++) {
      const count = await child.conn.read(buffer);
      if (count === null) break;
      assertSameBytes(buffer.subarray(0, count), data.subarray(end, end + count));
      end += count;
      if (reads % 8 === 0) await turn();
    }
    assertEquals(end, data.length);
    assertEquals((await child.status).code, 0);
  },
  { needs: ["python3"] },
);

test("child.conn.write() is held back by a child that stalls, and everything arrives", async () => {
  await using child = await shell("read line; wc -c <&3", { stdin: "piped", stdout: "piped" });
  let resolved = 0;
  for (let i = 0; i < 64; i++) {
    child.conn.write(new Uint8Array(64 * KIB)).then((count) => resolved += count);
  }
  const ending = child.conn.closeWrite();
  await untilFull(child.conn);
  assert(resolved < MIB, `${resolved} bytes were taken, and none were read`);
  const writer = child.stdin.getWriter();
  await writer.write(encode("go\n"));
  await ending;
  assertEquals((await textOf(child.stdout)).trim(), `${4 * MIB}`);
  assertEquals(resolved, 4 * MIB);
});

test("child.conn.write() of eight writers at once is whole, unmixed and in call order", async () => {
  await using child = await shell("exec cat <&3 >&3");
  const { conn } = child;
  const writes: number[] = [];
  const writers = Array.from({ length: 8 }, async (_, id) => {
    for (let i = 0; i < 20; i++) {
      const size = 1 + ((id * 7919 + i * 104_729) % 90_000);
      writes.push(id, size);
      assertEquals(await conn.write(new Uint8Array(size).fill(id)), size);
    }
  });
  const [received] = await Promise.all([
    readAll(conn),
    Promise.all(writers).then(() => conn.closeWrite()),
  ]);
  let at = 0;
  for (let i = 0; i < writes.length; i += 2) {
    const [id, size] = [writes[i]!, writes[i + 1]!];
    for (const end = at + size; at < end; at++) {
      if (received[at] !== id) throw new Error(`byte ${at} is not of writer ${id}`);
    }
  }
  assertEquals(at, received.length);
});

test("child.conn.read() serves several calls at once first come, first served", async () => {
  await using child = await shell("exec cat <&3 >&3");
  const buffers = [2, 3, 1].map((length) => new Uint8Array(length));
  const reads = buffers.map((buffer) => child.conn.read(buffer));
  await child.conn.write(encode("aabbbcrest"));
  assertEquals(await Promise.all(reads), [2, 3, 1]);
  assertEquals(buffers.map(decode), ["aa", "bbb", "c"]);
  assertEquals(await readText(child.conn), "rest");
});

test("child.conn.read() gives null to all who wait when the child ends", async () => {
  await using child = await shell("read line");
  const reads = [1, 2, 3].map(() => child.conn.read(new Uint8Array(1)));
  child.kill();
  assertEquals(await Promise.all(reads), [null, null, null]);
});

test(
  "child.conn.write() to a child that has ended rejects with BrokenPipe; what it had sent is there",
  async () => {
    await using child = await python(["send", "120000"]);
    await child.status;
    const data = pseudoRandom(2 * MIB, 3);
    const error = await errorOf(child.conn.write(data));
    assertInstanceOf(error, Deno.errors.BrokenPipe);
    assertEquals([error.operation, error.path, error.code], ["write", null, "EPIPE"]);
    assertEquals(
      error.message,
      "Cannot write to the unnamed peer: the peer has closed the connection",
    );
    assertInstanceOf(error.cause, Deno.errors.BrokenPipe);
    assertSameBytes(error.unsent!, data);
    assertSameBytes(await readAll(child.conn), numbers(120_000));
    await child.conn.closed;
  },
  { needs: ["python3"] },
);

test("child.conn.write() again after BrokenPipe rejects likewise; closeWrite() resolves", async () => {
  await using child = await shell("printf rest >&3");
  await child.status;
  for (let i = 0; i < 3; i++) {
    const error = await errorOf(child.conn.write(encode("late")));
    assertInstanceOf(error, Deno.errors.BrokenPipe);
    assertEquals(error.unsent, encode("late"));
  }
  await child.conn.closeWrite();
  assertEquals(await readText(child.conn), "rest");
  assertEquals(await readText(child.conn), null);
});

test(
  "child.conn.write() that is half done when the child leaves tells what the kernel did not take",
  async () => {
    await using child = await python(["take", "300000"]);
    const data = pseudoRandom(4 * MIB, 4);
    const error = await errorOf(child.conn.write(data));
    assertEquals([error.operation, error.path], ["write", null]);
    const unsent = error.unsent!;
    assertSameBytes(unsent, data.subarray(data.length - unsent.length));
    assertEquals(child.conn.bytesWritten, data.length - unsent.length);
    assert(
      unsent.length >= data.length - 300_000 - MIB,
      "more counts as sent than the kernel holds",
    );
    assert(unsent.length < data.length, "nothing counts as sent, and the child has read");
  },
  { needs: ["python3"] },
);

test("child.conn.read() rejects with ConnectionReset when the child left with bytes unread, after what it sent", async () => {
  await using child = await shell("read line; printf bye >&3", { stdin: "piped" });
  await child.conn.write(encode("unread"));
  await child.stdin.getWriter().write(encode("go\n"));
  await child.status;
  assertEquals(await readText(child.conn), "bye");
  const error = await errorOf(child.conn.read(new Uint8Array(1)));
  assertInstanceOf(error, Deno.errors.ConnectionReset);
  assertEquals([error.operation, error.path, error.code], ["read", null, "ECONNRESET"]);
  await child.conn.closed;
});

test("child.conn.close() rejects pending reads, and queued writes with what was not sent", async () => {
  await using child = await shell("read line; wc -c <&3", { stdin: "piped", stdout: "piped" });
  const { conn } = child;
  const data = [700_000, 1, 300_000, 5].map((length, i) => pseudoRandom(length, i + 1));
  const reading = conn.read(new Uint8Array(1));
  const writes = data.map((piece) => conn.write(piece));
  await untilFull(conn);
  conn.close();
  await conn.closed;
  const read = await errorOf(reading);
  assertInstanceOf(read, ConnectionClosed);
  assertEquals([read.operation, read.path, read.unsent], ["read", null, undefined]);
  let unsent = 0;
  for (const [i, write] of writes.entries()) {
    const error = await errorOf(write);
    assertInstanceOf(error, ConnectionClosed);
    const piece = data[i]!;
    assertSameBytes(error.unsent!, piece.subarray(piece.length - error.unsent!.length));
    unsent += error.unsent!.length;
  }
  await child.stdin.getWriter().write(encode("go\n"));
  const received = Number(await textOf(child.stdout));
  const missing = 1_000_006 - received - unsent;
  assert(received > 0, "nothing was sent");
  assert(missing <= 0, `${missing} bytes were neither received nor told to be unsent`);
  // Of the slice that was under way nobody knows how much the kernel took.
  assert(missing >= -256 * KIB, `${-missing} bytes were received and told to be unsent`);
});

test("child.conn.close() at any moment: what the child got and what was unsent is everything", async () => {
  const sizes = [90_000, 250_000, 3, 400_000];
  for (let round = 0; round < 24; round++) {
    await using child = await shell("wc -c <&3", { stdout: "piped" });
    const writes = sizes.map((size) => child.conn.write(new Uint8Array(size)));
    for (let i = 0; i < round % 12; i++) await (round % 2 ? turn() : Promise.resolve());
    child.conn.close();
    let unsent = 0;
    for (const result of await Promise.allSettled(writes)) {
      if (result.status === "rejected") unsent += result.reason.unsent.length;
    }
    const missing = 740_003 - Number(await textOf(child.stdout)) - unsent;
    assert(missing <= 0, `round ${round}: ${missing} bytes are neither received nor unsent`);
  }
});

test("await using of child.conn sends what is queued before it closes", async () => {
  await using child = await shell("wc -c <&3", { stdout: "piped" });
  {
    await using conn = child.conn;
    conn.write(new Uint8Array(3 * MIB));
  }
  assertEquals((await textOf(child.stdout)).trim(), `${3 * MIB}`);
});

// Streams -----------------------------------------------------------------------------------------

test("child.conn.readable.pipeTo(child.conn.writable) is an echo server", async () => {
  await using child = await python(["reflect", `${8 * MIB}`], { stdout: "piped" });
  await child.conn.readable.pipeTo(child.conn.writable);
  await child.conn.closed;
  assertEquals(await textOf(child.stdout), "same\n");
  assertEquals((await child.status).code, 0);
}, { needs: ["python3"] });

test("child.conn: a stream through a child as a filter", async () => {
  await using child = await shell("exec tr a-z A-Z <&3 >&3");
  const source = new Blob(["hello ".repeat(100_000)]).stream();
  const [text] = await Promise.all([
    textOf(child.conn.readable),
    source.pipeTo(child.conn.writable),
  ]);
  assertEquals(text, "HELLO ".repeat(100_000));
});

test("inherited() in Deno: readable.pipeTo(writable) echoes and ends", async () => {
  await using child = await pair(Deno.execPath(), {
    args: denoArgs("pair_echo.ts", ["--deny-env"]),
  });
  const data = pseudoRandom(3 * MIB, 5);
  const [back] = await Promise.all([
    readAll(child.conn),
    child.conn.write(data).then(() => child.conn.closeWrite()),
  ]);
  assertSameBytes(back, data);
  assertEquals(await child.status, { success: true, code: 0, signal: null });
});

test("child.conn.writable.close() lets a reply through that comes after the end of file", async () => {
  await using child = await shell("wc -c <&3 >&3");
  const writer = child.conn.writable.getWriter();
  await writer.write(new Uint8Array(1000));
  await writer.close();
  assertEquals((await textOf(child.conn.readable)).trim(), "1000");
  await child.conn.closed;
});

test("child.conn.writable.abort() closes the connection", async () => {
  await using child = await shell("cat <&3; echo over", { stdout: "piped" });
  await child.conn.writable.abort();
  await child.conn.closed;
  assertEquals(await textOf(child.stdout), "over\n");
});

test("child.conn.readable serves a reader that brings its own buffer, until the end", async () => {
  await using child = await python(["send", `${MIB}`]);
  const reader = child.conn.readable.getReader({ mode: "byob" });
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let view = new Uint8Array(50_000);
  for (;;) {
    const { value, done } = await reader.read(view);
    if (done) break;
    chunks.push(value.slice());
    view = new Uint8Array(value.buffer);
  }
  assertEquals(await sha1(...chunks), await sha1(numbers(MIB)));
  await child.conn.closeWrite();
  await child.conn.closed;
}, { needs: ["python3"] });

test("child.conn.readable cancelled while it reads leaves the bytes to the next reads", async () => {
  await using child = await shell("exec cat <&3 >&3");
  const reader = child.conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  assertEquals((await pending).done, true);
  await child.conn.write(encode("aabb"));
  const two = new Uint8Array(2);
  assertEquals([await child.conn.read(two), decode(two)], [2, "aa"]);
  assertEquals(await readText(child.conn), "bb");
});

// How it ended ------------------------------------------------------------------------------------

for (
  const [name, script, status] of [
    ["exit code 0", "exit 0", { success: true, code: 0, signal: null }],
    ["exit code 3", "exit 3", { success: false, code: 3, signal: null }],
    ["exit code 143, and no signal", "exit 143", { success: false, code: 143, signal: null }],
    ["SIGKILL", "kill -KILL $$", { success: false, code: 137, signal: "SIGKILL" }],
    ["SIGTERM", "kill -TERM $$", { success: false, code: 143, signal: "SIGTERM" }],
    ["SIGINT", "kill -INT $$", { success: false, code: 130, signal: "SIGINT" }],
    ["SIGSEGV", "kill -SEGV $$", { success: false, code: 139, signal: "SIGSEGV" }],
  ] as [string, string, Deno.CommandStatus][]
) {
  test(`child.status tells a child's own ${name}`, async () => {
    await using child = await shell(script);
    assertEquals(await child.status, status);
    assertEquals(await child.status, status);
  });
}

/** A child that says when it is ready, and what its traps are. */
async function trapping(traps: string, options: PairOptions = {}): Promise<Child> {
  const child = await shell(`${traps}; echo ready >&3; while :; do sleep 0.02; done`, options);
  assertEquals(await readText(child.conn), "ready\n");
  return child;
}

for (
  const [signal, code] of [["SIGKILL", 137], ["SIGTERM", 143], ["SIGINT", 130], [
    "SIGUSR1",
    138,
  ]] as [
    Deno.Signal,
    number,
  ][]
) {
  test(`child.kill("${signal}") ends a child, and status says so`, async () => {
    await using child = await trapping(":");
    child.kill(signal);
    assertEquals(await child.status, { success: false, code, signal });
  });
}

test("child.kill() sends SIGTERM", async () => {
  await using child = await trapping(":");
  child.kill();
  assertEquals((await child.status).signal, "SIGTERM");
});

test("child.kill() of a child that traps it and exits: status has its own exit code", async () => {
  await using child = await trapping("trap 'exit 7' TERM");
  child.kill("SIGTERM");
  assertEquals(await child.status, { success: false, code: 7, signal: null });
});

test("child.kill() of a child that traps it and exits with 0: status is a success", async () => {
  await using child = await trapping("trap 'exit 0' INT");
  child.kill("SIGINT");
  assertEquals(await child.status, { success: true, code: 0, signal: null });
});

test("child.kill() as often as it is called: a trapped SIGTERM, twice, and then SIGKILL", async () => {
  await using child = await trapping("trap 'echo again >&3' TERM");
  for (let i = 0; i < 2; i++) {
    child.kill("SIGTERM");
    assertEquals(await readText(child.conn), "again\n");
  }
  child.kill("SIGKILL");
  assertEquals(await child.status, { success: false, code: 137, signal: "SIGKILL" });
});

test("child.kill() does nothing once the child has ended", async () => {
  await using child = await shell("exit 3");
  const status = await child.status;
  for (const signal of ["SIGTERM", "SIGKILL"] as const) child.kill(signal);
  child.kill();
  assertEquals(await child.status, status);
});

test("child.kill() at once after the start ends the child", async () => {
  await using child = await shell("exec sleep 5");
  child.kill("SIGKILL");
  assertEquals((await child.status).signal, "SIGKILL");
});

test("child.kill() of an unknown signal is a TypeError also once the child has ended", async () => {
  await using child = await shell("exit 3");
  await child.status;
  assertThrows(() => child.kill("SIGFOO" as never), TypeError, "there is no SIGFOO");
});

test("child.kill() of an unknown signal is a TypeError, and the child lives on", async () => {
  await using child = await trapping("trap 'exit 7' TERM");
  assertThrows(() => child.kill("SIGFOO" as never), TypeError, "SIGFOO");
  child.kill();
  assertEquals((await child.status).code, 7);
});

// What cannot be started --------------------------------------------------------------------------

/** The refusal of a start. */
async function refusal(command: string, options: PairOptions = {}): Promise<SocketError> {
  const error = await errorOf(pair(command, options));
  assertEquals([error.operation, error.path], ["pair", null]);
  assertInstanceOf(error.cause, Error);
  return error;
}

test("pair() of a program that does not exist rejects with NotFound", async () => {
  const error = await refusal("uds-no-such-program", { stdin: "piped", stdout: "piped" });
  assertInstanceOf(error, Deno.errors.NotFound);
  assertEquals(error.code, "ENOENT");
  assertEquals(
    error.message,
    'Cannot start "uds-no-such-program": there is no such program',
  );
});

const UNSTARTABLE: Record<string, (dir: TempDir) => Promise<[string, PairOptions?]>> = {
  "a name that is nowhere on the path": () => Promise.resolve(["uds-no-such-program"]),
  "a relative path that does not exist": () => Promise.resolve(["./uds-no-such-program"]),
  "an absolute path that does not exist": () => Promise.resolve(["/nowhere/at/all"]),
  "a script without its interpreter": async (dir) => {
    await Deno.writeTextFile(dir.file("script"), "#!/nowhere/sh\n", { mode: 0o755 });
    return [dir.file("script")];
  },
  "an argument that is too long": () => Promise.resolve(["sh", { args: ["x".repeat(131_072)] }]),
};
for (const [name, start] of Object.entries(UNSTARTABLE)) {
  test(`pair() of ${name}, again and again, leaves no descriptor`, async () => {
    await using dir = new TempDir();
    const before = openDescriptors();
    for (let i = 0; i < 20; i++) await refusal(...await start(dir));
    assertNoneLeft(before);
  });
}

if (Deno.build.os === "linux") {
  test("pair() without leave to look leaves a descriptor at each failing start: Deno's, to be noticed", async () => {
    const flags = ["--allow-run", "--allow-env=NODE_V8_COVERAGE"];
    await using program = fixture("pair_fail.ts", flags, [], { stdin: "piped" });
    assertEquals(await program.line(), "ready");
    const writer = program.stdin.getWriter();
    const counts: number[] = [];
    for (let i = 0; i < 3; i++) {
      await writer.write(encode("\n"));
      assertEquals(await program.line(), "done");
      counts.push([...Deno.readDirSync(`/proc/${program.pid}/fd`)].length);
    }
    await writer.close();
    writer.releaseLock();
    const left = counts[2]! - counts[1]!;
    // Deno opens and closes some of its own. Where hardly any is left, the limit can go from the docs.
    assert(left > 15 && left < 25, `20 starts left ${left} descriptors`);
  });
}

test("pair() finds a program in the PATH of the child's own environment", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("uds-only-here"), "#!/bin/sh\necho found >&3\n", {
    mode: 0o755,
  });
  await using child = await pair("uds-only-here", { env: { PATH: `/nowhere:${dir.path}` } });
  assertEquals(decode(await readAll(child.conn)), "found\n");
});

test("pair() of a script without its interpreter does not say that there is no such program", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("script"), "#!/nowhere/sh\n", { mode: 0o755 });
  const error = await refusal(dir.file("script"));
  const state = "its first line names an interpreter that does not exist, /nowhere/sh";
  assertEquals(error.message, `Cannot start "${dir.file("script")}": ${state}`);
});

for (const kind of ["a file that is not executable", "a directory"]) {
  test(`pair() of ${kind} rejects with PermissionDenied`, async () => {
    await using dir = new TempDir();
    const path = dir.file("program");
    if (kind === "a directory") await Deno.mkdir(path);
    else await Deno.writeTextFile(path, "#!/bin/sh\n", { mode: 0o644 });
    const error = await refusal(path);
    assertInstanceOf(error, Deno.errors.PermissionDenied);
    assertEquals(error.code, "EACCES");
    const state = kind === "a directory"
      ? "it is a directory"
      : "it is not executable for this user";
    assertEquals(error.message, `Cannot start ${JSON.stringify(path)}: ${state}`);
  });
}

test("pair() in a directory that does not exist names the directory", async () => {
  await using dir = new TempDir();
  const error = await refusal("sh", { cwd: dir.file("absent") });
  assertInstanceOf(error, Deno.errors.NotFound);
  assertStringIncludes(error.message, `"${dir.file("absent")}"`);
});

test("pair() in a cwd that is a file says that, and not that the program is missing", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("file"), "");
  const error = await refusal("sh", { cwd: dir.file("file") });
  assertStringIncludes(error.message, `"${dir.file("file")}"`);
});

test("pair() with more arguments than the system takes does not blame the program's mode", async () => {
  const error = await refusal("true", { args: ["x".repeat(3_000_000)] });
  assertEquals(error.code, "E2BIG");
  assert(!(error instanceof Deno.errors.PermissionDenied), `${error}`);
  assert(!error.message.includes("executable"), error.message);
});

for (
  const [name, command, options] of [
    ["a program that does not exist", "uds-no-such-program", {}],
    ["a directory", ROOT, {}],
    ["a file that is not executable", file("pair_peer.sh"), {}],
    ["a cwd that does not exist", "sh", { cwd: "/nowhere/at/all" }],
  ] as [string, string, PairOptions][]
) {
  test(`pair() leaves no descriptor and no process where it fails: ${name}`, async () => {
    const [processes, before] = [children(), openDescriptors()];
    for (let i = 0; i < 10; i++) {
      await refusal(command, { ...options, stdin: "piped", stdout: "piped" });
    }
    assertNoneLeft(before);
    assertEquals(children(), processes);
  });
}

/** What would be started, or granted, other than it says: in part ignored, or replaced. */
const MISREAD: Record<string, [command: string | URL, options: unknown, message: string]> = {
  "a cwd with a host": ["true", { cwd: new URL("file://host/tmp") }, `cwd "file://host/tmp": `],
  "a cwd with a hash": ["true", { cwd: new URL("file:///tmp#1") }, `cwd "file:///tmp#1": `],
  "a cwd with a query": ["true", { cwd: new URL("file:///tmp?1") }, `cwd "file:///tmp?1": `],
  "a cwd with a NUL": ["true", { cwd: new URL("file:///tmp%00") }, "contains a NUL"],
  "a cwd that is no UTF-8": ["true", { cwd: new URL("file:///%ff") }, "not those of UTF-8"],
  "a surrogate in a cwd": ["true", { cwd: "/\ud800" }, "Invalid cwd"],
  "a surrogate in an argument": ["true", { args: ["\ud800"] }, "Invalid args[0]"],
  "a surrogate in a variable": ["true", { env: { A: "\ud800" } }, "Invalid env.A"],
  "a surrogate in a name": ["true", { env: { "\ud800": "" } }, "Invalid name of a variable"],
  "a surrogate in a program": ["\ud800", {}, "Invalid command"],
  "a module with a host": [new URL("file://host/w.ts"), {}, `command "file://host/w.ts": `],
  "a module that is no UTF-8": [new URL("file:///%ff.ts"), {}, "not those of UTF-8"],
  "a module with a NUL": [new URL("file:///%00.ts"), {}, "contains a NUL"],
};
for (const name of ["modules", "permissions.read", "permissions.write"]) {
  for (const href of ["file://host/", "file:///a#b", "file:///a?b", "file:///%ff", "file:///%00"]) {
    const [, kind] = name.split(".");
    const options = kind === undefined
      ? { modules: [new URL(href)] }
      : { permissions: { [kind]: [new URL(href)] } };
    MISREAD[`${name} ${href}`] = [
      new URL("file:///w.ts"),
      options,
      `Invalid ${name}[0] "${href}": `,
    ];
  }
}
for (const [name, [command, options, message]] of Object.entries(MISREAD)) {
  test(`pair() refuses what would be misread: ${name}`, async () => {
    await assertRejects(() => pair(command, options as PairOptions), TypeError, message);
  });
}

test("permissionFlags() refuses a URL of which a part would be ignored", () => {
  for (const href of ["file://host/", "file:///a#b", "file:///a?b"]) {
    assertThrows(() => permissionFlags({ read: [new URL(href)] }), TypeError, `"${href}"`);
  }
});

test("pair() of a relative path says what is the matter where the working directory was removed", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("w.ts"), "");
  const module = new URL(`file://${dir.file("w.ts")}`);
  const gone = dir.file("gone");
  await Deno.mkdir(gone);
  const before = Deno.cwd();
  Deno.chdir(gone);
  await Deno.remove(gone);
  try {
    const start = `Cannot start "${module.href}": a path in its options is relative`;
    for (const options of [{ modules: ["x"] }, { permissions: { read: ["x"] } }]) {
      const error = await assertRejects(() => pair(module, options), Deno.errors.NotFound, start);
      assertEquals((error as Error & { operation?: string }).operation, "pair");
    }
    const message = `Cannot start "./x": there is no such program`;
    await assertRejects(() => pair("./x"), Deno.errors.NotFound, message);
    await using child = await pair("sh", { args: ["-c", "echo here >&3"], stderr: "null" });
    assertEquals(decode(await readAll(child.conn)), "here\n");
  } finally {
    Deno.chdir(before);
  }
});

test("pair() where no descriptor is left rejects, also the first time, and works when there is one", async () => {
  const program = `
    import { pair } from "@uds/uds";
    Deno.addSignalListener("SIGUSR1", () => {}); // without one, Deno 2.9.6 ends by itself
    const files = [];
    try { for (;;) files.push(Deno.openSync("/dev/null")); } catch { /* none is left */ }
    const start = () => pair("true").then((child) => child.status, (error) => error);
    const errors = [await start(), await start()];
    for (const file of files) file.close();
    for (const { operation, code, message } of errors) console.log(operation, code, message);
    console.log((await start()).code);
    Deno.exit();`;
  const deno = [
    Deno.execPath(),
    "eval",
    "--quiet",
    `--config=${ROOT}deno.json`,
    "--no-lock",
    program,
  ];
  const { stdout } = await run("sh", ["-c", `ulimit -n 64; exec "$0" "$@"`, ...deno]);
  const refusal = `pair EMFILE Cannot start "true": this process has too many open files. ` +
    `Raise its limit (ulimit -n)\n`;
  assertEquals(stdout, `${refusal}${refusal}0\n`);
});

test("pair() with clearEnv gives the child the variables of `env`, and those that are documented", async () => {
  const options: PairOptions = { clearEnv: true, env: { A: "1" }, stdout: "piped" };
  await using child = await pair("/usr/bin/env", options);
  const lines = (await new Response(child.stdout).text()).trim().split("\n");
  const own = lines.filter((line) => !line.startsWith("NODE_V8_COVERAGE="));
  assertEquals(own.sort(), ["A=1", "DENO_EXTRA_STDIO_FDS=3"]);
});

test("pair() takes cwd, env and args", async () => {
  await using dir = new TempDir();
  const script = 'printf "%s|" "$PWD" "$UDS_A" "$@" >&3';
  for (const cwd of [dir.path, toFileUrl(dir.path)]) {
    const options = { cwd, env: { UDS_A: "a = ü" }, args: ["--x", "", "two words"] };
    await using child = await shell(script, options);
    assertEquals(
      decode(await readAll(child.conn)),
      `${Deno.realPathSync(dir.path)}|a = ü|--x||two words|`,
    );
  }
});

test("pair() finds a relative program from the child's directory, whatever is here", async () => {
  await using dir = new TempDir();
  // The name of a directory of the project, in which the tests run.
  const name = "tests";
  await Deno.writeTextFile(dir.file(name), "#!/bin/sh\necho there >&3\n", { mode: 0o755 });
  await using child = await pair(`./${name}`, { cwd: dir.path });
  assertEquals(decode(await readAll(child.conn)), "there\n");
});

for (
  const [clearEnv, said] of [[undefined, "1 b"], [false, "1 b"], [true, " b"]] as [
    boolean | undefined,
    string,
  ][]
) {
  test(`pair() with clearEnv ${clearEnv} hands the environment on, or none; env comes before it`, async () => {
    Deno.env.set("UDS_PAIR_A", "1");
    Deno.env.set("UDS_PAIR_B", "2");
    try {
      await using child = await pair("/bin/sh", {
        args: ["-c", 'echo "$UDS_PAIR_A $UDS_PAIR_B" >&3'],
        env: { UDS_PAIR_B: "b" },
        ...(clearEnv !== undefined && { clearEnv }),
      });
      assertEquals(decode(await readAll(child.conn)), `${said}\n`);
    } finally {
      Deno.env.delete("UDS_PAIR_A");
      Deno.env.delete("UDS_PAIR_B");
    }
  });
}

for (
  const [name, args] of Object.entries({
    "none": [],
    "one that is none of Deno's": ["--allow-nonsense"],
    "one that begins like one": ["--deny-x"],
  })
) {
  test(`pair() of Deno as a program adds no permission flag to arguments with ${name}`, async () => {
    await using dir = new TempDir();
    const script = dir.file("state.ts");
    await Deno.writeTextFile(
      script,
      'console.log(Deno.permissions.querySync({ name: "write" }).state)',
    );
    await using child = await pair(Deno.execPath(), {
      args: ["run", "--no-config", "--no-prompt", script, ...args],
      stdout: "piped",
    });
    assertEquals(await textOf(child.stdout), "prompt\n");
  });
}

// Abort and disposal ------------------------------------------------------------------------------

test("pair() with a signal that was aborted before rejects with its reason, and starts nothing", async () => {
  await using dir = new TempDir();
  const reason = new Error("never mind");
  const before = children();
  const starting = shell(`: >'${dir.file("started")}'`, { signal: AbortSignal.abort(reason) });
  assertEquals(await assertRejects(() => starting, Error), reason);
  assertEquals(children(), before);
  assertEquals(dir.list(), []);
});

test("pair(): an abort at once after the call ends the child", async () => {
  const abort = new AbortController();
  const starting = shell("exec sleep 5", { signal: abort.signal });
  abort.abort();
  await using child = await starting;
  assertEquals((await child.status).signal, "SIGTERM");
});

for (const kind of ["a program", "a module"]) {
  test(`pair() of ${kind} takes its options, and the directory, as they are at the call`, async () => {
    await using dir = new TempDir();
    for (const name of ["a", "b"]) await Deno.mkdir(dir.file(name));
    const module = new URL(`file://${dir.file("w.ts")}`);
    await Deno.writeTextFile(
      module,
      `import fs from "node:fs";
       fs.writeSync(3, [Deno.args, Deno.cwd(), Deno.env.get("UDS_X")].join(" "));`,
    );
    const args = kind === "a module"
      ? ["1"]
      : ["-c", `printf '%s ' "$1" "$PWD" "$UDS_X" >&3`, "sh", "1"];
    const permissions = { env: ["UDS_X"] };
    const options: PairOptions = { args, cwd: dir.file("a"), env: { UDS_X: "x" } };
    if (kind === "a module") options.permissions = permissions;
    const before = Deno.cwd();
    const starting = pair(kind === "a module" ? module : "sh", options);
    args[args.length - 1] = "2";
    permissions.env = [];
    options.env!["UDS_X"] = "y";
    options.cwd = dir.file("b");
    Deno.chdir(dir.file("b"));
    try {
      await using child = await starting;
      assertEquals(decode(await readAll(child.conn)).trim(), `1 ${dir.file("a")} x`);
    } finally {
      Deno.chdir(before);
    }
  });
}

test("pair(): an abort while a module is loaded rejects with the reason, and leaves nothing", async () => {
  const processes = children();
  const abort = new AbortController();
  const starting = pair(MODULE, { signal: abort.signal });
  const reason = new Error("never mind");
  abort.abort(reason);
  assertEquals(await assertRejects(() => starting, Error), reason);
  assertEquals(children(), processes);
});

test("pair(): an abort sends SIGTERM, though the child would go on", async () => {
  const abort = new AbortController();
  await using child = await trapping("trap 'exit 7' TERM", { signal: abort.signal });
  abort.abort();
  assertEquals(await child.status, { success: false, code: 7, signal: null });
});

testAlone("pair(): an abort sends SIGKILL after grace where SIGTERM does not help", async () => {
  const abort = new AbortController();
  await using child = await trapping("trap '' TERM", { signal: abort.signal, grace: 150 });
  const start = performance.now();
  abort.abort();
  assertEquals((await child.status).signal, "SIGKILL");
  const taken = performance.now() - start;
  assert(taken >= 145 && taken < 2000, `it took ${taken} ms`);
});

test("pair(): an abort after the child has ended does nothing", async () => {
  const abort = new AbortController();
  await using child = await shell("exit 3", { signal: abort.signal });
  assertEquals((await child.status).code, 3);
  abort.abort();
  assertEquals((await child.status).code, 3);
});

/** How long a disposal takes, in milliseconds. */
async function disposalOf(child: Child): Promise<number> {
  const start = performance.now();
  await child[Symbol.asyncDispose]();
  return performance.now() - start;
}

testAlone("dispose ends the writing: a child that ends then is waited for", async () => {
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

test("dispose returns though the child floods and nobody reads", async () => {
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

test("dispose leaves no descriptor, also of pipes that nobody touched", async () => {
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
  test(`dispose closes an output whose reader ${course} and reads no more`, async () => {
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

test("dispose closes pipes that somebody looked at, and leaves those that are being read", async () => {
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

// Dead parents, and grandchildren -----------------------------------------------------------------

for (const name of ["a shell", "Deno"]) {
  test(`pair(): the child of a killed parent sees the end of file (${name})`, async () => {
    const command = name === "Deno"
      ? [Deno.execPath(), ...denoArgs("pair_peer.ts", ["--deny-env"], ["until-end"])]
      : ["sh", "-c", "echo ready; cat <&3; echo ended"];
    const flags = ["--allow-env", `--allow-run=${command[0]}`];
    await using parent = fixture("pair_parent.ts", flags, command);
    // The child has the same standard output: either may come first.
    const [pid, ready] = [await parent.line(), await parent.line()].sort();
    try {
      assertEquals(ready, "ready");
      assert(isAlive(Number(pid)));
      parent.kill("SIGKILL");
      // Its standard output is the parent's, and outlives that.
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
      // As long as it lives there is no end of file.
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

// Standard streams --------------------------------------------------------------------------------

test("child.stdout and child.stderr that nobody read before the exit are not lost", async () => {
  const script = "head -c 60000 /dev/zero; head -c 50000 /dev/zero >&2";
  await using child = await shell(script, { stdout: "piped", stderr: "piped" });
  await child.status;
  // Time in which they would be thrown away.
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

/** Tells of descriptors of the shell and of its parent. */
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
  // Some come from whoever has started this process.
  const script = 'n=0; while [ $n -lt 64 ]; do [ -e /proc/$$/fd/$n ] && l="$l $n"; ' +
    "n=$((n+1)); done; echo $l";
  const usual = (await run("sh", ["-c", script])).stdout.trim().split(" ");
  await using child = await shell(`${script} >&3; readlink /proc/$$/fd/3 >&3`);
  const [numbers, link] = decode(await readAll(child.conn)).split("\n");
  assertEquals(numbers?.split(" "), ["0", "1", "2", "3", ...usual.slice(3)]);
  assert(link?.startsWith("socket:"), link);
});

// What is not public of Deno's ----------------------------------------------------------------------

test("the parent's end of an extra pipe still has the handle that is taken over", async () => {
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

// Many --------------------------------------------------------------------------------------------

test(
  "pair() of 1,000 children one after the other leaves no process, descriptor or memory",
  async () => {
    const flags = ["--allow-all", "--v8-flags=--expose-gc"];
    await using parent = fixture("pair_many.ts", flags, ["1000"]);
    const { ms, inUse, failed, left } = JSON.parse(await parent.line());
    console.log(`1,000 children: ${ms} ms each, in use after each 250: ${inUse.join(", ")} MiB`);
    assertEquals([failed, left.children], [0, 0]);
    // Deno opens two or three of its own at any time.
    assert(left.descriptors < 5, `${left.descriptors} descriptors are left`);
    const growth = inUse.at(-1) - inUse[0];
    assert(growth < 2, `it grew by ${growth} MiB over 750 children`);
  },
  { deadline: 40_000 },
);

test("pair() of 64 children at once works, and leaves nothing", async () => {
  const processes = children();
  const before = openDescriptors();
  await Promise.all(Array.from({ length: 64 }, async (_, i) => {
    await using child = await shell("exec cat <&3 >&3");
    const data = pseudoRandom(100_000, i + 1);
    const [back] = await Promise.all([
      readAll(child.conn),
      child.conn.write(data).then(() => child.conn.closeWrite()),
    ]);
    assertSameBytes(back, data);
    assertEquals((await child.status).code, 0);
  }));
  assertEquals(children(), processes);
  assertNoneLeft(before);
});

// Bad input ---------------------------------------------------------------------------------------

for (
  const [name, command, options, message] of [
    ["no command", undefined, {}, "Invalid command"],
    ["a number", 1, {}, "Invalid command: expected a program"],
    ["an empty command", "", {}, 'got ""'],
    ["a command with a NUL", "a\0b", {}, "without NUL"],
    ["an http: URL", new URL("http://localhost/a.ts"), {}, '"http://localhost/a.ts"'],
    ["a data: URL", new URL("data:text/javascript,1"), {}, "file: URL"],
    ["null for options", "true", null, "Invalid options of pair()"],
    ["an array for options", "true", [], "Invalid options of pair()"],
    ["a string for options", "true", "args", "Invalid options of pair()"],
    ["an unknown option", "true", { arg: [] }, '"arg"'],
    ["a string for args", "true", { args: "a" }, "Invalid args: expected an array"],
    ["a number in args", "true", { args: ["a", 1] }, "Invalid args[1]"],
    ["a hole in args", "true", { args: Array(1) }, "Invalid args[0]"],
    ["a NUL in args", "true", { args: ["a\0b"] }, "Invalid args[0]"],
    ["a number for cwd", "true", { cwd: 1 }, "Invalid cwd"],
    ["an empty cwd", "true", { cwd: "" }, "Invalid cwd"],
    ["an http: URL for cwd", "true", { cwd: new URL("http://localhost/") }, "Invalid cwd"],
    ["a NUL in cwd", "true", { cwd: "/a\0" }, "Invalid cwd"],
    ["a string for env", "true", { env: "A=1" }, "Invalid env"],
    ["an array for env", "true", { env: ["A=1"] }, "Invalid env"],
    ["null for env", "true", { env: null }, "Invalid env"],
    ["an empty name in env", "true", { env: { "": "1" } }, "Invalid env"],
    ["a name with = in env", "true", { env: { "A=B": "1" } }, '"A=B"'],
    ["a name with a NUL in env", "true", { env: { "A\0": "1" } }, "Invalid env"],
    ["a value with a NUL in env", "true", { env: { A: "1\0" } }, "Invalid env.A"],
    ["a number in env", "true", { env: { A: 1 } }, "Invalid env.A"],
    ["undefined in env", "true", { env: { A: undefined } }, "Invalid env.A"],
    ["a number for clearEnv", "true", { clearEnv: 1 }, "Invalid clearEnv"],
    ["an unknown stdin", "true", { stdin: "pipe" }, 'Invalid stdin: expected "piped"'],
    ["null for stdout", "true", { stdout: null }, "Invalid stdout"],
    ["a number for stderr", "true", { stderr: 2 }, "Invalid stderr"],
    ["a string for grace", "true", { grace: "1" }, "Invalid grace"],
    ["null for grace", "true", { grace: null }, "Invalid grace"],
    ["a controller for signal", "true", { signal: new AbortController() }, "Invalid signal"],
    ["null for signal", "true", { signal: null }, "Invalid signal"],
    ["permissions for a program", "true", { permissions: "none" }, '"permissions" and "modules"'],
    ["modules for a program", "true", { modules: ["/a"] }, '"permissions" and "modules"'],
    ["an unknown word for permissions", MODULE, { permissions: "all" }, "permissions of pair"],
    ['"inherit" for permissions', MODULE, { permissions: "inherit" }, "permissions of pair"],
    ["null for permissions", MODULE, { permissions: null }, "permissions of pair"],
    ["an unknown kind of permission", MODULE, { permissions: { reed: true } }, '"reed"'],
    ['"inherit" for net', MODULE, { permissions: { net: "inherit" } }, "permissions.net"],
    ['"inherit" for read', MODULE, { permissions: { read: "inherit" } }, "permissions.read"],
    ["a string for net", MODULE, { permissions: { net: "a.org" } }, "net"],
    ["a string for read", MODULE, { permissions: { read: "/a" } }, "read"],
    ["a number in net", MODULE, { permissions: { net: [1] } }, "net"],
    ["a number in read", MODULE, { permissions: { read: [1] } }, "read"],
    ["a comma in read", MODULE, { permissions: { read: ["/a,b"] } }, '"/a,b"'],
    ["a string for modules", MODULE, { modules: "/a" }, "Invalid modules"],
    ["no directory in modules", MODULE, { modules: [] }, "modules"],
    ["a number in modules", MODULE, { modules: [1] }, "Invalid modules[0]"],
    ["an http: URL in modules", MODULE, { modules: [new URL("http://a/")] }, "Invalid modules[0]"],
    ["a comma in modules", MODULE, { modules: ["/a,b"] }, '"/a,b"'],
  ] as [string, unknown, unknown, string][]
) {
  test(`pair() refuses ${name} with a TypeError`, async () => {
    const before = children();
    const starting = (async () => {
      await using _child = await pair(command as string, options as PairOptions);
    })();
    const error = await assertRejects(() => starting, TypeError, message);
    assertEquals(error.constructor, TypeError);
    assertEquals(children(), before);
  });
}

for (const grace of [-1, 1.5, NaN, 2 ** 31]) {
  test(`pair() refuses ${grace} for grace with a RangeError`, async () => {
    await assertRejects(() => pair("true", { grace }), RangeError, "Invalid grace");
  });
}

// Permissions -------------------------------------------------------------------------------------

interface Row {
  name: string;
  command: string | URL;
  options: PairOptions;
  set: Deno.PermissionOptionsObject;
}

/** A program that says hello, by its path: Deno finds a name by a look into the file system. */
const HELLO = { args: ["-c", "printf hello >&3"] };
const ROWS: Row[] = [
  {
    name: "pair() of a program",
    command: "sh",
    options: HELLO,
    set: { run: ["sh"], env: true },
  },
  {
    name: "pair() of a program's path with clearEnv",
    command: "/bin/sh",
    options: { ...HELLO, clearEnv: true },
    set: { run: ["/bin/sh"], env: ["NODE_V8_COVERAGE"] },
  },
  {
    name: "pair() of a module",
    command: MODULE,
    options: {},
    set: { run: [Deno.execPath()], env: ["NODE_V8_COVERAGE"] },
  },
  {
    name: "pair() of a module without clearEnv",
    command: MODULE,
    options: { clearEnv: false },
    set: { run: [Deno.execPath()], env: true },
  },
];

/** Runs the program that starts a child, with flags of its own. */
async function use({ command, options }: Row, flags: string[]): Promise<string> {
  const args = [command instanceof URL ? command.href : command, JSON.stringify(options)];
  const { stdout, stderr } = await run(
    Deno.execPath(),
    denoArgs("pair_use.ts", flags, args),
  );
  assertEquals(stderr, "");
  return stdout.trimEnd();
}

for (const row of ROWS) {
  const { clearEnv } = row.options;
  const set = permissions("pair", row.command, clearEnv === undefined ? {} : { clearEnv });
  const kinds = Object.keys(row.set) as ("run" | "env")[];

  test(`permissions() of ${row.name} are the least that there is`, () => {
    assertEquals(set, row.set);
  });

  test(`${row.name} works with exactly its permissions()`, async () => {
    assertEquals(await use(row, permissionFlags(set)), "hello");
  });

  for (const kind of kinds) {
    test(`${row.name} without ${kind} names that flag`, async () => {
      const { [kind]: missing, ...rest } = row.set;
      const refused = JSON.parse(await use(row, permissionFlags(rest)));
      assertEquals(refused.class, "NotCapable");
      assertEquals([refused.operation, refused.path], ["pair", null]);
      const flag = missing === true ? `--allow-${kind}` : `--allow-${kind}=${missing}`;
      const name = row.command instanceof URL ? row.command.href : row.command;
      assertEquals(
        refused.message,
        `Cannot start ${
          JSON.stringify(name)
        }: a Deno permission is missing. Run again with ${flag}`,
      );
    });
  }

  test(`${row.name} without any permission names all flags at once`, async () => {
    const refused = JSON.parse(await use(row, []));
    assertEquals(refused.class, "NotCapable");
    const [, asked] = refused.message.split("Run again with ");
    assertEquals(asked.split(" ").sort(), permissionFlags(row.set).sort());
  });
}

test("pair() with --allow-run for another program names the flag", async () => {
  const refused = JSON.parse(await use(ROWS[0]!, ["--allow-env", "--allow-run=cat"]));
  assertEquals(refused.class, "NotCapable");
  assertStringIncludes(refused.message, "Run again with --allow-run=sh");
});

test("pair() names a permission that is denied", async () => {
  const refused = JSON.parse(await use(ROWS[0]!, ["--allow-env", "--allow-run", "--deny-run=sh"]));
  assertStringIncludes(refused.message, "without the --deny flag");
});

test("pair() with a scoped --allow-run can still be killed", async () => {
  await using parent = fixture("pair_status.ts", ["--allow-run=sh", "--allow-env"], ["exit 4"]);
  assertEquals(JSON.parse(await parent.line()), { success: false, code: 4, signal: null });
});

// Peers, and long transfers: last, because a start takes longer in a large process ----------------

/** A program that talks at descriptor 3: echoes, answers after the end, or ends before its peer. */
interface Peer {
  needs: string[];
  start(mode: string, options: PairOptions, dir: TempDir): Promise<Child>;
  /** MiB of the long transfer. */
  mebibytes: number;
  /** A shell cannot half-close. */
  cannotEndFirst?: boolean;
}

/** Deno with a flag that denies something: without one node:child_process would add `--allow-all`. */
function deno(args: string[], options: PairOptions = {}): Promise<Child> {
  return pair(Deno.execPath(), {
    ...options,
    args: denoArgs("pair_peer.ts", ["--deny-env"], args),
  });
}

const peers: Record<string, Peer> = {
  "Deno": {
    needs: [],
    start: (mode, options) => deno([mode], options),
    mebibytes: 64,
  },
  "a Deno module": {
    needs: [],
    start: (mode, options) =>
      pair(toFileUrl(file("pair_peer.ts")), {
        ...options,
        modules: [ROOT],
        config: toFileUrl(join(ROOT, "deno.json")),
        args: [mode],
      }),
    mebibytes: 8,
  },
  "Node": {
    needs: ["node"],
    start: (mode, options) => pair("node", { ...options, args: [file("pair_peer.mjs"), mode] }),
    mebibytes: 8,
  },
  "Python": {
    needs: ["python3"],
    start: (mode, options) => python([mode], options),
    mebibytes: 64,
  },
  "C": {
    needs: ["gcc"],
    start: async (mode, options, dir) => {
      const program = dir.file("peer");
      const { code, stderr } = await run("gcc", ["-Wall", "-o", program, file("pair_peer.c")]);
      assertEquals([code, stderr], [0, ""]);
      return await pair(program, { ...options, args: [mode] });
    },
    mebibytes: 8,
  },
  "Perl": {
    needs: ["perl"],
    start: (mode, options) => pair("perl", { ...options, args: [file("pair_peer.pl"), mode] }),
    mebibytes: 8,
  },
  "a POSIX shell": {
    needs: ["sh"],
    start: (mode, options) => pair("sh", { ...options, args: [file("pair_peer.sh"), mode] }),
    mebibytes: 8,
    cannotEndFirst: true,
  },
};

for (const [name, { needs, start, mebibytes, cannotEndFirst }] of Object.entries(peers)) {
  test(`pair() with ${name}: ping, pong, ${mebibytes} MiB each way at once`, async () => {
    await using dir = new TempDir();
    await using child = await start("echo", {}, dir);
    const { conn } = child;
    assertEquals(conn.localAddr, { transport: "unix", path: null });
    assertEquals(conn.remoteAddr, { transport: "unix", path: null });
    await conn.write(encode("ping"));
    assertEquals(await readText(conn), "ping");

    const data = pseudoRandom(mebibytes * MIB, 1);
    const back = new Uint8Array(data.length);
    const [count] = await Promise.all([
      (async () => {
        let end = 0;
        for (let n; (n = await conn.read(back.subarray(end))) !== null && n > 0;) end += n;
        return end;
      })(),
      conn.write(data).then(() => conn.closeWrite()),
    ]);
    assertEquals(count, data.length);
    assertEquals(await sha1(back), await sha1(data));
    assertEquals(await child.status, { success: true, code: 0, signal: null });
    assertEquals([conn.bytesRead, conn.bytesWritten], [data.length + 4, data.length + 4]);
    // The buffer was full at the end of file, which an empty read does not tell.
    assertEquals(await conn.read(new Uint8Array(1)), null);
    await conn.closed;
  }, { needs });

  test(`pair() with ${name}: it answers after the end of file from here`, async () => {
    await using dir = new TempDir();
    await using child = await start("answer", {}, dir);
    await child.conn.write(new Uint8Array(300_000));
    await child.conn.closeWrite();
    assertEquals(decode(await readAll(child.conn)).trim(), "300000");
    assertEquals((await child.status).code, 0);
    await child.conn.closed;
  }, { needs });

  if (cannotEndFirst) continue;
  test(`pair() with ${name}: it takes what comes after its own end of file`, async () => {
    await using dir = new TempDir();
    await using child = await start("end-first", { stdout: "piped" }, dir);
    assertEquals(decode(await readAll(child.conn)), "bye\n");
    assertEquals(await child.conn.read(new Uint8Array(1)), null);
    await child.conn.write(new Uint8Array(300_000));
    await child.conn.closeWrite();
    assertEquals(await textOf(child.stdout), "300000\n");
    assertEquals((await child.status).code, 0);
    await child.conn.closed;
  }, { needs });
}

test("child.stdin to child.stdout: 64 MiB, with stderr piped and conn idle", async () => {
  await using child = await shell("cat; echo done >&2", {
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
  const data = pseudoRandom(64 * MIB, 6);
  const [back, error] = await Promise.all([
    new Response(child.stdout).arrayBuffer(),
    textOf(child.stderr),
    new Blob([data]).stream().pipeTo(child.stdin),
  ]);
  assertEquals(await sha1(new Uint8Array(back)), await sha1(data));
  assertEquals(error, "done\n");
  assertEquals((await child.status).code, 0);
  assertEquals([child.conn.bytesRead, child.conn.bytesWritten], [0, 0]);
});
