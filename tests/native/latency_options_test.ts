import { connect, type Connection, listen, pair } from "@uds/uds";
import "@uds/uds/native";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { transportOf } from "../../_internal/connection/socket_connection.ts";
import { LookAhead } from "../../_internal/native/look_ahead.ts";
import { denoArgs, fixture, Program, run, TempDir, test } from "../_helpers.ts";
import { flags } from "../connection/_connection.ts";
import "./_libc.ts";

const lowLatency = true;

/** The grant of libc alone. */
const FFI = `--allow-ffi=/lib/${Deno.build.arch}-linux-gnu/libc.so.6`;

/** Sends messages of four bytes, and waits for each of them to come back. */
async function takeTurns(conn: Connection, turns: number): Promise<void> {
  assert(transportOf(conn) instanceof LookAhead, "it does not look");
  const buffer = new Uint8Array(64);
  for (let i = 0; i < turns; i++) {
    const message = new Uint32Array([i]);
    await conn.write(new Uint8Array(message.buffer));
    let count = 0;
    while (count < 4) count += await conn.read(buffer.subarray(count)) ?? Infinity;
    assertEquals([count, new Uint32Array(buffer.buffer, 0, 1)[0]], [4, i]);
  }
}

test("serve() and connect() with lowLatency exchange messages, with a grant of libc alone", async () => {
  await using dir = new TempDir();
  const path = dir.file("l.sock");
  await using server = fixture("latency_peer.ts", [...flags(path), FFI], ["serve", path]);
  assertEquals(await server.line(), "ready");
  await using client = fixture("latency_peer.ts", [...flags(path), FFI], ["connect", path]);
  assertEquals(await client.line(), "done");
  await using conn = await connect({ path, lowLatency });
  await takeTurns(conn, 300);
});

test("pair() and inherited() with lowLatency take turns, and end as usual", async () => {
  const args = denoArgs("latency_peer.ts", [FFI], ["inherited"]);
  await using child = await pair(Deno.execPath(), { args, lowLatency });
  await takeTurns(child.conn, 300);
  await child.conn.closeWrite();
  assertEquals(await child.conn.read(new Uint8Array(9)), null);
  assertEquals((await child.status).code, 0);
});

test("listen() with lowLatency takes turns with Python, which waits as usual", async () => {
  await using dir = new TempDir();
  const path = dir.file("l.sock");
  await using listener = await listen({ path, lowLatency });
  const code = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
while data := s.recv(64): s.sendall(data)
print("end of file")`;
  const python = run("python3", ["-c", code, path]);
  const conn = await listener.accept();
  await takeTurns(conn, 300);
  await conn.closeWrite();
  assertEquals((await python).stdout, "end of file\n");
  assertEquals(await conn.read(new Uint8Array(9)), null);
}, { needs: ["python3"] });

test("connect() with lowLatency takes turns with C, which waits as usual", async () => {
  await using dir = new TempDir();
  const path = dir.file("l.sock");
  const source = `
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int n, char **args) {
  struct sockaddr_un name = {AF_UNIX};
  strcpy(name.sun_path, args[1]);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listener, (void *)&name, sizeof name) || listen(listener, 1) || write(1, "r\\n", 2) < 0)
    return 1;
  int s = accept(listener, 0, 0);
  char data[64];
  for (ssize_t count; (count = read(s, data, sizeof data)) > 0;)
    if (write(s, data, count) != count) return 1;
  return 0;
}`;
  await Deno.writeTextFile(dir.file("echo.c"), source);
  const compiled = await run("gcc", ["-O2", "-o", dir.file("echo"), dir.file("echo.c")]);
  assertEquals(compiled.code, 0, compiled.stderr);
  await using server = new Program(dir.file("echo"), [path]);
  assertEquals(await server.line(), "r");
  {
    await using conn = await connect({ path, lowLatency });
    await takeTurns(conn, 300);
  }
  assertEquals((await server.status).code, 0);
}, { needs: ["gcc"] });

test("pair() refuses lowLatency where there is no stream socket", async () => {
  const start = pair as (command: string, options: object) => Promise<unknown>;
  for (const option of [{ socket: "stdio" }, { type: "seqpacket" }]) {
    const refused = () => start("true", { ...option, lowLatency });
    await assertRejects(refused, TypeError, "Invalid lowLatency");
  }
});
