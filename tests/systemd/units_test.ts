import { connect } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { encode, Program, readText, ROOT, run, TempDir, test } from "../_helpers.ts";

test("the units of docs/systemd.md pass systemd-analyze verify", async () => {
  await using dir = new TempDir();
  const page = await Deno.readTextFile(`${ROOT}docs/systemd.md`);
  const units = [...page.matchAll(/```ini\n# (\S+)\n(.*?)```/gs)];
  assertEquals(units.map(([, name]) => name), [
    "app.socket",
    "app.service",
    "upper.service",
    "workers.service",
  ]);
  for (const [, name, text] of units as unknown as [string, string, string][]) {
    await Deno.writeTextFile(dir.file(name), text.replace(/(?<=ExecStart=)\S+/, Deno.execPath()));
  }
  const files = units.map(([, name]) => dir.file(name!));
  const { code, stderr } = await run("systemd-analyze", ["verify", "--man=no", ...files]);
  // Other units of this system may have faults of their own.
  const ours = stderr.split("\n").filter((line) => /\b(?:app|upper|workers)\./.test(line));
  assertEquals([code, ours], [0, []], stderr);
}, { needs: ["systemd-analyze"] });

test("the first example of docs/systemd.md runs with the flags of its unit", async () => {
  await using dir = new TempDir();
  const [path, program] = [dir.file("app.sock"), dir.file("main.ts")];
  const page = await Deno.readTextFile(`${ROOT}docs/systemd.md`);
  const [, text] = /```ts ignore\n(\/\/ main\.ts\n.*?)```/s.exec(page)!;
  await Deno.writeTextFile(program, text!.replaceAll("jsr:@uds/uds", "@uds/uds"));
  const [, line] = /ExecStart=\S*deno run (.*?)\/srv\/app\/main\.ts/s.exec(page)!;
  const flags = [...line!.matchAll(/--\S+/g)].map(([flag]) => flag);
  const deno = [Deno.execPath(), "run", "--quiet", "--no-lock", ...flags];
  const given = ["-l", path, "--fdname=app", "-E", "HOME", "-E", "DENO_DIR"];
  const config = ["--config", `${ROOT}deno.json`];
  await using manager = new Program("systemd-socket-activate", [
    ...given,
    ...deno,
    ...config,
    program,
  ]);
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(encode("hello"));
  assertEquals(await readText(conn), "hello");
  await conn.closeWrite();
  manager.kill("SIGTERM");
  assertEquals((await manager.status).code, 0);
}, { needs: ["systemd-socket-activate"] });
