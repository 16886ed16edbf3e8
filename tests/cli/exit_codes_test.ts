import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { claim } from "@uds/uds";
import { uds, udsCommand } from "../_cli.ts";
import { fixture, FullListener, makeStale, run, TempDir, test } from "../_helpers.ts";
import { echoServer } from "./_echo_server.ts";

/** Things that may be at a path. */
const SITUATIONS: Record<string, (path: string) => Promise<AsyncDisposable | Disposable | void>> = {
  "a server": echoServer,
  "nothing": async () => {},
  "a dead socket": makeStale,
  "a claim": (path) => claim(path),
  "a full backlog": (path) => FullListener.open(path),
  "a regular file": (path) => Deno.writeTextFile(path, "mine"),
};

const EXIT_CODES: [situation: string, command: string[], code: number, says: RegExp][] = [
  ["a server", ["probe"], 0, /^mode 0600, owner \d+:\d+, held by process \d+\n$/],
  ["nothing", ["probe"], 3, /^$/],
  ["a dead socket", ["probe"], 4, /^mode 0\d{3}, /],
  ["a claim", ["probe"], 5, /^held by process \d+\n$/],
  ["a full backlog", ["probe"], 5, /^mode /],
  ["a regular file", ["probe"], 7, /^mode /],
  ["nothing", ["connect"], 3, /there is no such file\. Start the server first\n$/],
  ["a dead socket", ["connect"], 4, /no server listens on it/],
  ["a full backlog", ["connect", "--timeout=0.05"], 8, /no connection within 50 ms/],
  ["a full backlog", ["connect", "--timeout=0"], 5, /its backlog is full/],
  ["a regular file", ["connect"], 7, /a regular file/],
  ["nothing", ["send"], 3, /no such file/],
  ["nothing", ["send", "--wait", "-w", ".05"], 8, /no connection within 50 ms/],
  ["a dead socket", ["send"], 4, /no server listens on it/],
  ["a regular file", ["send"], 7, /a regular file/],
  ["a server", ["echo"], 5, /in use by process \d+/],
  ["a claim", ["echo"], 5, /in use by process \d+/],
  ["a full backlog", ["echo"], 5, /uds: /],
  ["a regular file", ["echo"], 7, /a regular file, which was left untouched/],
  ["a server", ["listen"], 5, /in use by process \d+/],
  ["a regular file", ["listen"], 7, /a regular file/],
  ["a server", ["rm"], 5, /in use by process \d+/],
  ["nothing", ["rm"], 3, /there is no such file/],
  ["a claim", ["rm"], 5, /in use by process \d+/],
  ["a regular file", ["rm"], 7, /a regular file/],
];

for (const [situation, [command = "", ...options], code, says] of EXIT_CODES) {
  const line = ["uds", command, ...options].join(" ");
  test(`${line} of ${situation} ends with exit code ${code}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const at = await SITUATIONS[situation]!(path);
    const before = dir.list();
    const result = await uds([command, path, ...options]);
    assertEquals(result.code, code, result.stderr);
    assertMatch(result.stderr, says);
    assert(!result.stderr.includes("    at "), "no stack trace");
    // The files are unchanged.
    assertEquals(dir.list(), before);
    if (at === undefined) return;
    if (Symbol.asyncDispose in at) await at[Symbol.asyncDispose]();
    else at[Symbol.dispose]();
  });
}

test("uds echo in a directory that does not exist ends with exit code 3", async () => {
  const { code, stderr } = await uds(["echo", "/nowhere/at/all.sock"]);
  assertEquals(code, 3, stderr);
  assertStringIncludes(stderr, "its directory does not exist");
});

test("uds echo where the lock cannot be trusted ends with exit code 6", async () => {
  await using dir = new TempDir();
  await Deno.mkdir(dir.file("s.sock.lock"));
  const { code, stderr } = await uds(["echo", dir.file("s.sock")]);
  assertEquals(code, 6, stderr);
  assertStringIncludes(stderr, "a directory");
});

test("uds of a path that the system denies ends with exit code 6", async () => {
  await using dir = new TempDir(0o755);
  await using _server = await echoServer(dir.file("s.sock"));
  for (const [command, says] of [["probe", "denied\n"], ["send", ""], ["echo", ""]] as const) {
    const args = [command, dir.file("s.sock"), ...(command === "send" ? ["m"] : [])];
    const { code, stdout, stderr } = await run(
      Deno.execPath(),
      udsCommand(args, ["-A"]).slice(1).map((arg) =>
        arg.endsWith("/cli.ts") ? arg.replace(/cli\.ts$/, "tests/fixtures/cli_as_nobody.ts") : arg
      ),
    );
    assertEquals([code, stdout], [6, says], stderr);
  }
}, { root: true });

test(
  "uds listen that times out and cannot remove its path reports both, and ends with exit code 8",
  async () => {
    await using dir = new TempDir(0o777);
    const path = dir.file("s.sock");
    await using program = fixture("cli_as_nobody.ts", ["-A"], ["listen", "--timeout", "1", path]);
    while (!dir.list().includes("s.sock")) await new Promise((resolve) => setTimeout(resolve, 5));
    Deno.chmodSync(dir.path, 0o755);
    assertEquals((await program.status).code, 8);
    // While coverage is measured, this user may not write its files.
    const lines = (await program.stderr()).trimEnd().split("\n")
      .filter((line) => !line.startsWith("Failed to create coverage file"));
    assertEquals(lines.slice(0, 2), [
      `listening on ${path}`,
      `uds: Cannot serve on "${path}": no client within 1 s`,
    ]);
    assertStringIncludes(lines[2]!, `uds: Cannot remove "${path}" and its lock`);
    assertEquals(lines.length, 3);
  },
  { root: true },
);

test("uds send reports that its output cannot be written, with exit code 1", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("s.sock"));
  const command = udsCommand(["send", dir.file("s.sock"), "hello"]);
  const { code, stderr } = await run("sh", ["-c", '"$@" >/dev/full', "sh", ...command]);
  assertEquals(code, 1);
  assertEquals(stderr, "uds: Cannot write to standard output: No space left on device\n");
}, { needs: Deno.build.os === "linux" ? [] : ["/dev/full"] });
