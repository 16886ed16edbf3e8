import { connect, serve, type UnixAddr } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { encode, gate, readText, TempDir, test } from "../_helpers.ts";

test("serve() on an abstract name serves 20 clients at once", async () => {
  const name = `\0uds-server-test-${Deno.pid}`;
  const all = gate();
  let handled = 0;
  const server = await serve(name, async (conn) => {
    if (++handled === 20) all.open();
    await all.opened;
    await conn.write(encode(conn.localAddr.path === name ? "served" : "where am I?"));
  });
  assertEquals(server.addr, { transport: "unix", path: name });
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(name)));
  assertEquals(await Promise.all(clients.map(readText)), clients.map(() => "served"));
  assertEquals(clients[0]?.remoteAddr, { transport: "unix", path: name });
  for (const conn of clients) conn.close();
  assertEquals((await server.shutdown()).aborted, 0);
  // The name is free again.
  await (await serve(name, async () => {})).shutdown();
});

test("serve() published by rename is known by its public path alone", async () => {
  await using dir = new TempDir();
  const path = dir.file("q.sock");
  const seen: UnixAddr[] = [];
  const server = await serve({ path, publish: "rename" }, async (conn) => {
    seen.push(conn.localAddr, conn.remoteAddr);
    await conn.write(encode("served"));
  });
  assertEquals(dir.list(), ["q.sock", "q.sock.lock"]);
  assertEquals(Deno.lstatSync(path).mode! & 0o777, 0o600);
  assertEquals(server.addr, { transport: "unix", path });
  const client = await connect(path);
  assertEquals(await readText(client), "served");
  assertEquals([client.localAddr, client.remoteAddr], [
    { transport: "unix", path: null },
    { transport: "unix", path },
  ]);
  assertEquals(seen, [{ transport: "unix", path }, { transport: "unix", path: null }]);
  client.close();
  await server.shutdown();
  assertEquals(dir.list(), []);
});
