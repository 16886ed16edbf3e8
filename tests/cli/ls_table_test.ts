import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Process, uds, udsCommand } from "../_cli.ts";
import { makeStale, TempDir, test } from "../_helpers.ts";
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
