/** The transport for the library of the Model Context Protocol, which the recipes show. */

import { type Connection, ConnectionClosed, socketpair } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { ConnectionTransport } from "../../examples/mcp/transport.mjs";
import { MIB, readText, test } from "../_helpers.ts";

/** Starts a transport. Also returns a promise for its call of `onclose`. */
async function start(conn: Connection) {
  const { promise: closed, resolve: onclose } = Promise.withResolvers<void>();
  const transport = Object.assign(new ConnectionTransport(conn), { onclose });
  await transport.start();
  return { transport, closed };
}

test("ConnectionTransport sends what is queued and closes, after its peer has ended", async () => {
  const [conn, peer] = await socketpair();
  await using _ = peer;
  const { transport, closed } = await start(conn);
  const sent = transport.send({ id: 1 });
  await peer.closeWrite();
  assertEquals(await readText(peer), '{"id":1}\n');
  assertEquals(await readText(peer), null);
  await Promise.all([sent, closed]);
});

test("ConnectionTransport.close() closes the connection if the peer does not end", async () => {
  const [conn, peer] = await socketpair();
  await using _ = peer;
  const { transport, closed } = await start(conn);
  await Promise.all([transport.close(), closed]);
  assertEquals(await readText(peer), null);
});

test("ConnectionTransport.close() rejects if the peer does not read", async () => {
  const [conn, peer] = await socketpair();
  await using _ = peer;
  const { transport, closed } = await start(conn);
  const sent = assertRejects(() => transport.send("-".repeat(4 * MIB)), ConnectionClosed);
  await Promise.all([sent, assertRejects(() => transport.close(), ConnectionClosed), closed]);
});

test("ConnectionTransport.close() closes the connection before start()", async () => {
  const [conn, peer] = await socketpair();
  await using _ = peer;
  await new ConnectionTransport(conn).close();
  assertEquals(await readText(peer), null);
});
