/**
 * A daemon that serves one user, and root. Any user may connect; the others are closed at once.
 *
 * Terminal 1: deno run --allow-ffi=/lib/x86_64-linux-gnu/libc.so.6
 * --allow-read=/tmp/app.sock,/tmp/app.sock.lock,/tmp --allow-write=/tmp/app.sock,/tmp/app.sock.lock
 * --allow-net=unix:/tmp/app.sock --allow-sys=uid examples/admit_user.ts /tmp/app.sock
 * Terminal 2: deno run -RWN cli.ts connect /tmp/app.sock
 */

import { serve, shutdownOnSignal } from "@uds/uds";
import { allow, peerCredentials } from "@uds/uds/native";

const path = Deno.args[0] ?? "/tmp/app.sock";
// The number that `id -u` prints. Without it, the user of this process.
const uid = Number(Deno.args[1] ?? Deno.uid());

await using server = await serve(
  { path, mode: 0o666, authorize: allow({ uids: [0, uid] }) },
  async (conn) => {
    const { pid, uid } = peerCredentials(conn);
    await conn.writeText(`welcome, process ${pid} of user ${uid}\n`);
  },
);
using _signals = shutdownOnSignal(server);
console.log(`serving users 0 and ${uid} on ${path}`);
await server.finished;
