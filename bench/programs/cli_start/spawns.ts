/**
 * Measures the time from the start of a command to its exit. The variant `probe` asks the command
 * line about the path of a running server; `empty` runs an empty script.
 */

import { serve } from "@uds/uds";
import { fromFileUrl } from "@std/path/posix";
import { counted, report, TASK, timed } from "../_program.ts";

const script = (file: string) => fromFileUrl(new URL(file, import.meta.url));
const run = ["run", "--quiet", "-A", "--no-lock", "--config", script("../../../deno.json")];
const args = TASK.variant === "probe"
  ? [...run, script("../../../cli.ts"), "probe", TASK.path]
  : [...run, script("./empty.ts")];

await using _server = await serve(TASK.path, async () => {});
const seconds = await timed(async (items) => {
  for (let i = 0; i < items; i++) {
    const child = new Deno.Command(Deno.execPath(), { args, stdout: "null", stderr: "piped" });
    const { code, stderr } = await child.output();
    if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
    counted.items++;
    counted.bytes += TASK.size;
  }
});
report({ seconds });
