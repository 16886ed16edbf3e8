import { assertEquals, assertInstanceOf, assertMatch, assertRejects } from "@std/assert";
import {
  claim,
  connect,
  type Connection,
  contentLength,
  decodeStream,
  delimited,
  encodeMessage,
  encodeStream,
  json,
  lengthPrefixed,
  lines,
  listen,
  type Messages,
  messages,
  permissions,
  relay,
  resolveSocketPath,
  runtimePath,
  serve,
  shutdownOnSignal,
  socketpair,
  text,
  toConnection,
} from "@uds/uds";
import {
  bindPackets,
  connectPackets,
  listenPackets,
  nativePermissions,
  type PacketSocket,
  receiveDescriptors,
  sendDescriptors,
  socketpair as nativePair,
} from "@uds/uds/native";
import { pool } from "@uds/uds/pool";
import { rpc, rpcClient } from "@uds/uds/rpc";
import { listenFds } from "@uds/uds/systemd";
import { readText, TempDir, test } from "../_helpers.ts";

const SOURCE = Deno.readTextFileSync(new URL(import.meta.url)).split("\n");
const BYTES = new Uint8Array(10);
const MANY = new Uint8Array(10_000_000);
const TEXT = "x".repeat(MANY.length);

// deno-lint-ignore no-explicit-any -- calls that do not compile
type Any = any;

/** What a call has opened. It is closed after the call. */
const opened: { close(): unknown }[] = [];

function own<Opened extends { close(): unknown }>(one: Opened): Opened {
  opened.push(one);
  return one;
}

async function ends(): Promise<[Connection, Connection]> {
  const [a, b] = await socketpair();
  return [own(a), own(b)];
}

async function nativeEnds(): Promise<[Connection, Connection]> {
  const [a, b] = await nativePair();
  return [own(a), own(b)];
}

async function packetEnds(): Promise<[PacketSocket, PacketSocket]> {
  const [a, b] = await nativePair({ type: "seqpacket" });
  return [own(a), own(b)];
}

/** One end of a connection. The peer closes soon, with bytes unread. */
async function leaving(): Promise<Connection> {
  const [a, b] = await ends();
  await a.write(BYTES);
  setTimeout(() => b.close(), 1);
  return a;
}

/** One end of a connection. */
async function staying(): Promise<Connection> {
  return (await ends())[0];
}

async function channel(conn: Connection | Promise<Connection>): Promise<Messages<string>> {
  return messages(await conn, lines({ maxBytes: MANY.length }), { maxPending: 100 });
}

/** A connection that has noticed that its peer has gone. */
async function left(): Promise<Messages<string>> {
  const [a, b] = await ends();
  b.close();
  const sender = await channel(a);
  await sender.send(TEXT).catch(() => {});
  return sender;
}

/** Calls that fail at the line that ends with "caller". */
const CALLS: Record<string, (path: string) => Promise<unknown>> = {
  async "read() of an empty end"() {
    const conn = await leaving();
    await conn.read(BYTES); // caller
  },
  async "writeText() that waits"() {
    const conn = await leaving();
    await conn.writeText(TEXT); // caller
  },
  async "for await over readable"() {
    const conn = await leaving();
    for await (const _ of conn.readable); // caller
  },
  async "a reader of readable"() {
    const conn = await leaving();
    await conn.readable.getReader().read(); // caller
  },
  async "a reader with memory of readable"() {
    const conn = await leaving();
    await conn.readable.getReader({ mode: "byob" }).read(new Uint8Array(5)); // caller
  },
  async "readable.pipeTo() another connection"() {
    const conn = await leaving();
    const [other] = await ends();
    await conn.readable.pipeTo(other.writable); // caller
  },
  async "readable.pipeTo() another stream"() {
    const conn = await leaving();
    await conn.readable.pipeTo(new WritableStream()); // caller
  },
  async "a writer of writable"() {
    const conn = await leaving();
    await conn.writable.getWriter().write(MANY); // caller
  },
  async "read() that times out"(path) {
    let end = (_: Promise<unknown>) => {};
    const ended = new Promise((resolve) => end = resolve);
    const handler = async (conn: Connection) => {
      const serving = async () => void await conn.read(BYTES); // caller
      const error = await serving().catch((error) => error);
      end(Promise.reject(error));
    };
    await using _server = await serve({ path, idleTimeout: 1 }, handler);
    await using _client = await connect(path);
    await ended;
  },
  async "relay()"() {
    const conn = await leaving();
    const [other] = await ends();
    await relay(conn, other); // caller
  },
  async "send() after close()"() {
    const sender = await channel(staying());
    sender.close();
    await sender.send("text"); // caller
  },
  async "send() that waits for the kernel"() {
    const sender = await channel(leaving());
    await sender.send(TEXT); // caller
  },
  async "send() that waits for room"() {
    const sender = await channel(leaving());
    void sender.send(TEXT);
    await sender.send("x"); // caller
  },
  async "send() that is interrupted by close()"() {
    const [a] = await ends();
    const sender = await channel(a);
    setTimeout(() => sender.close(), 1);
    await sender.send(TEXT); // caller
  },
  async "send() after a failure"() {
    const sender = await left();
    await sender.send("text"); // caller
  },
  async "send() of what is not a message"() {
    const sender = await channel(staying());
    await sender.send(3 as never); // caller
  },
  async "send() of what is too large"() {
    const sender = await channel(staying());
    await sender.send(`${TEXT}${TEXT}`); // caller
  },
  async "sendEncoded() after a failure"() {
    const sender = await left();
    await sender.sendEncoded(encodeMessage(lines(), "text")); // caller
  },
  async "sendEncoded() of another codec"() {
    const sender = await channel(staying());
    await sender.sendEncoded({} as never); // caller
  },
  async "flush() after a failure"() {
    const sender = await left();
    await sender.flush(); // caller
  },
  async "flush() that waits"() {
    const sender = await channel(leaving());
    sender.send(TEXT).catch(() => {});
    await sender.flush(); // caller
  },
  async "closeWrite() of messages after close()"() {
    const sender = await channel(staying());
    sender.close();
    await sender.closeWrite(); // caller
  },
  async "closeWrite() of messages that waits"() {
    const sender = await channel(leaving());
    sender.send(TEXT).catch(() => {});
    await sender.closeWrite(); // caller
  },
  async "receive() with a signal"() {
    const receiver = await channel(leaving());
    await receiver.receive({ signal: new AbortController().signal }); // caller
  },
  async "receive() after close()"() {
    const receiver = await channel(staying());
    receiver.close();
    await receiver.receive(); // caller
  },
  async "for await over batches()"() {
    const receiver = await channel(leaving());
    for await (const _ of receiver.batches()); // caller
  },
  async "detach() after close()"() {
    const receiver = await channel(staying());
    receiver.close();
    receiver.detach(); // caller
  },
  async "disposal of messages that were not sent"() {
    const [a, b] = await ends();
    b.close();
    const sender = await channel(a);
    await sender.send("text");
    await sender[Symbol.asyncDispose](); // caller
  },
  async "accept() after close()"(path) {
    const listener = await listen(path);
    await listener.close();
    await listener.accept(); // caller
  },
  async "accept() that waits"(path) {
    const listener = await listen(path);
    setTimeout(() => listener.close(), 1);
    await listener.accept(); // caller
  },
  async "shutdown() with a wrong option"(path) {
    await using server = await serve(path, async () => {});
    await server.shutdown({ timeout: -1 }); // caller
  },
  async "bind() of a claim to another path"(path) {
    await using owned = await claim(path);
    await owned.bind(() => Deno.listen({ transport: "unix", path: "/absent/socket" })); // caller
  },
  async "bind() of a claim that was released"(path) {
    const owned = await claim(path);
    await owned.release();
    await owned.bind((path) => Deno.listen({ transport: "unix", path })); // caller
  },
  async "notify() of a peer that has closed"() {
    const peer = rpc(await staying());
    peer.close();
    await peer.notify("ping"); // caller
  },
  async "notify() with wrong parameters"() {
    await using peer = rpc(await staying());
    await peer.notify("ping", 3 as never); // caller
  },
  async "disposal of a peer that has not sent all"() {
    const [a, b] = await ends();
    const peer = rpc(a);
    b.close();
    await peer.notify("ping");
    await peer[Symbol.asyncDispose](); // caller
  },
  async "call() of a client without a server"(path) {
    await using client = rpcClient({ path, connectTimeout: 10 });
    await client.call("ping"); // caller
  },
  async "call() of a client that the server refuses"(path) {
    await using _server = await serve(path, (conn) => rpc(conn).closed);
    await using client = rpcClient({ path });
    await client.call("ping"); // caller
  },
  async "call() of a client at the end of its connection"(path) {
    await using _server = await serve(path, async (conn) => void await readText(conn));
    await using client = rpcClient({ path });
    await client.call("ping"); // caller
  },
  async "call() of a client that was closed"(path) {
    const client = rpcClient({ path });
    client.close();
    await client.call("ping"); // caller
  },
  async "notify() of a client without a server"(path) {
    await using client = rpcClient({ path, connectTimeout: 10 });
    await client.notify("ping"); // caller
  },
  async "call() of a pool that was closed"() {
    const workers = pool(new URL("../fixtures/pool/tasks.ts", import.meta.url));
    workers.close();
    await workers.call("ping"); // caller
  },
  async "call() that ends the child of a pool"() {
    await using workers = pool(new URL("../fixtures/pool/ends.ts", import.meta.url));
    await workers.call("ping"); // caller
  },
  async "send() of a packet after close()"() {
    const [a] = await packetEnds();
    a.close();
    await a.send(BYTES); // caller
  },
  async "send() of a packet to a peer that has gone"() {
    const [a, b] = await packetEnds();
    b.close();
    await a.send(BYTES); // caller
  },
  async "send() of a packet that waits"() {
    const [a, b] = await packetEnds();
    for (let i = 0; i < 1000; i++) a.send(new Uint8Array(50_000)).catch(() => {});
    setTimeout(() => b.close(), 1);
    await a.send(BYTES); // caller
  },
  async "receive() of a packet after close()"() {
    const [a] = await packetEnds();
    a.close();
    await a.receive(); // caller
  },
  async "receive() of a packet that waits"() {
    const [a] = await packetEnds();
    setTimeout(() => a.close(), 1);
    await a.receive(); // caller
  },
  async "receive() of a packet of a peer that has gone"() {
    const [a, b] = await packetEnds();
    await a.send(BYTES);
    b.close();
    await a.receive(); // caller
  },
  async "for await over packets"() {
    const [a] = await packetEnds();
    setTimeout(() => a.close(), 1);
    for await (const _ of a); // caller
  },
  async "closeWrite() of packets after close()"() {
    const [a] = await packetEnds();
    a.close();
    await a.closeWrite(); // caller
  },
  async "closeWrite() of datagrams"() {
    const [a, b] = await nativePair({ type: "dgram" });
    own(b);
    own(a);
    await a.closeWrite(); // caller
  },
  async "connectPackets() to nothing"(path) {
    await connectPackets(path); // caller
  },
  async "send() of a datagram to nothing"(path) {
    await using socket = await bindPackets(`${path}.own`);
    await socket.send(BYTES, path); // caller
  },
  async "receive() of a datagram that waits"(path) {
    const socket = own(await bindPackets(path));
    setTimeout(() => socket.close(), 1);
    await socket.receive(); // caller
  },
  async "accept() of packets after close()"(path) {
    const listener = await listenPackets(path);
    await listener.close();
    await listener.accept(); // caller
  },
  async "accept() of packets that waits"(path) {
    const listener = await listenPackets(path);
    setTimeout(() => listener.close(), 1);
    await listener.accept(); // caller
  },
  async "sendDescriptors() to a peer that has gone"() {
    const [a, b] = await nativeEnds();
    b.close();
    await sendDescriptors(a, BYTES, [0]); // caller
  },
  async "sendDescriptors() of a closed descriptor"() {
    const [a] = await nativeEnds();
    await sendDescriptors(a, BYTES, [12345]); // caller
  },
  async "receiveDescriptors() from a peer that has gone"() {
    const [a, b] = await nativeEnds();
    await a.write(BYTES);
    setTimeout(() => b.close(), 1);
    await receiveDescriptors(a, BYTES); // caller
  },
  async "connect() with an extra argument"(path) {
    await (connect as Any)(path, {}); // caller
  },
  async "read() with an extra argument"() {
    const conn: Any = await staying();
    await conn.read(BYTES, {}, 3); // caller
  },
  async "lines() with a wrong option"() {
    await lines({ maxBytes: -1 }); // caller
  },
  async "delimited() without a delimiter"() {
    await (delimited as Any)(); // caller
  },
  async "lengthPrefixed() that would drop a header"() {
    await lengthPrefixed({ offset: 2 }); // caller
  },
  async "contentLength() with an extra argument"() {
    await (contentLength as Any)({}, {}); // caller
  },
  async "json() of a function"() {
    await json(lines as never); // caller
  },
  async "text() of texts"() {
    await text(lines() as never); // caller
  },
  async "encodeStream() without a codec"() {
    await encodeStream(undefined as never); // caller
  },
  async "decodeStream() without a codec"() {
    await decodeStream(undefined as never); // caller
  },
  async "send() of a line with a line feed"() {
    const sender = await channel(staying());
    await sender.send("a\nb"); // caller
  },
  async "encodeMessage() of a line with a line feed"() {
    await encodeMessage(lines(), "a\nb"); // caller
  },
  async "send() of what has no JSON"() {
    const sender = messages(await staying(), json(lines()));
    await sender.send(undefined); // caller
  },
  async "toConnection() of nothing"() {
    await toConnection(null as never); // caller
  },
  async "shutdownOnSignal() without a server"() {
    await shutdownOnSignal(null as never); // caller
  },
  async "permissions() of a wrong operation"() {
    await permissions("sreve" as never, "/run/s.sock"); // caller
  },
  async "resolveSocketPath() of a long path"() {
    await resolveSocketPath(`/${"x".repeat(200)}`); // caller
  },
  async "runtimePath() of a path"() {
    await runtimePath("a/b"); // caller
  },
  async "listenFds() with an argument"() {
    await (listenFds as Any)({}); // caller
  },
  async "nativePermissions() with an argument"() {
    await (nativePermissions as Any)({}); // caller
  },
  async "connect() with wait"(path) {
    await connect({ path, wait: true, timeout: 10 }); // caller
  },
};

// Deno loads it at its first use, and runs microtasks meanwhile: their stacks begin there.
void setTimeout;
// Loads libc.
for (const end of await nativePair()) end.close();

for (const [what, call] of Object.entries(CALLS)) {
  test(`an error shows the line of its caller: ${what}`, async () => {
    await using dir = new TempDir();
    const error = await call(dir.file("none")).then(() => undefined, (error) => error);
    for (const each of opened.splice(0)) await each.close();
    assertInstanceOf(error, Error);
    const frame = error.stack!.split("\n").find((line) => /^ {4}at .*file:/.test(line));
    const [, file, line] = /(file:\/\/\S+?):(\d+):\d+\)?$/.exec(frame ?? "") ?? [];
    assertEquals(decodeURI(file!), decodeURI(import.meta.url), error.stack);
    assertMatch(SOURCE[Number(line) - 1]!, /\/\/ caller$/);
  });
}

test("an error of this package leaves as it was how V8 makes stacks", async () => {
  const tracing = Error as { prepareStackTrace?: unknown };
  const before = [tracing.prepareStackTrace, Error.stackTraceLimit];
  const own = (error: Error) => `own stack of ${error.name}`;
  tracing.prepareStackTrace = own;
  Error.stackTraceLimit = 3;
  try {
    const error = await assertRejects(() => connect("none.sock"), Error);
    assertEquals(error.stack, `own stack of ${error.name}`);
    assertEquals([tracing.prepareStackTrace, Error.stackTraceLimit], [own, 3]);
  } finally {
    [tracing.prepareStackTrace, Error.stackTraceLimit] = before as [unknown, number];
  }
});
