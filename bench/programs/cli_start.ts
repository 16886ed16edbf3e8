/**
 * The time from the start of a command to its exit: `probe` asks the command line about the path of
 * a running server, `empty` runs an empty script.
 */

import { serve } from "@uds/uds";
import { counted, report, TASK, timed } from "./_program.ts";

const ROOT = `${import.meta.dirname}/../..`;
const args = [
  ...["run", "--quiet", "-A", "--no-lock", "--config", `${ROOT}/deno.json`],
  ...TASK.words.includes("probe")
    ? [`${ROOT}/cli.ts`, "probe", TASK.path]
    : [`${import.meta.dirname}/_empty.ts`],
];

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
