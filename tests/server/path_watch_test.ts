import { assertEquals } from "@std/assert";
import { PathWatch } from "../../_internal/path/watch.ts";
import { gate, TempDir, testAlone, within } from "../_helpers.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

for (const suffix of ["", ".lock"]) {
  testAlone(
    `PathWatch rests while nothing changes, and looks when path${suffix} does`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      for (const file of [path, `${path}.lock`]) Deno.writeTextFileSync(file, "");
      const rests = gate();
      const replaced = gate();
      let looks = 0;
      let state: "ours" | "replaced" = "ours";
      const owned = {
        path,
        look() {
          if (++looks === 5) rests.open();
          return state;
        },
      };
      const watch = new PathWatch(owned, { replaced: replaced.open, lost() {} });
      await within(5000, rests.opened);
      await pause(600);
      assertEquals(looks, 5);
      state = "replaced";
      Deno.removeSync(path + suffix);
      await within(1000, replaced.opened);
      assertEquals(looks, 6);
      watch.stop();
    },
  );
}

testAlone("PathWatch looks every 250 ms if the kernel can report nothing", async () => {
  await using dir = new TempDir();
  const path = dir.file("missing.sock");
  const looked = gate();
  let looks = 0;
  const owned = {
    path,
    look() {
      if (++looks === 8) looked.open();
      return "ours" as const;
    },
  };
  const watch = new PathWatch(owned, { replaced() {}, lost() {} });
  await within(4000, looked.opened);
  watch.stop();
});

testAlone("PathWatch does not begin anew after its end", async () => {
  await using dir = new TempDir();
  let looks = 0;
  const owned = {
    path: dir.file("a.sock"),
    look() {
      looks++;
      return "ours" as const;
    },
  };
  const watch = new PathWatch(owned, { replaced() {}, lost() {} });
  watch.stop();
  watch.renew();
  await pause(400);
  assertEquals(looks, 0);
});
