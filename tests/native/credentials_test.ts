/** The identity of a peer, as the kernel noted it. */

import { connect, type Connection, ConnectionClosed, listen, pair, socketpair } from "@uds/uds";
import { peerCredentials, peerProcess } from "@uds/uds/native";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { toConnection } from "@uds/uds";
import { fixture, fixturePath, Program, TempDir, test } from "../_helpers.ts";
import "./_libc.ts";

const NOBODY = 65534;

/** A listener that every user can connect to, and a client in Python. */
async function withClient(
  args: (string | number)[],
  use: (conn: Connection, client: Program) => Promise<void> | void,
): Promise<void> {
  await using dir = new TempDir(0o755);
  const path = dir.file("app.sock");
  await using listener = await listen({ path, mode: 0o666 });
  await using client = new Program("python3", [
    fixturePath("native_client.py"),
    path,
    ...args.map(String),
  ]);
  using conn = await listener.accept();
  await use(conn, client);
}

test("peerCredentials() of both ends in one process", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  using client = await connect(path);
  using server = await listener.accept();
  for (const conn of [client, server]) {
    const { pid, uid, gid, groups } = peerCredentials(conn);
    assertEquals({ pid, uid, gid }, { pid: Deno.pid, uid: Deno.uid(), gid: Deno.gid() });
    assert(groups.every((group) => Number.isInteger(group)));
  }
});

test("peerCredentials() of another user: pid, uid, gid and supplementary groups", async () => {
  await withClient([NOBODY, 7, "4,24,27", "stay"], async (conn, client) => {
    const pid = Number(await client.line());
    assertEquals(peerCredentials(conn), { pid, uid: NOBODY, gid: 7, groups: [4, 24, 27] });
  });
}, { needs: ["python3"], root: true });

test("peerCredentials() of a process with 5,000 groups", async () => {
  const groups = Array.from({ length: 5000 }, (_, i) => 1000 + i);
  await withClient([1, 1, groups.join(","), "stay"], (conn) => {
    assertEquals(peerCredentials(conn).groups, groups);
  });
}, { needs: ["python3"], root: true });

test(
  "peerCredentials() stay those of the connect, also if the client changes its user",
  async () => {
    await withClient([0, 0, "4", "become", NOBODY], async (conn, client) => {
      const pid = Number(await client.line());
      assertEquals(peerCredentials(conn), { pid, uid: 0, gid: 0, groups: [4] });
    });
  },
  { needs: ["python3"], root: true },
);

test("peerCredentials() of a raw connection that was adopted", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  using listener = Deno.listen({ transport: "unix", path });
  using client = toConnection(await Deno.connect({ transport: "unix", path }));
  using server = toConnection(await listener.accept());
  assertEquals(peerCredentials(client).pid, Deno.pid);
  assertEquals(peerCredentials(server).pid, Deno.pid);
});

test("peerCredentials() of several sockets that may be meant, if all have the same peer", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  using _listener = Deno.listen({ transport: "unix", path });
  const raw = [];
  for (let i = 0; i < 3; i++) raw.push(await Deno.connect({ transport: "unix", path }));
  using client = toConnection(raw[0]!);
  assertEquals(peerCredentials(client).pid, Deno.pid);
  assertThrows(
    () => peerProcess(client),
    Deno.errors.NotSupported,
    `Cannot open the process of "${path}": 3 sockets may be its own`,
  );
  raw[1]!.close();
  raw[2]!.close();
});

test("peerCredentials() of a pair name the process that made it", async () => {
  const [a, b] = await socketpair();
  using _a = a;
  using _b = b;
  assertEquals([peerCredentials(a).pid, peerCredentials(b).pid], [Deno.pid, Deno.pid]);
  await using child = await pair("cat");
  assertEquals(peerCredentials(child.conn).pid, Deno.pid);
  assertThrows(() => peerProcess(child.conn), Deno.errors.NotSupported, "Use the pid of the child");
});

test("peerCredentials() of the standard streams of a child is refused: they are pipes", async () => {
  await using child = await pair("cat", { socket: "stdio" });
  const error = assertThrows(() => peerCredentials(child.conn), Deno.errors.NotSupported);
  assertEquals(
    error.message,
    "Cannot identify the unnamed peer: its descriptor cannot be found: it is not a socket, but for " +
      "example the pipes of a child",
  );
});

test("peerCredentials() of a closed connection, and of something else", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  const client = await connect(path);
  using _server = await listener.accept();
  client.close();
  const error = assertThrows(() => peerCredentials(client), ConnectionClosed);
  assertEquals([error.operation, error.path], ["peerCredentials", path]);
  assertThrows(
    () => peerCredentials({} as never),
    TypeError,
    "Invalid connection: expected a Connec",
  );
});

test("a server in a namespace of users and processes sees 65534, and no pid", async () => {
  await using dir = new TempDir(0o777);
  const path = dir.file("app.sock");
  const args = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", Deno.execPath()];
  const script = fixturePath("native_identify.ts");
  await using server = new Program("unshare", [...args, "run", "-A", "--no-lock", script, path]);
  assertEquals(await server.line(), "listening");
  await using _client = new Program("python3", [
    fixturePath("native_client.py"),
    ...[path, "7", "7", "", "stay"],
  ]);
  assertEquals(JSON.parse(await server.line()), {
    pid: null,
    uid: NOBODY,
    gid: NOBODY,
    groups: [],
  });
}, { needs: ["unshare", "python3"], root: true });

test(
  "peerProcess() notices the exit of a peer although its connection goes on, and sends no more signals",
  async () => {
    await withClient([0, 0, "-", "leave"], async (conn, client) => {
      const pid = Number(await client.line());
      using peer = peerProcess(conn);
      assertEquals(peer.pid, pid);
      const exited = peer.exited;
      await conn.write(new Uint8Array(1));
      await exited;
      await client.status;
      peer.kill("SIGKILL");
      // Its child still has the connection.
      await conn.write(new Uint8Array(1));
    });
  },
  { needs: ["python3"] },
);

test("peerProcess().kill() ends exactly the peer", async () => {
  await withClient([0, 0, "-", "stay"], async (conn, client) => {
    await client.line();
    using peer = peerProcess(conn);
    assertThrows(() => peer.kill("SIGNONE" as never), TypeError, 'got "SIGNONE"');
    peer.kill();
    await peer.exited;
    assertEquals((await client.status).signal, "SIGTERM");
  });
}, { needs: ["python3"] });

test(
  "peerProcess() of a process that has exited and was reaped is refused, or does nothing",
  async () => {
    await withClient([0, 0, "-", "leave"], async (conn, client) => {
      await client.line();
      await conn.write(new Uint8Array(1));
      await client.status;
      try {
        using peer = peerProcess(conn);
        await peer.exited;
      } catch (error) {
        assert(error instanceof Deno.errors.NotFound);
        assertStringIncludes(error.message, "it has exited");
      }
    });
  },
  { needs: ["python3"] },
);

test("peerProcess() after disposal", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  using client = await connect(path);
  using _server = await listener.accept();
  const peer = peerProcess(client);
  const pending = peer.exited;
  peer[Symbol.dispose]();
  peer[Symbol.dispose]();
  const message = `Cannot await process ${Deno.pid}: it was disposed`;
  await assertRejects(() => pending, Deno.errors.BadResource, message);
  assertThrows(() => peer.kill(), Deno.errors.BadResource);
});

test("a connection of before the import of the native module", async () => {
  await using program = fixture("native_late.ts", ["-A"]);
  assertEquals(await program.output(), ["alone: proven", "two: proven", "later: proven"]);
});
