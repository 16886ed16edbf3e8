/** `peerCredentials()` of packet sockets. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConnectionClosed } from "@uds/uds";
import {
  allow,
  bindPackets,
  connectPackets,
  listenPackets,
  peerCredentials,
  socketpair,
} from "@uds/uds/native";
import { TempDir, test } from "../_helpers.ts";
import { peer } from "./_paths.ts";

test("peerCredentials() of a client of listenPackets() is its process", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listenPackets(path);
  await using client = peer("client", path, "1");
  await using conn = await listener.accept();
  const { pid, uid, gid } = peerCredentials(conn);
  assertEquals([pid, uid, gid], [client.pid, Deno.uid(), Deno.gid()]);
  await conn.send((await conn.receive())!);
  conn.close();
  const error = assertThrows(() => peerCredentials(conn), ConnectionClosed);
  assertEquals(error.message, `Cannot identify a client of "${path}": the socket has closed`);
}, { needs: ["python3"] });

test("peerCredentials() of a server and of both types of pairs is this process", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _listener = await listenPackets(path);
  using client = await connectPackets(path);
  assertEquals(peerCredentials(client).pid, Deno.pid);
  for (const type of ["seqpacket", "dgram"] as const) {
    const [a, b] = socketpair({ type });
    assertEquals([peerCredentials(a).pid, peerCredentials(b).pid], [Deno.pid, Deno.pid]);
    a.close();
    b.close();
  }
});

test("allow() admits clients of listenPackets(), and refuses others by name", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listenPackets(path);
  using _client = await connectPackets(path);
  using conn = await listener.accept();
  assertEquals(allow({ uids: Deno.uid()! })(conn), true);
  const refuse = allow({ uids: 4_000_000_000 });
  const error = assertThrows(() => refuse(conn), Deno.errors.PermissionDenied);
  assert(error.message.startsWith(`Cannot authorize a client of "${path}": process ${Deno.pid} `));
});

test("peerCredentials() of a datagram socket with a path is not known", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _socket = await bindPackets(path);
  using client = await connectPackets({ path, type: "dgram" });
  const error = assertThrows(() => peerCredentials(client), Deno.errors.NotSupported);
  assertEquals(
    error.message,
    `Cannot identify "${path}": the kernel notes the peer of a datagram socket only for a pair. ` +
      `Use a socket of type seqpacket`,
  );
});
