/**
 * A chat room: each line of a client goes to all others. Any client that sends lines can join.
 *
 * Terminal 1: deno run -RWN examples/chat_server.ts /tmp/chat.sock
 * Terminal 2: deno run -RWN cli.ts connect /tmp/chat.sock
 */

import { lines, type Messages, messages, serve, shutdownOnSignal } from "@uds/uds";

interface Guest {
  name: string;
  channel: Messages<string>;
  /** Lines that wait to be sent, beyond the mebibyte that `send` buffers. */
  behind: number;
}

const path = Deno.args[0] ?? "./chat.sock";
const room = new Set<Guest>();

/**
 * Sends a line to all guests but one. It awaits no `send`: a slow guest must not delay the others.
 */
function broadcast(text: string, except: Guest): void {
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

await using server = await serve(path, async (conn, { draining }) => {
  await using channel = messages(conn, lines({ maxBytes: 1000 }), { draining });
  await channel.send("What is your name?");
  const name = await channel.receive();
  if (name === undefined) return;
  const others = [...room].map((guest) => guest.name);
  await channel.send(`Hello ${name}, here: ${others.join(", ") || "no others yet"}`);
  const guest = { name, channel, behind: 0 };
  room.add(guest);
  broadcast(`* ${name} has joined`, guest);
  try {
    for await (const line of channel) broadcast(`${name}: ${line}`, guest);
  } finally {
    room.delete(guest);
    broadcast(`* ${name} has left`, guest);
  }
});
using _signals = shutdownOnSignal(server);
console.log(`listening on ${server.addr.path}`);
await server.finished;
