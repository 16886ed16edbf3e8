/**
 * `verifyDirectory` where a directory on the way is a symbolic link to another place, such as
 * `/var/run`.
 */

import { permissionFlags, permissions } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { denoArgs, run, TempDir, test } from "../_helpers.ts";

test("permissions() of verifyDirectory are enough where a link leads to another place", async () => {
  await using dir = new TempDir(0o700);
  // Outside the directories of the socket's own path.
  const place = Deno.makeTempDirSync({ dir: "/var/tmp" });
  try {
    Deno.mkdirSync(`${place}/real`);
    Deno.symlinkSync(`${place}/real`, dir.file("absolute"));
    Deno.symlinkSync(`${place}/real`, `${place}/second`);
    const toRoot = "../".repeat(dir.path.split("/").length - 1);
    Deno.symlinkSync(`${toRoot}${place.slice(1)}/./second/../real`, dir.file("relative"));
    for (const link of ["absolute", "relative"]) {
      for (const publish of ["direct", "rename"] as const) {
        const path = dir.file(`${link}/app/a.sock`);
        const options = { createDirectory: true, verifyDirectory: true, publish };
        const flags = permissionFlags(permissions("serve", path, options));
        const args = [path, "listen", JSON.stringify(options)];
        const ended = await run(Deno.execPath(), denoArgs("fault_owner.ts", flags, args));
        assertEquals(ended.stdout, "ready\nclosed\n", `${link}: ${ended.stderr}`);
        Deno.removeSync(`${place}/real/app`);
      }
    }
  } finally {
    Deno.removeSync(place, { recursive: true });
  }
});
