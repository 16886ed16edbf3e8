/**
 * A reader of a log socket such as /dev/log: it prints each message.
 *
 * Terminal 1: deno run --allow-ffi=/lib/x86_64-linux-gnu/libc.so.6
 * --allow-read=/tmp/log,/tmp/log.lock,/tmp --allow-write=/tmp/log,/tmp/log.lock
 * --allow-net=unix:/tmp/log examples/log_reader.ts /tmp/log
 * Terminal 2: logger -u /tmp/log -t app "it works"
 *
 * For a path below /dev, Deno takes --allow-all only.
 */

import { shutdownOnSignal } from "@uds/uds";
import { bindPackets } from "@uds/uds/native";

const LEVELS = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

const path = Deno.args[0] ?? "/tmp/log";
await using socket = await bindPackets({ path, mode: 0o666 });
using _signals = shutdownOnSignal({ shutdown: () => socket.close() });
console.log(`reading ${path}`);

for await (const { packet } of socket) {
  const [, priority, text] = /^<(\d+)>(.*)$/s.exec(new TextDecoder().decode(packet)) ?? [];
  if (text === undefined) console.log("not a log message");
  else console.log(`${LEVELS[Number(priority) % 8]}: ${text}`);
}
