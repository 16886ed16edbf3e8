import { pair } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { TempDir, testAlone } from "../_helpers.ts";
import { write } from "./_sandbox.ts";

testAlone("pair(module) takes hardly longer to the first byte than deno run", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "pair.ts": `process.getBuiltinModule("node:fs").writeSync(3, "x");`,
    "run.ts": `Deno.stdout.writeSync(new TextEncoder().encode("x"));`,
  });
  const medians = [];
  for (
    const start of [
      async () => {
        await using child = await pair(url);
        assertEquals(await child.conn.read(new Uint8Array(1)), 1);
        const end = performance.now();
        await child.status;
        return end;
      },
      async () => {
        const args = ["run", "--quiet", "--no-lock", dir.file("run.ts")];
        const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
        const reader = child.stdout.getReader();
        await reader.read();
        const end = performance.now();
        await child.status;
        await reader.cancel();
        return end;
      },
    ]
  ) {
    const times = [];
    for (let i = 0; i < 5; i++) {
      const begin = performance.now();
      times.push(await start() - begin);
    }
    medians.push(Math.round(times.sort((a, b) => a - b)[2] as number));
  }
  const [ours, plain] = medians as [number, number];
  console.log(`time to the first byte, median of 5: pair(module) ${ours} ms, deno run ${plain} ms`);
  // Apart from noise, node:net and the second graph cost 20 to 40 ms.
  assert(ours < 4 * plain + 200, `${ours} ms against ${plain} ms`);
});
