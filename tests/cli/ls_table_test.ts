import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname } from "@std/path/posix";
import { Process, uds, udsCommand } from "../_cli.ts";
import { IS_ROOT, makeStale, Program, TempDir, test } from "../_helpers.ts";
import { echoServer } from "./_echo_server.ts";

test("uds ls shows the socket of a killed server as stale, because its lock is free", async () => {
  await using dir = new TempDir();
  await using server = new Process(udsCommand(["echo", dir.file("k.sock")]));
  await server.stderr.until("listening on");
  server.kill("SIGKILL");
  await server.ended;
  await makeStale(dir.file("other.sock"));
  const { stdout } = await uds(["ls", "--json", dir.path], { flags: [`-R=${dir.path}`] });
  const entries = JSON.parse(stdout).map((
    { path, state }: Record<string, unknown>,
  ) => [path, state]);
  assertEquals(entries, [[dir.file("k.sock"), "stale"], [dir.file("other.sock"), "unknown"]]);
});

const LINUX = { needs: Deno.build.os === "linux" ? [] : ["/proc"] };

test("uds ls with all permissions names the processes of foreign servers", async () => {
  await using dir = new TempDir();
  using _listener = Deno.listen({ transport: "unix", path: dir.file("a.sock") });
  await makeStale(dir.file("b.sock"));
  const { stdout } = await uds(["ls", "--json", dir.path], { flags: ["-A"] });
  const [a, b] = JSON.parse(stdout);
  assertEquals([a.state, a.listener], ["listening", Deno.pid]);
  assertEquals([b.state, b.listener], ["unknown", undefined]);
}, LINUX);

test("uds ls --all lists the sockets of the system, abstract names and datagrams too", async () => {
  await using dir = new TempDir();
  const name = `uds-test-${crypto.randomUUID()}`;
  using _abstract = Deno.listen({ transport: "unix", path: `\0${name}` });
  const args = ["listen", "--type", "dgram", dir.file("d.sock")];
  await using datagrams = new Process(udsCommand(args, ["-A"]), { input: "open" });
  await datagrams.stderr.until("listening on");
  await using _server = await echoServer(dir.file("s.sock"));
  const { code, stdout } = await uds(["ls", "--all", "--json"], { flags: ["-A"] });
  assertEquals(code, 0);
  const entries = JSON.parse(stdout) as Record<string, unknown>[];
  const seen = (path: string) => entries.find((entry) => entry.path === path);
  const [uid, gid, pid] = [Deno.uid(), Deno.gid(), Deno.pid];
  assertEquals(
    ["d.sock", "s.sock"].map((name) => seen(dir.file(name))),
    [
      {
        path: dir.file("d.sock"),
        state: "bound",
        type: "dgram",
        mode: "0600",
        uid,
        gid,
        holder: datagrams.pid,
      },
      {
        path: dir.file("s.sock"),
        state: "listening",
        type: "stream",
        mode: "0600",
        uid,
        gid,
        holder: pid,
      },
    ],
  );
  const none = { mode: null, uid: null, gid: null };
  assertEquals(seen(`@${name}`), {
    path: `@${name}`,
    state: "listening",
    type: "stream",
    ...none,
    listener: pid,
  });
  const table = await uds(["ls", "--all"], { flags: ["-A"] });
  assertMatch(table.stdout, /^STATE +TYPE +MODE +OWNER +PID +PATH\n/);
  assertMatch(table.stdout, new RegExp(`\nlistening +stream +- +- +${pid} +@${name}\n`));
}, LINUX);

/** Runs `uds ls` with all permissions. Returns the entries by their paths. */
async function listed(args: string[], cwd?: string): Promise<Map<string, Record<string, unknown>>> {
  const options = { flags: ["-A"], ...(cwd !== undefined && { cwd }) };
  const { code, stdout, stderr } = await uds(["ls", "--json", ...args], options);
  assertEquals([code, stderr], [0, ""]);
  const entries = JSON.parse(stdout) as Record<string, unknown>[];
  return new Map(entries.map((entry) => [entry.path as string, entry]));
}

/** Listens on a path of Deno's own. */
function listen(path: string): Deno.UnixListener {
  return Deno.listen({ transport: "unix", path });
}

test("uds ls --all lists names that lead to no file, or to a private one", async () => {
  await using dir = new TempDir();
  const names = ["file", "loop", "private"].map((name) => `${name}/a.sock`);
  for (const name of names) Deno.mkdirSync(dir.file(dirname(name)));
  const listeners = names.map((name) => listen(dir.file(name)));
  try {
    for (const name of ["file", "loop"]) Deno.renameSync(dir.file(name), dir.file(`${name}.old`));
    Deno.writeTextFileSync(dir.file("file"), "");
    Deno.symlinkSync("loop", dir.file("loop"));
    Deno.chmodSync(dir.file("private"), 0);
    const entries = await listed(["--all"]);
    const seen = names.map((name) => entries.get(dir.file(name))!);
    assertEquals(seen.map(({ listener }) => listener), [Deno.pid, Deno.pid, Deno.pid]);
    const hidden = IS_ROOT ? seen.slice(0, 2) : seen;
    for (const { mode, uid, gid } of hidden) assertEquals([mode, uid, gid], [null, null, null]);
  } finally {
    Deno.chmodSync(dir.file("private"), 0o700);
    for (const listener of listeners) listener.close();
  }
}, LINUX);

test("uds ls recognizes a foreign server whatever path leads to its socket", async () => {
  await using dir = new TempDir();
  Deno.mkdirSync(dir.file("d"));
  Deno.symlinkSync("d", dir.file("link"));
  using _byLink = listen(dir.file("link/a.sock"));
  using _renamed = listen(dir.file("d/b.old"));
  Deno.renameSync(dir.file("d/b.old"), dir.file("d/b.sock"));
  const bind =
    `const c = Deno.listen({ transport: "unix", path: "c.sock" }); console.log(); await c.accept();`;
  await using relative = new Program(Deno.execPath(), ["eval", bind], { cwd: dir.file("d") });
  await relative.line();
  // No server listens here, although one has bound this name.
  using _moved = listen(dir.file("d/d.sock"));
  Deno.renameSync(dir.file("d/d.sock"), dir.file("moved.sock"));
  await makeStale(dir.file("d/d.sock"));
  const places: [place: string, cwd: string][] = [
    [".", dir.file("d")],
    ["d", dir.path],
    [`${dir.path}//d`, "/"],
    ["link", dir.path],
  ];
  for (const [place, cwd] of places) {
    const entries = [...(await listed([place], cwd)).values()];
    const processes = entries.map(({ state, listener }) => [state, listener]);
    assertEquals(processes, [
      ["listening", Deno.pid],
      ["listening", Deno.pid],
      ["listening", relative.pid],
      ["unknown", undefined],
    ], place);
  }
  assertEquals((await listed(["--all"])).get(dir.file("d/d.sock"))?.mode, null);
}, LINUX);

test("uds ls is not deceived by a name that looks like a line of the kernel", async () => {
  await using dir = new TempDir();
  const path = dir.file("k.sock");
  await makeStale(path);
  using _forgery = listen(`\0a\n0: 2 0 00010000 0001 01 4242 ${path}`);
  using _newline = listen(dir.file("nl\nx.sock"));
  const states = await listed([dir.path]);
  assertEquals(states.get(path)?.state, "unknown");
  assertEquals(states.get(dir.file("nl\nx.sock"))?.listener, Deno.pid);
  const all = await listed(["--all"]);
  assertEquals([all.has(path), all.has(dir.file("nl"))], [false, false]);
  assertEquals(all.get(dir.file("nl\nx.sock"))?.listener, Deno.pid);
  assertEquals(all.get(`@a\n0: 2 0 00010000 0001 01 4242 ${path}`)?.listener, Deno.pid);
}, LINUX);

test("uds ls --all names the path that a server has published by renaming its socket", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using server = new Process(
    udsCommand(["serve", "--framing", "lines", "--reply", "a", "--replace", path]),
  );
  await server.stderr.until("listening on");
  const entries = await listed(["--all"]);
  assertEquals(entries.has(`${path}.new`), false);
  const { mode, uid, holder } = entries.get(path)!;
  assertEquals([mode, uid, holder], ["0600", Deno.uid(), server.pid]);
}, LINUX);

for (const server of ["echo", "serve --framing lines --reply a --replace"]) {
  test(`uds ls knows the socket of a killed uds ${server} by its lock`, async () => {
    await using dir = new TempDir();
    const path = dir.file("k.sock");
    // The second one replaces the socket of the first one.
    for (let i = 0; i < 2; i++) {
      await using process = new Process(udsCommand([...server.split(" "), path]));
      await process.stderr.until("listening on");
      process.kill("SIGKILL");
      await process.ended;
    }
    const state = async () => JSON.parse((await uds(["ls", "--json", path])).stdout)[0].state;
    assertEquals(await state(), "stale");
    // The new socket may have the same inode.
    Deno.removeSync(path);
    using _foreign = listen(path);
    assertEquals(await state(), server === "echo" ? "stale" : "unknown");
  });
}

test("uds ls --all names the permissions that are missing", async () => {
  const { code, stderr } = await uds(["ls", "--all"]);
  assertEquals(code, 9);
  assertMatch(stderr, /^uds: Cannot list all sockets: .* Run again with --allow-all\n/);
}, LINUX);

for (const args of [["--probe"], ["/run"]]) {
  test(`uds ls --all ${args} ends with exit code 2`, async () => {
    const { code, stderr } = await uds(["ls", "--all", ...args]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, "does not go with --all");
  });
}
