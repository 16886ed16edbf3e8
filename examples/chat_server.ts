/**
 * A chat room: what one says, all others hear. A client is whatever sends lines.
 *
 * Terminal 1: deno run -RWN examples/chat_server.ts /tmp/chat.sock
 * Terminal 2: deno run -RWN cli.ts connect /tmp/chat.sock
 */

import { lines, type Messages, messages, serve } from "@uds/uds";
import { stopSignal } from "./shared/stop_signal.ts";

interface Guest {
  name: string;
  channel: Messages<string>;
  /** Lines that it has not taken yet, beyond the mebibyte that waits for it. */
  behind: number;
}

const path = Deno.args[0] ?? "./chat.sock";
const room = new Set<Guest>();

/** Tells all but one, and waits for nobody: a guest who does not read must not hold up the others. */
function tell(text: string, except: Guest): void {
  for (const guest of room) {
    if (guest === except) continue;
    if (guest.behind > 1000) {
      guest.channel.close();
      continue;
    }
    guest.behind++;
    guest.channel.send(text).catch(() => {}).finally(() => guest.behind--);
  }
}

const signal = stopSignal();
await using server = await serve({ path, signal }, async (conn, { draining }) => {
  await using channel = messages(conn, lines({ maxBytes: 1000 }), { draining });
  await channel.send("What is your name?");
  const name = await channel.receive();
  if (name === undefined) return;
  const others = [...room].map((guest) => guest.name);
  await channel.send(`Hello ${name}, here: ${others.join(", ") || "nobody else"}`);
  const guest = { name, channel, behind: 0 };
  room.add(guest);
  tell(`* ${name} has come`, guest);
  try {
    for await (const line of channel) tell(`${name}: ${line}`, guest);
  } finally {
    room.delete(guest);
    tell(`* ${name} has gone`, guest);
  }
});
console.log(`listening on ${server.addr.path}`);
await server.finished;
