import { connect, type Connection, serve, type ServeHandlerInfo, type UnixAddr } from "@uds/uds";
import { assertEquals, assertStrictEquals } from "@std/assert";
import { encode, gate, TempDir, test } from "../_helpers.ts";
import { fetchText } from "./_server.ts";

test("serve() counts its connections", async () => {
  await using dir = new TempDir();
  const path = dir.file("n.sock");
  const arrived: (() => void)[] = [];
  const ended: (() => void)[] = [];
  await using server = await serve(path, async (conn) => {
    arrived.shift()?.();
    await conn.read(new Uint8Array(1));
    await conn[Symbol.asyncDispose]();
    setTimeout(() => ended.shift()?.(), 0);
  });
  const clients: Connection[] = [];
  const counts = [server.connections];
  for (let i = 0; i < 3; i++) {
    const { opened, open } = gate();
    arrived.push(open);
    clients.push(await connect(path));
    await opened;
    counts.push(server.connections);
  }
  for (const client of clients) {
    const { opened, open } = gate();
    ended.push(open);
    client.close();
    await opened;
    counts.push(server.connections);
  }
  assertEquals(counts, [0, 1, 2, 3, 2, 1, 0]);
});

test("serve() calls onListen once, with the address, and is ready then", async () => {
  await using dir = new TempDir();
  const path = dir.file("l.sock");
  const told: UnixAddr[] = [];
  let early: Promise<string> | undefined;
  const onListen = (addr: UnixAddr) => {
    told.push(addr);
    early = fetchText(path);
  };
  await using server = await serve({ path, onListen }, (conn) => conn.write(encode("served")));
  assertEquals(told, [{ transport: "unix", path }]);
  assertEquals(server.addr, { transport: "unix", path });
  assertEquals(await early, "served");
  assertEquals(await fetchText(path), "served");
  assertEquals(told.length, 1);
});

test("serve() passes the same info to all handlers; its signals abort one after the other", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  const infos: ServeHandlerInfo[] = [];
  const both = gate();
  const events: string[] = [];
  const server = await serve(path, async (conn, info) => {
    infos.push(info);
    if (infos.length === 2) {
      info.draining.addEventListener("abort", () => events.push("draining"));
      info.signal.addEventListener("abort", () => events.push("signal"));
      both.open();
    }
    await conn.closed;
  });
  const clients = await Promise.all([connect(path), connect(path)]);
  await both.opened;
  const [first, second] = infos;
  assertStrictEquals(first, second);
  assertEquals([first?.draining.aborted, first?.signal.aborted], [false, false]);
  assertEquals(await server.shutdown({ timeout: 50 }), { completed: 0, aborted: 2 });
  assertEquals(events, ["draining", "signal"]);
  for (const conn of clients) conn.close();
});
