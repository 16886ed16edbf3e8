import { assertEquals } from "@std/assert";
import { ROOT, run, TempDir, test } from "../_helpers.ts";

test("the units of docs/systemd.md pass systemd-analyze verify", async () => {
  await using dir = new TempDir();
  const page = await Deno.readTextFile(`${ROOT}docs/systemd.md`);
  const units = [...page.matchAll(/```ini\n# (\S+)\n(.*?)```/gs)];
  assertEquals(units.map(([, name]) => name), ["app.socket", "app.service", "upper.service"]);
  for (const [, name, text] of units as unknown as [string, string, string][]) {
    await Deno.writeTextFile(dir.file(name), text.replace(/(?<=ExecStart=)\S+/, Deno.execPath()));
  }
  const files = units.map(([, name]) => dir.file(name!));
  const { code, stderr } = await run("systemd-analyze", ["verify", "--man=no", ...files]);
  // Other units of this system may have faults of their own.
  const ours = stderr.split("\n").filter((line) => /\b(?:app|upper)\./.test(line));
  assertEquals([code, ours], [0, []], stderr);
}, { needs: ["systemd-analyze"] });
