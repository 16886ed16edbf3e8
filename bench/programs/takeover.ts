/**
 * Restarts under load: new servers take over the path one after the other, while clients connect
 * for each request. The parent has the clients, and starts the servers.
 */

import { connect, serve } from "@uds/uds";
import { counted, ready, report, TASK, timed } from "./_program.ts";

const CLIENTS = 16;
const TAKEOVERS = 3;
const { path, role, size } = TASK;
const item = new Uint8Array(size);

/** Starts a server, and resolves when it serves. */
async function start(): Promise<Deno.ChildProcess> {
  const args = ["run", "--quiet", "-A", "--config", `${import.meta.dirname}/../../deno.json`];
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args, import.meta.url, "server", "-", path, `${size}`, "0", "0"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  return child;
}

if (role === "server") {
  const server = await serve({ path, publish: "rename", existing: "replace" }, async (conn) => {
    const buffer = new Uint8Array(size);
    for (let count; (count = await conn.read(buffer)) !== null;) {
      await conn.write(buffer.subarray(0, count));
    }
  });
  ready();
  // It ends when it is replaced, or with its parent.
  const end = Deno.stdin.readable.pipeTo(new WritableStream()).then(() => server.shutdown());
  await Promise.race([server.finished, end]);
  Deno.exit();
}

let lost = 0;
let pause = 0;
const servers: Deno.ChildProcess[] = [await start()];
const seconds = await timed(async (items) => {
  let left = items;
  pause = 0;
  const clients = Array.from({ length: CLIENTS }, async () => {
    const buffer = new Uint8Array(size);
    while (left-- > 0) {
      const begin = performance.now();
      try {
        await using conn = await connect(path);
        await conn.write(item);
        if (await conn.read(buffer) !== size) lost++;
      } catch {
        lost++;
      }
      pause = Math.max(pause, performance.now() - begin);
      counted.items++;
      counted.bytes += size;
    }
  });
  for (let i = 0; i < TAKEOVERS; i++) servers.push(await start());
  await Promise.all(clients);
});
for (const server of servers) {
  await server.stdin.close();
  await server.status;
}
report({ seconds, lost, pause });
