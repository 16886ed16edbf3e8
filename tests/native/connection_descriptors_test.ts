/** Descriptors of Deno's connections: each one that is found is the right one. */

import { connect, type Connection, listen, serve, socketpair, toConnection } from "@uds/uds";
import "@uds/uds/native";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { transportOf } from "../../_internal/connection/socket_connection.ts";
import {
  beforeAccept,
  descriptorOf,
  descriptorsOf,
  recordAccepted,
} from "../../_internal/native/connection_descriptors.ts";
import { denoArgs, encode, fixture, Program, readText, TempDir, test } from "../_helpers.ts";
import { libc } from "./_libc.ts";

/** Returns the descriptor of a connection. */
function fdOf(conn: Connection): number | undefined {
  return descriptorOf(transportOf(conn)!);
}

/** Sends to a descriptor, and requires that it comes to the peer. */
async function requireSame(fd: number | undefined, peer: Pick<Connection, "read">): Promise<void> {
  const token = crypto.randomUUID();
  libc.send(fd!, encode(token), BigInt(token.length), 0);
  assertEquals(await readText(peer), token);
}

for (const publish of ["direct", "rename"] as const) {
  test(`listen({ publish: "${publish}" }) and connect() find both descriptors`, async () => {
    await using dir = new TempDir();
    const path = dir.file("app.sock");
    await using listener = await listen({ path, publish });
    using client = await connect(path);
    using server = await listener.accept();
    await requireSame(fdOf(client), server);
    await requireSame(fdOf(server), client);
  });
}

test("an abstract name: both descriptors are found", async () => {
  const path = `\0uds-found-${crypto.randomUUID()}`;
  await using listener = await listen(path);
  using client = await connect(path);
  using server = await listener.accept();
  await requireSame(fdOf(client), server);
  await requireSame(fdOf(server), client);
});

test("connect() through a symbolic link finds the descriptor", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("app.sock"));
  Deno.symlinkSync("app.sock", dir.file("link.sock"));
  using client = await connect(dir.file("link.sock"));
  using server = await listener.accept();
  await requireSame(fdOf(client), server);
});

test("20 connects at the same time: each has its own descriptor", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using _server = await serve(path, (conn) => conn.readable.pipeTo(conn.writable));
  const conns = await Promise.all(Array.from({ length: 20 }, () => connect(path)));
  assertEquals(new Set(conns.map(fdOf)).size, 20);
  for (const conn of conns) await requireSame(fdOf(conn), conn);
  for (const conn of conns) conn.close();
});

test("socketpair() of the core: both descriptors are found", async () => {
  const [a, b] = await socketpair();
  await requireSame(fdOf(a), b);
  await requireSame(fdOf(b), a);
  a.close();
  b.close();
});

test("a closed connection has no descriptor, and its number is found again", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  for (let i = 0; i < 50; i++) {
    const client = await connect(path);
    const server = await listener.accept();
    // A pending read keeps the socket open for a moment after it was closed.
    if (i % 2 === 0) server.read(new Uint8Array(1)).catch(() => {});
    await requireSame(fdOf(client), server).catch(() => {});
    assertEquals(typeof fdOf(server), "number");
    client.close();
    server.close();
    assertEquals([fdOf(client), fdOf(server)], [undefined, undefined]);
  }
});

test("a descriptor that was given to another socket is not returned", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  using client = await connect(path);
  const server = await listener.accept();
  const fd = fdOf(server)!;
  // Another socket takes the number, as after a close that nothing noticed.
  libc.dup2(fdOf(client)!, fd);
  assertEquals(fdOf(server), undefined);
  server.close();
});

test("toConnection() notes a raw connection if it is the only one that can be meant", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  using client = toConnection(await Deno.connect({ transport: "unix", path }));
  using server = await listener.accept();
  await requireSame(fdOf(client), server);

  const [one, two] = [
    await Deno.connect({ transport: "unix", path }),
    await Deno.connect({ transport: "unix", path }),
  ];
  using first = toConnection(one);
  assertEquals(fdOf(first), undefined);
  assertEquals(descriptorsOf(one).length, 2);
  two.close();
  await new Promise((resolve) => setTimeout(resolve, 0));
  (await listener.accept()).close();
  assertEquals(typeof fdOf(first), "number");
});

test("toConnection() of another object with the methods of a connection has no descriptor", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  const raw = await Deno.connect({ transport: "unix", path });
  using server = await listener.accept();
  using other = toConnection({
    localAddr: raw.localAddr,
    remoteAddr: raw.remoteAddr,
    read: (buffer: Uint8Array) => raw.read(buffer),
    write: (data: Uint8Array) => raw.write(data),
    closeWrite: () => raw.closeWrite(),
    close: () => raw.close(),
    ref() {},
    unref() {},
  } as unknown as Deno.UnixConn);
  assertEquals(fdOf(other), undefined);
  assertEquals(typeof fdOf(server), "number");
});

test("two listeners with one name: a descriptor is known only once it is the only one left", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const open = () => Deno.listen({ transport: "unix", path });
  const old = open();
  Deno.removeSync(path);
  const since = beforeAccept();
  const toOld = old.accept();
  const current = open();
  const first = await Deno.connect({ transport: "unix", path });
  const second = await Deno.connect({ transport: "unix", path });
  const [a, b] = [await current.accept(), await current.accept()];
  recordAccepted(a, since);
  assertEquals(descriptorOf(a), undefined);
  recordAccepted(b, since);
  assertEquals([descriptorsOf(a).length, descriptorsOf(b).length], [2, 2]);
  a.close();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(descriptorsOf(a), []);
  await requireSame(descriptorOf(b), second);
  b.close();
  first.close();
  second.close();
  current.close();
  old.close();
  await toOld.catch(() => {});
});

test("600 connections in churn, with worker threads: no descriptor is wrong", async () => {
  await using program = fixture("native_churn.ts", ["-A"], ["600", "1"]);
  const result = JSON.parse(await program.line());
  assertEquals(result.wrong, 0);
  assert(result.accepted + result.connected >= 600, JSON.stringify(result));
}, { deadline: 30_000 });

test("a connection that was closed unnoticed does not hide the next one with its number", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  const raw = await Deno.connect({ transport: "unix", path });
  const adopted = toConnection(raw);
  const fd = fdOf(adopted);
  (await listener.accept()).close();
  // As Deno's own streams of the connection close it.
  Object.getPrototypeOf(raw).close.call(raw);
  using client = await connect(path);
  using server = await listener.accept();
  assertEquals(fdOf(client), fd);
  await requireSame(fdOf(client), server);
  assertThrows(() => adopted.close(), Deno.errors.BadResource);
  await requireSame(fdOf(client), server);
});

test("more descriptors than before: the next connection is found above and below them", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  const others = Array.from({ length: 3000 }, () => libc.dup(2));
  using above = await connect(path);
  using first = await listener.accept();
  assert(fdOf(above)! > others.at(-1)!);
  for (const fd of others) libc.close(fd);
  using below = await connect(path);
  using second = await listener.accept();
  assert(fdOf(below)! < others.at(-1)!);
  await requireSame(fdOf(above), first);
  await requireSame(fdOf(below), second);
});

test("a limit on descriptors below the size of their table: connections are found", async () => {
  const limit = ["--nofile=100", Deno.execPath()];
  await using program = new Program("prlimit", [
    ...limit,
    ...denoArgs("native_late.ts", ["-A"]),
  ]);
  assertEquals(await program.output(), ["alone: proven", "two: proven", "later: proven"]);
}, { needs: ["prlimit"] });
