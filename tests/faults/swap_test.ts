/**
 * # Swapped names
 *
 * Another user exchanges names in a directory that it may write to.
 */

import { permissionFlags, permissions } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { test } from "../_helpers.ts";
import { attackBySwaps } from "../_swap.ts";

const OPTIONS: Record<string, Record<string, unknown>> = {
  "{ mode: 0o666 }": { mode: 0o666 },
  '{ mode: 0o666, publish: "rename" }': { mode: 0o666, publish: "rename" },
  "{ mode: 0o660, uid, gid }": { mode: 0o660, uid: 65534, gid: 65534 },
  "{ verifyDirectory: true }": { mode: 0o666, verifyDirectory: true },
};

for (const how of ["listen", "claim"] as const) {
  for (const [what, options] of Object.entries(OPTIONS)) {
    if (how === "claim" && "publish" in options) continue;
    /**
     * Fault: The socket is swapped for a symbolic link, as soon as it is bound
     * How: `renameat2` exchanges the two names, for 10 s and 5,000 starts
     * Then: No file has another mode, owner or size. Each start succeeds, or is refused with an
     * error of uds
     */
    test(
      `${how}(${what}) changes no other file while another user swaps names, 5,000 starts`,
      async () => {
        const outcome = await attackBySwaps({ how, options, ms: 10_000, starts: 5000 });
        console.log(JSON.stringify(outcome));
        assertEquals(outcome.changed, 0);
        assert(outcome.swaps > 0 || options.verifyDirectory === true, "nothing was swapped");
        const raw = Object.keys(outcome.outcomes).filter((name) => name.endsWith("(raw)"));
        // A claim does not translate the errors of the caller's `open`.
        assertEquals(raw, []);
      },
      { root: true, needs: ["gcc", "setpriv"], deadline: 60_000 },
    );
  }
}

for (
  const [what, options] of [
    ["the default mode", {}],
    ["a mode", { mode: 0o666 }],
    ["an owner", { mode: 0o660, uid: 65534, gid: 65534 }],
  ] as const
) {
  /**
   * Fault: The same, for a process with permissions for the socket and its lock alone
   * How: The same
   * Then: The same
   */
  test(
    `listen(${what}, seeing only its socket) changes no other file while another user swaps names, 5,000 starts`,
    async () => {
      const outcome = await attackBySwaps({
        ...{ how: "listen", options, ms: 10_000, starts: 5000 },
        flags: (path, victim) => [
          ...permissionFlags(permissions("serve", path)),
          `--allow-read=${path},${path}.lock,${victim}`,
          `--allow-write=${path},${path}.lock,${victim}`,
        ],
      });
      console.log(JSON.stringify(outcome));
      assertEquals(outcome.changed, 0);
      assert(outcome.swaps > 0, "nothing was swapped");
      assertEquals(Object.keys(outcome.outcomes).filter((name) => name.endsWith("(raw)")), []);
    },
    { root: true, needs: ["gcc", "setpriv"], deadline: 60_000 },
  );
}
