import {
  connect,
  delimited,
  json,
  lengthPrefixed,
  lines,
  messages,
  serve,
  socketpair,
  text,
} from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { createServer, request } from "node:http";
import type { Duplex } from "node:stream";
import { decode, encode, pseudoRandom, readAll, TempDir, test } from "../_helpers.ts";

const HEAD = text(delimited(encode("\r\n\r\n"), { maxBytes: 8192 }));

// ---- HTTP/1.1 Upgrade to raw bytes --------------------------------------------------------------

test("detach() continues an HTTP/1.1 upgrade with raw bytes, with node:http as the server", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  const server = createServer();
  server.on("upgrade", (_request, socket: Duplex, head: Uint8Array) => {
    // The first bytes come with the head of the answer.
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nHi",
    );
    if (head.length > 0) socket.write(head);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const channel = messages(await connect(path), HEAD);
  await channel.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw");
  assert((await channel.receive())?.startsWith("HTTP/1.1 101 "));
  await using conn = channel.detach();
  const bytes = pseudoRandom(300_000, 3);
  const writing = conn.write(bytes).then(() => conn.closeWrite());
  const received = await readAll(conn);
  await writing;
  assertEquals(decode(received.subarray(0, 2)), "Hi");
  assertEquals(received.subarray(2), bytes);
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

test("detach() continues an HTTP/1.1 upgrade with raw bytes, with node:http as the client", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  await using _server = await serve(path, async (conn) => {
    const channel = messages(conn, HEAD);
    assert((await channel.receive())?.includes("Upgrade: raw"));
    await channel.send(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw",
    );
    const raw = channel.detach();
    await raw.write(encode("Hi"));
    await raw.readable.pipeTo(raw.writable);
  });
  const bytes = pseudoRandom(300_000, 3);
  const received = await new Promise<Uint8Array>((resolve, reject) => {
    const headers = { Connection: "Upgrade", Upgrade: "raw" };
    const asking = request({ socketPath: path, path: "/", headers });
    asking.on("error", reject);
    asking.on("upgrade", (_response, socket: Duplex, head: Uint8Array) => {
      const parts: Uint8Array[] = [head];
      socket.on("data", (part: Uint8Array) => parts.push(part));
      socket.on("end", () => new Blob(parts as BlobPart[]).bytes().then(resolve));
      socket.on("error", reject);
      socket.end(bytes);
    });
    asking.end();
  });
  assertEquals(decode(received.subarray(0, 2)), "Hi");
  assertEquals(received.subarray(2), bytes);
});

// ---- Bytes of protocols, written from their specifications --------------------------------------

/** Sends messages, and returns the bytes on the wire. */
async function wire(send: (path: string) => Promise<void>): Promise<Uint8Array> {
  await using dir = new TempDir();
  const path = dir.file("s");
  const received = Promise.withResolvers<Uint8Array>();
  await using _server = await serve(path, async (conn) => received.resolve(await readAll(conn)));
  await send(path);
  return await received.promise;
}

test("lengthPrefixed() frames PostgreSQL's start-up message, and then the others", async () => {
  const startUp = lengthPrefixed({ adjust: -4 });
  const typed = lengthPrefixed({ offset: 1, adjust: -4, keepHeader: true });
  // Version 3.0, then names and values (protocol-message-formats, StartupMessage).
  const version = encode("\0\x03\0\0user\0me\0\0");
  const query = encode("Q\0\0\0\0select 1\0");
  const bytes = await wire(async (path) => {
    const first = messages(await connect(path), startUp);
    await first.send(version);
    await using then = messages(first.detach(), typed);
    await then.send(query);
    await then.send(encode("X\0\0\0\0"));
  });
  assertEquals(
    decode(bytes),
    "\0\0\0\x11\0\x03\0\0user\0me\0\0" + "Q\0\0\0\x0dselect 1\0" + "X\0\0\0\x04",
  );
  // AuthenticationOk, ReadyForQuery.
  const [a, b] = await socketpair();
  await using client = messages(a, typed);
  await b.write(encode("R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"));
  await b.closeWrite();
  const types = await Array.fromAsync(client, (message) => String.fromCharCode(message[0]!));
  assertEquals(types, ["R", "Z"]);
  b.close();
});

test("lengthPrefixed() frames MySQL's packets", async () => {
  const packets = lengthPrefixed({ prefix: 3, littleEndian: true, adjust: 1 });
  // The number of the packet, COM_QUERY, and its text.
  const query = encode("\0\x03select 1");
  const bytes = await wire(async (path) => {
    await using client = messages(await connect(path), packets);
    await client.send(query);
    await client.send(encode("\x01\x0e"));
  });
  assertEquals(decode(bytes), "\x09\0\0\0\x03select 1" + "\x01\0\0\x01\x0e");
});

test('lengthPrefixed({ prefix: "varint" }) frames delimited messages of Protocol Buffers', async () => {
  // Field 1 is the varint 150, as in the documentation of the encoding; and a field of 300 bytes.
  const small = new Uint8Array([0x08, 0x96, 0x01]);
  const large = new Uint8Array([0x12, 0xac, 0x02, ...new Uint8Array(300)]);
  const bytes = await wire(async (path) => {
    await using client = messages(await connect(path), lengthPrefixed({ prefix: "varint" }));
    await client.send(small);
    await client.send(large);
  });
  assertEquals(bytes, new Uint8Array([3, ...small, 0xaf, 0x02, ...large]));
});

test("json(lines()) speaks the QEMU Machine Protocol, and mpv's JSON IPC", async () => {
  interface Answer {
    QMP?: unknown;
    return?: unknown;
    event?: string;
    request_id?: number;
    error?: string;
  }
  interface Command {
    execute?: string;
    command?: unknown[];
    request_id?: number;
  }
  const [a, b] = await socketpair();
  await using client = messages(a, json<Answer, Command>(lines()));
  // QEMU ends its lines with CR LF, mpv with LF.
  await b.write(encode('{"QMP": {"version": {}, "capabilities": []}}\r\n{"return": {}}\r\n'));
  await b.write(encode('{"event":"idle"}\n{"data":0.5,"request_id":7,"error":"success"}\n'));
  await client.send({ execute: "qmp_capabilities" });
  await client.send({ command: ["get_property", "volume"], request_id: 7 });
  assertEquals(Object.keys((await client.receive())!), ["QMP"]);
  assertEquals((await client.receive())!.return, {});
  assertEquals((await client.receive())!.event, "idle");
  assertEquals((await client.receive())!.request_id, 7);
  await client.closeWrite();
  assertEquals(
    decode(await readAll(b)),
    '{"execute":"qmp_capabilities"}\n{"command":["get_property","volume"],"request_id":7}\n',
  );
  b.close();
});
