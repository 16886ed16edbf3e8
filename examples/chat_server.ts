/**
 * A chat room: each line of a client goes to all others. Any client that sends lines can join.
 *
 * Terminal 1: deno run -RWN examples/chat_server.ts /tmp/chat.sock
 * Terminal 2: deno run -RWN cli.ts connect /tmp/chat.sock
 */

import {
  type Codec,
  encodeMessage,
  lines,
  type Messages,
  messages,
  serve,
  shutdownOnSignal,
} from "@uds/uds";

interface Guest {
  name: string;
  channel: Messages<string>;
}

const path = Deno.args[0] ?? "./chat.sock";
/** A guest's line has 1000 bytes at most. One for a guest may be longer: it has names, too. */
const codec: Codec<string> = { ...lines({ maxBytes: 1000 }), encode: lines().encode };
const room = new Set<Guest>();
/** How much may wait for a guest that does not read, in bytes. */
const MOST_PENDING = 1024 * 1024;

/**
 * Sends a line to all guests but one. It awaits no send: a slow guest must not delay the others.
 */
function broadcast(text: string, except: Guest): void {
  const line = encodeMessage(codec, text);
  for (const guest of room) {
    if (guest === except) continue;
    if (guest.channel.pending > MOST_PENDING) guest.channel.close();
    else guest.channel.sendEncoded(line);
  }
}

await using server = await serve(path, async (conn, { draining }) => {
  await using channel = messages(conn, codec, { draining });
  await channel.send("What is your name?");
  const name = await channel.receive();
  if (name === undefined) return;
  const others = [...room].map((guest) => guest.name);
  await channel.send(`Hello ${name}, here: ${others.join(", ") || "no others yet"}`);
  const guest = { name, channel };
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
