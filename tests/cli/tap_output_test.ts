import { assertEquals, assertStringIncludes } from "@std/assert";
import { connect, relay, serve } from "@uds/uds";
import { delay } from "../../_internal/base/event_loop.ts";
import { readRecording } from "../../_cli/io/recording.ts";
import { Process, uds, udsCommand } from "../_cli.ts";
import { encode, readAll, run, TempDir, test } from "../_helpers.ts";

const LOCKED = "another process has locked it, to record to it or to serve a path. " +
  "Choose another file";

/** Serves an echo. */
function echo(path: string) {
  return serve(path, async (conn) => void await relay(conn, conn));
}

for (const output of ["t.sock", "./t.sock.lock", "d/../t.sock.lock"]) {
  test(`uds tap --output ${output} is refused where LISTEN is t.sock`, async () => {
    await using dir = new TempDir();
    await Deno.mkdir(dir.file("d"));
    const args = ["tap", "--output", output, "t.sock", "a.sock"];
    const { code, stderr } = await uds(args, { cwd: dir.path });
    assertEquals([code, stderr.split("\n")[0]], [
      2,
      `uds: --output must not be LISTEN or its lock, got "${output}"`,
    ]);
    assertEquals(dir.list(), ["d"]);
  });
}

test("uds tap --output refuses an empty name", async () => {
  await using dir = new TempDir();
  const { code, stderr } = await uds(["tap", "-o", "", dir.file("t.sock"), dir.file("a.sock")]);
  assertEquals([code, stderr.split("\n")[0]], [2, 'uds: --output must be a file, got ""']);
});

test("uds tap --output refuses the socket of a server and its lock", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _server = await echo(path);
  const before = dir.list();
  for (
    const [file, code, state] of [
      [path, 1, "it is a socket, or a device that does not exist. Choose another file"],
      [`${path}.lock`, 5, LOCKED],
    ] as const
  ) {
    const result = await uds(["tap", "-o", file, dir.file("t.sock"), path]);
    assertEquals([result.code, result.stderr], [code, `uds: Cannot write "${file}": ${state}\n`]);
    assertEquals(dir.list(), before);
  }
});

test("uds tap --output - is refused: - is not standard output there", async () => {
  await using dir = new TempDir();
  const { code, stderr } = await uds(["tap", "-o", "-", dir.file("t.sock"), dir.file("a.sock")]);
  assertEquals([code, stderr.split("\n")[0]], [
    2,
    'uds: --output must be a file, got "-". --json prints the events on standard output',
  ]);
});

test("the line that uds permissions prints is enough for uds tap --output", async () => {
  await using dir = new TempDir();
  const args = ["tap", "-o", dir.file("r.jsonl"), dir.file("t.sock"), dir.file("a.sock")];
  const { stdout: line } = await uds(["permissions", ...args], { flags: [] });
  await using tap = new Process(udsCommand(args, line.match(/--allow-[^ ]+/g) ?? []));
  await tap.stderr.until("listening on");
  tap.kill("SIGTERM");
  const { code, stderr } = await tap.ended;
  assertEquals(code, 0, stderr);
});

test("uds tap --output names the file that it cannot write", async () => {
  await using dir = new TempDir();
  const file = dir.file("absent/r.jsonl");
  const args = ["tap", "--output", file, dir.file("t.sock"), dir.file("a.sock")];
  const { code, stderr } = await uds(args);
  assertEquals(code, 3);
  assertStringIncludes(stderr, `uds: Cannot write "${file}": No such file`);
  assertEquals(dir.list(), []);
});

test("uds tap --output keeps an older recording if it cannot serve", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  await Deno.writeTextFile(file, "older\n");
  await using _server = await echo(dir.file("t.sock"));
  const { code } = await uds(["tap", "-o", file, dir.file("t.sock"), dir.file("a.sock")]);
  assertEquals([code, await Deno.readTextFile(file)], [5, "older\n"]);
  // Once it serves, the file has nothing but the new recording.
  const args = ["tap", "-o", file, dir.file("u.sock"), dir.file("a.sock")];
  await using tap = new Process(udsCommand(args));
  await tap.stderr.until("listening on");
  tap.kill("SIGTERM");
  await tap.ended;
  assertEquals(await Deno.readTextFile(file), "");
});

/** Waits until a thread of a process waits for the other end of a fifo (fs/pipe.c of Linux). */
async function opensFifo(pid: number): Promise<void> {
  // Other systems do not show what a thread waits for.
  if (Deno.build.os !== "linux") return await delay(1000);
  const waits = ({ name }: Deno.DirEntry) => {
    try {
      return Deno.readTextFileSync(`/proc/${pid}/task/${name}/wchan`).includes("wait_for_partner");
    } catch {
      // The thread has ended.
      return false;
    }
  };
  while (![...Deno.readDirSync(`/proc/${pid}/task`)].some(waits)) await delay(10);
}

test("uds tap --output ends at a signal while a pipe has no reader", async () => {
  await using dir = new TempDir();
  const pipe = dir.file("pipe");
  assertEquals((await run("mkfifo", [pipe])).code, 0);
  const args = ["tap", "--output", pipe, dir.file("t.sock"), dir.file("a.sock")];
  await using tap = new Process(udsCommand(args));
  await opensFifo(tap.pid);
  tap.kill("SIGTERM");
  const { code } = await tap.ended;
  assertEquals([code, dir.list()], [143, ["pipe"]]);
}, { needs: ["mkfifo"] });

const modeOf = async (file: string) => (await Deno.stat(file)).mode! & 0o777;

test("uds tap --output makes an older file private before it empties it", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  await Deno.writeTextFile(file, "older\n");
  await Deno.chmod(file, 0o644);
  const args = ["tap", "-o", file, dir.file("t.sock"), dir.file("a.sock")];
  {
    // It cannot start: the file stays as it was.
    await using _server = await echo(dir.file("t.sock"));
    assertEquals((await uds(args)).code, 5);
    assertEquals([await modeOf(file), await Deno.readTextFile(file)], [0o644, "older\n"]);
  }
  await using tap = new Process(udsCommand(args));
  await tap.stderr.until("listening on");
  assertEquals([await modeOf(file), await Deno.readTextFile(file)], [0o600, ""]);
  tap.kill("SIGTERM");
  assertEquals((await tap.ended).code, 0);
});

test("uds tap --output refuses a file if it cannot set the mode", async () => {
  await using dir = new TempDir();
  const file = dir.file("r.jsonl");
  await Deno.writeTextFile(file, "older\n");
  await Deno.chmod(file, 0o646);
  await Deno.chown(file, 65534, 65534);
  // Without CAP_FOWNER, root may write the file of another user, and not change its mode.
  const command = udsCommand(["tap", "-o", file, dir.file("t.sock"), dir.file("a.sock")]);
  await using tap = new Process(["setpriv", "--bounding-set", "-fowner", ...command]);
  const { code, stderr } = await tap.ended;
  assertEquals([code, stderr], [
    6,
    `uds: Cannot write "${file}": its mode is 0646 and cannot be set to 0600, so others could ` +
    "read it. Choose another file\n",
  ]);
  assertEquals([await modeOf(file), await Deno.readTextFile(file)], [0o646, "older\n"]);
  assertEquals(dir.list(), ["r.jsonl"]);
}, { root: true, needs: ["setpriv"] });

test("uds tap --output is refused while another process records to the file", async () => {
  await using dir = new TempDir();
  await using _server = await echo(dir.file("a.sock"));
  const file = dir.file("r.jsonl");
  await using tap = new Process(udsCommand(["tap", "-o", file, dir.file("t"), dir.file("a.sock")]));
  await tap.stderr.until("listening on");
  const { code, stderr } = await uds(["tap", "-o", file, dir.file("u"), dir.file("a.sock")]);
  assertEquals([code, stderr], [
    5,
    `uds: Cannot write "${file}": ${LOCKED}\n`,
  ]);
  {
    await using conn = await connect(dir.file("t"));
    await conn.write(encode("hi"));
    await conn.closeWrite();
    await readAll(conn);
  }
  tap.kill("SIGTERM");
  assertEquals((await tap.ended).code, 0);
  assertEquals((await readRecording(file)).get(1)?.steps.length, 4);
});

test("uds tap --output of two processes can be the same device", async () => {
  await using dir = new TempDir();
  const start = async (path: string) => {
    const args = ["tap", "-o", "/dev/null", dir.file(path), dir.file("a.sock")];
    const tap = new Process(udsCommand(args, ["-A"]));
    await tap.stderr.until("listening on");
    return tap;
  };
  await using first = await start("t");
  await using second = await start("u");
  for (const tap of [first, second]) {
    tap.kill("SIGTERM");
    assertEquals((await tap.ended).code, 0);
  }
  assertEquals((await Deno.stat("/dev/null")).isCharDevice, true);
});

test("uds tap --output leaves no new file if it cannot start", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  const args = (file: string) => ["tap", "-o", file, path, dir.file("a.sock")];
  await Deno.writeTextFile(path, "in the way");
  assertEquals([(await uds(args(dir.file("r.jsonl")))).code, dir.list()], [7, ["t.sock"]]);
  await Deno.remove(path);
  await using _server = await echo(path);
  const before = dir.list();
  assertEquals([(await uds(args(dir.file("r.jsonl")))).code, dir.list()], [5, before]);
});

test("uds tap --output ends when its file takes nothing more", async () => {
  await using dir = new TempDir();
  await using _server = await echo(dir.file("a.sock"));
  const args = ["tap", "-o", "/dev/full", dir.file("t.sock"), dir.file("a.sock")];
  await using tap = new Process(udsCommand(args, ["-A"]));
  await tap.stderr.until("listening on");
  const conn = await connect(dir.file("t.sock"));
  const { code, stderr } = await tap.ended;
  conn.close();
  assertEquals(code, 1);
  assertStringIncludes(stderr, 'uds: Cannot write "/dev/full": No space left on device');
}, { needs: Deno.build.os === "linux" ? [] : ["/dev/full"] });
