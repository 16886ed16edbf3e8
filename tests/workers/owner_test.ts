import { connect, permissionFlags, permissions } from "@uds/uds";
import type { WorkerServer } from "@uds/uds/workers";
import { assert, assertEquals } from "@std/assert";
import { encode, fixture, readText, TempDir, test } from "../_helpers.ts";
import { accepting, ask, moduleOf, pids } from "./_workers.ts";

/** Returns the flags with which an owner runs, and no others. */
function flagsFor(path: string): string[] {
  return permissionFlags({
    ...permissions("claim", path, { publish: "rename" }),
    ...permissions("pair", moduleOf("pid.ts")),
  });
}

test("an owner that is killed leaves its path to the next one at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using owner = fixture("workers_owner.ts", flagsFor(path), [path]);
  const workers = JSON.parse(await owner.line());
  // A worker with a connection stays for some seconds, and does not accept any more.
  const conn = await connect(path);
  const pid = Number(await readText(conn));
  assert(workers.includes(pid));
  owner.kill("SIGKILL");
  await owner.status;
  await conn.write(encode("still"));
  assertEquals(await readText(conn), `still ${pid}\n`);
  await using server = await untilOwned(path);
  assert((await accepting(server)).includes((await ask(path)).pid));
  conn.close();
}, { deadline: 20_000 });

/** Starts workers. Those of a killed owner notice its end a moment later. */
async function untilOwned(path: string): Promise<WorkerServer> {
  for (const begin = performance.now();;) {
    try {
      return await pids({ path });
    } catch (error) {
      if (performance.now() - begin > 3000) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
