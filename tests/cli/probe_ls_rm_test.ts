import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { serve } from "@uds/uds";
import { uds, udsCommand } from "../_cli.ts";
import { makeStale, TempDir, test } from "../_helpers.ts";
import { leaveLock } from "../_lock.ts";
import { echoServer } from "./_echo_server.ts";

test("uds probe prints the state alone, with --quiet nothing, with --json everything", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await echoServer(path);
  const { stdout } = await uds(["probe", path]);
  assertEquals(stdout, "alive\n");
  assertEquals(await uds(["probe", "-q", path]), { code: 0, stdout: "", stderr: "" });
  const json = await uds(["probe", "--json", path]);
  const [uid, gid] = [Deno.uid(), Deno.gid()];
  assertEquals([json.code, json.stderr], [0, ""]);
  assertEquals(JSON.parse(json.stdout), {
    path,
    state: "alive",
    uid,
    gid,
    holder: Deno.pid,
    mode: "0600",
  });
});

/** Makes sockets of every kind, and files that are not sockets. */
async function makeSockets(dir: TempDir): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  stack.use(await echoServer(dir.file("b.sock")));
  await makeStale(dir.file("a\x1b[2J.sock"));
  await Deno.writeTextFile(dir.file("c.txt"), "");
  await Deno.symlink("b.sock", dir.file("d.sock"));
  await Deno.mkdir(dir.file("below"));
  // One test moves its directory away.
  stack.use(await serve({ path: dir.file("below/e.sock"), onPathLost() {} }, async () => {}));
  return stack;
}

test("uds ls lists sockets with the holders of their locks, and does not connect", async () => {
  await using dir = new TempDir();
  await using _sockets = await makeSockets(dir);
  let connections = 0;
  await using _server = await serve(dir.file("f.sock"), () => Promise.resolve(connections++));
  const { code, stdout, stderr } = await uds(["ls", dir.path], { flags: [`-R=${dir.path}`] });
  assertEquals([code, stderr], [0, ""]);
  const owner = `${Deno.uid()}:${Deno.gid()}`;
  const lines = stdout.split("\n").map((line) => line.split(/ {2,}/));
  assertEquals(lines, [
    ["STATE", "MODE", "OWNER", "PID", "PATH"],
    ["unknown", lines[1]![1]!, owner, "-", `${dir.path}/a\\x1b[2J.sock`],
    ["claimed", "0600", owner, String(Deno.pid), dir.file("b.sock")],
    ["claimed", "0600", owner, String(Deno.pid), dir.file("f.sock")],
    [""],
  ]);
  assertEquals(connections, 0);
});

test("uds ls --probe shows which servers are alive, --recursive lists subdirectories, --json is for scripts", async () => {
  await using dir = new TempDir();
  await using _sockets = await makeSockets(dir);
  const { code, stdout } = await uds(["ls", "-pR", "--json", `${dir.path}/`]);
  assertEquals(code, 0);
  const states = JSON.parse(stdout).map(({ path, state, holder }: Record<string, unknown>) => [
    path,
    state,
    holder,
  ]);
  assertEquals(states, [
    [dir.file("a\x1b[2J.sock"), "stale", undefined],
    [dir.file("b.sock"), "alive", Deno.pid],
    [dir.file("below/e.sock"), "alive", Deno.pid],
  ]);
});

test("uds ls without a directory lists the runtime directory, and all below it", async () => {
  await using dir = new TempDir();
  await using _sockets = await makeSockets(dir);
  const flags = ["--allow-read", "--allow-env", "--allow-sys"];
  for (const env of [{ XDG_RUNTIME_DIR: dir.path }, { XDG_RUNTIME_DIR: "", TMPDIR: dir.path }]) {
    if (env.TMPDIR) {
      await Deno.mkdir(`${dir.path}/uds-${Deno.uid()}`);
      await Deno.rename(dir.file("below"), `${dir.path}/uds-${Deno.uid()}/below`);
    }
    const { code, stdout, stderr } = await uds(["ls"], { flags, env });
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "/below/e.sock\n");
  }
  await Deno.rename(`${dir.path}/uds-${Deno.uid()}/below`, dir.file("below"));
});

test("uds ls reports what it cannot list, and lists the rest", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("s.sock"));
  await Deno.writeTextFile(dir.file("file"), "");
  const { code, stdout, stderr } = await uds([
    "ls",
    dir.file("absent"),
    dir.file("file"),
    dir.file("s.sock"),
  ]);
  assertEquals(code, 3);
  assertEquals(stderr.split("\n"), [
    `uds: Cannot list "${dir.file("absent")}": there is no such directory`,
    `uds: Cannot list "${dir.file("file")}": it is neither a directory nor a socket`,
    "",
  ]);
  assertMatch(stdout, /\nclaimed +0600 .*s\.sock\n$/);
});

test("uds ls reports that there are no sockets", async () => {
  await using dir = new TempDir();
  const none = await uds(["ls", dir.path]);
  assertEquals(none, { code: 0, stdout: "", stderr: `no sockets in ${dir.path}\n` });
  assertEquals((await uds(["ls", "-q", dir.path])).stderr, "");
  assertEquals((await uds(["ls", "--json", dir.path])).stdout, "[]\n");
});

test("uds rm removes dead sockets and their locks, and goes on after a refusal", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("live.sock"));
  for (const name of ["a.sock", "b.sock"]) await makeStale(dir.file(name));
  leaveLock(dir.file("a.sock.lock"), 99999);
  // A lock without a socket may belong to any program.
  leaveLock(dir.file("c.sock.lock"), 99999);
  const names = ["a.sock", "live.sock", "absent.sock", "b.sock", "c.sock"];
  const { code, stdout, stderr } = await uds(["rm", ...names.map((name) => dir.file(name))]);
  assertEquals([code, stdout], [5, ""]);
  const [a, live, absent, b, c] = stderr.split("\n");
  assertMatch(c!, /^uds: .*c\.sock.* there is no such file/);
  assertEquals([a, b], ["a", "b"].map((name) => `removed ${dir.file(`${name}.sock`)}`));
  assertMatch(
    live!,
    /^uds: Cannot remove ".*live\.sock": it is in use by process .*Stop that one first$/,
  );
  assertMatch(absent!, /^uds: .*absent\.sock.* there is no such file/);
  assertEquals(dir.list(), ["c.sock.lock", "live.sock", "live.sock.lock"]);
});

test("uds rm and ls show a name without its escape sequences", async () => {
  await using dir = new TempDir();
  const name = "a\x1b]0;b\x07\u202Ec.sock";
  await makeStale(dir.file(name));
  const shown = `${dir.path}/a\\x1b]0;b\\x07\\u{202e}c.sock`;
  assertStringIncludes((await uds(["ls", dir.path])).stdout, shown);
  assertEquals((await uds(["rm", dir.file(name)])).stderr, `removed ${shown}\n`);
});

test("uds does its work, and has its exit code, even if standard error is full", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("live.sock"));
  const shell = (words: readonly string[]) => {
    const command = udsCommand(words, ["-A"]);
    const args = ["-c", '"$@" 2>/dev/full; echo $?', "sh", ...command];
    return new Deno.Command("sh", { args }).output();
  };
  for (
    const [words, said] of [
      [["send", dir.file("absent.sock"), "x"], "3"],
      [["probe", dir.file("live.sock")], "alive\n0"],
      [["send", dir.file("live.sock"), "hello"], "hello0"],
    ] as const
  ) {
    assertEquals(new TextDecoder().decode((await shell(words)).stdout), `${said}\n`, words[0]);
  }
});

test("uds rm --json prints what it has removed", async () => {
  await using dir = new TempDir();
  await makeStale(dir.file("a.sock"));
  const args = ["rm", "--json", dir.file("a.sock"), dir.file("b.sock")];
  const { code, stdout, stderr } = await uds(args);
  assertEquals(code, 3);
  assertEquals(JSON.parse(stdout), { removed: [dir.file("a.sock")] });
  assertEquals(JSON.parse(stderr).error.name, "SocketNotFound");
});

test("one of several uds rm at the same time removes a stale socket", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await makeStale(path);
  const ended = await Promise.all(Array.from({ length: 6 }, () => uds(["rm", path])));
  const results = ended.map(({ code, stderr }) => `${code} ${stderr}`).sort();
  const absent = `3 uds: Cannot remove "${path}": there is no such file\n`;
  assertEquals(results, [`0 removed ${path}\n`, ...Array(5).fill(absent)]);
  assertEquals(dir.list(), []);
});

test("uds rm removes nothing that a server has taken meanwhile", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await makeStale(path);
  const removals = Array.from({ length: 4 }, () => uds(["rm", path]));
  await using _server = await (async () => {
    for (;;) {
      try {
        return await echoServer(path);
      } catch (error) {
        if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      }
    }
  })();
  const codes = (await Promise.all(removals)).map(({ code }) => code);
  for (const code of codes) assert([0, 3, 5].includes(code), codes.join(" "));
  assertEquals((await uds(["probe", path])).stdout, "alive\n");
});
