import { toConnection } from "@uds/uds";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { encode, MIB, pseudoRandom, readAll, readText, TempDir, test } from "../_helpers.ts";
import { assertSameBytes, bothEnds, errorOf } from "./_connection.ts";

test("toConnection() takes connections of Deno.connect and of a Deno.Listener", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  const listener = Deno.listen({ transport: "unix", path });
  const raw = await Promise.all([listener.accept(), Deno.connect({ transport: "unix", path })]);
  listener.close();
  using server = toConnection(raw[0]);
  using client = toConnection(raw[1]);
  assertEquals(client.remoteAddr, { transport: "unix", path });
  assertEquals(client.localAddr, { transport: "unix", path: null });
  assertEquals(server.localAddr, { transport: "unix", path });
  assertEquals(server.remoteAddr, { transport: "unix", path: null });
  const data = pseudoRandom(MIB, 2);
  const reading = readAll(server);
  await client.write(data);
  await client.closeWrite();
  assertSameBytes(await reading, data);
  await server.closeWrite();
  assertEquals(await readText(client), null);
  await Promise.all([server.closed, client.closed]);
});

test("Connection names the server's path in the errors of an accepted connection", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, path } = ends;
  left.close();
  const error = await errorOf(left.read(new Uint8Array(1)));
  assertEquals([error.operation, error.path], ["read", path]);
  assert(error.message.includes(JSON.stringify(path)), error.message);
});

test("toConnection() refuses a TCP connection, and leaves it open", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const [server, client] = await Promise.all([
    listener.accept(),
    Deno.connect({ hostname: "127.0.0.1", port }),
  ]);
  listener.close();
  assertThrows(() => toConnection(client as never), TypeError, 'expected the transport "unix"');
  await client.write(encode("ok"));
  assertEquals(await readText(server), "ok");
  client.close();
  server.close();
});

for (
  const [name, value] of Object.entries({
    "undefined": undefined,
    "null": null,
    "a path": "/run/app.sock",
    "an object": {},
    "a stream": new ReadableStream(),
    "something without an address": {
      read() {},
      write() {},
      closeWrite() {},
      close() {},
      ref() {},
      unref() {},
    },
  })
) {
  test(`toConnection() refuses ${name}`, () => {
    assertThrows(() => toConnection(value as never), TypeError, "Invalid connection: expected");
  });
}
