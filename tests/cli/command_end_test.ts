import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "@uds/uds";
import { FLAGS, Process, udsCommand } from "../_cli.ts";
import { decode, encode, fixture, readAll, readText, TempDir, test } from "../_helpers.ts";

const ALL = [...FLAGS, "--allow-run", "--allow-env"];

/** Starts `uds serve` with a shell script, and waits until it listens. */
async function serving(path: string, script: string, options: string[] = []): Promise<Process> {
  const process = new Process(
    udsCommand(["serve", ...options, path, "--", "sh", "-c", script], ALL),
  );
  await process.stderr.until("listening on");
  return process;
}

/** Returns a script that leaves a process with the socket running, and writes its pid to a file. */
function leaving(file: string, what = "sleep 60"): string {
  return `setsid sh -c 'echo $$ >> ${file}; exec ${what} 2>/dev/null' & until [ -s ${file} ]; do :; done; `;
}

/** Ends the process that a script left. */
async function endLeft(file: string): Promise<void> {
  for (const pid of (await Deno.readTextFile(file)).trim().split("\n")) {
    Deno.kill(Number(pid), "SIGKILL");
  }
}

const NEEDS = { needs: ["setsid"] };

test(
  "uds serve ends a connection with its command, whatever the command leaves running",
  async () => {
    await using dir = new TempDir();
    await using server = await serving(dir.file("s"), `${leaving(dir.file("pid"))} echo hi`, [
      "--max",
      "1",
    ]);
    try {
      for (let i = 0; i < 3; i++) {
        await using conn = await connect(dir.file("s"));
        assertEquals(decode(await readAll(conn)), "hi\n");
      }
      // A client that leaves at once.
      (await connect(dir.file("s"))).close();
      await using last = await connect(dir.file("s"));
      assertEquals(await readText(last), "hi\n");
      const start = performance.now();
      server.kill("SIGTERM");
      assertEquals((await server.ended).code, 0);
      assert(performance.now() - start < 4000, "not at the deadline of 5 s");
      assertEquals(dir.list(), ["pid"]);
    } finally {
      await endLeft(dir.file("pid"));
    }
  },
  NEEDS,
);

test("uds serve delivers all that a command wrote that leaves a process running", async () => {
  await using dir = new TempDir();
  const size = 150_000;
  const script = `${leaving(dir.file("pid"))} head -c ${size} /dev/zero`;
  await using _server = await serving(dir.file("s"), script);
  try {
    await using conn = await connect(dir.file("s"));
    const buffer = new Uint8Array(1000);
    let count = await conn.read(buffer) ?? 0;
    // Long after the command has ended.
    await new Promise((resolve) => setTimeout(resolve, 700));
    count += (await readAll(conn)).length;
    assertEquals(count, size);
  } finally {
    await endLeft(dir.file("pid"));
  }
}, NEEDS);

test("uds serve ends a connection although a process that was left goes on writing", async () => {
  await using dir = new TempDir();
  await using _server = await serving(dir.file("s"), `${leaving(dir.file("pid"), "yes")} :`);
  try {
    await using conn = await connect(dir.file("s"));
    const all = await readAll(conn);
    assert(all.length < 64 * 1024 * 1024, `${all.length} bytes`);
  } finally {
    await endLeft(dir.file("pid")).catch(() => {});
  }
}, NEEDS);

test("uds send --wait waits for a server that opens its file last", async () => {
  await using dir = new TempDir(0o755);
  const path = dir.file("s");
  using listener = Deno.listen({ transport: "unix", path });
  Deno.chmodSync(path, 0o000);
  await using program = fixture("cli_as_nobody.ts", ["-A"], ["send", "--wait", path, "hello"]);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  Deno.chmodSync(path, 0o666);
  using conn = await listener.accept();
  const buffer = new Uint8Array(10);
  assertEquals(await conn.read(buffer), 5);
  await conn.write(encode("bye\n"));
  conn.close();
  assertEquals((await program.status).code, 0, await program.stderr());
}, { root: true });

test("uds send --wait reports at the end that the file denies it", async () => {
  await using dir = new TempDir(0o755);
  const path = dir.file("s");
  using _listener = Deno.listen({ transport: "unix", path });
  Deno.chmodSync(path, 0o000);
  const args = ["send", "--wait", "--timeout", "0.3", path, "hello"];
  await using program = fixture("cli_as_nobody.ts", ["-A"], args);
  assertEquals((await program.status).code, 8);
  assertMatch(await program.stderr(), /within 300 ms.*mode 0000/);
}, { root: true });

test("uds echo ignores the sockets that a service manager holds for another process", async () => {
  await using dir = new TempDir();
  const command = udsCommand(["echo", dir.file("s")], ALL);
  await using process = new Process(command, { env: { LISTEN_FDS: "1", LISTEN_PID: "1" } });
  await process.stderr.until("listening");
  process.kill("SIGTERM");
  assertEquals((await process.ended).code, 0);
});
