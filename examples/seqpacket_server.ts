import { listenPackets } from "@uds/uds/native";

const path = Deno.args[0] ?? "/tmp/app.sock";
await using listener = await listenPackets(path);
console.log(`listening on ${path}`);
for await (const conn of listener) {
  handle(conn).catch(console.error);
}
async function handle(socket: import("@uds/uds/native").PacketSocket) {
  await using conn = socket;
  for await (const packet of conn) {
    await conn.send(new TextEncoder().encode(new TextDecoder().decode(packet).toUpperCase()));
  }
}
