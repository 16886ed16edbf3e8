import { pair } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";
import { accepting, pids } from "./_workers.ts";

/** Returns the inodes of the sockets with a path that a process has open. */
async function socketsOf(pid: number): Promise<string[]> {
  const named = new Map<string, string>(
    (await Deno.readTextFile("/proc/net/unix")).split("\n").flatMap((line) => {
      const [, , , , , , inode, path] = line.split(/\s+/);
      return path === undefined ? [] : [[`socket:[${inode}]`, path] as const];
    }),
  );
  const paths = [];
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    const path = named.get(await Deno.readLink(`/proc/${pid}/fd/${name}`).catch(() => ""));
    if (path !== undefined) paths.push(path);
  }
  return paths;
}

test("the workers of a path do not inherit the socket of another one, nor do children", async () => {
  await using dir = new TempDir();
  await using first = await pids({ path: dir.file("first.sock") });
  await using second = await pids({ path: dir.file("second.sock") });
  await first.reload();
  for (const [server, name] of [[first, "first"], [second, "second"]] as const) {
    for (const pid of await accepting(server)) {
      // It was bound as <path>.new.
      assertEquals(await socketsOf(pid), [`${dir.file(name)}.sock.new`]);
    }
  }
  await using child = await pair("sleep", { args: ["60"], grace: 0 });
  assertEquals(await socketsOf(child.pid), []);
  await using other = await pair("cat", { socket: "stdio" });
  assertEquals(await socketsOf(other.pid), []);
});
