import { connect, type Connection, ConnectionClosed, pair, serve, socketpair } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { encode, TempDir, test } from "../_helpers.ts";

/**
 * Connections of each kind that have closed by themselves: every later call settles, and in the
 * same way.
 */

const KINDS: Record<string, (use: (conn: Connection) => Promise<void>) => Promise<void>> = {
  "a path": async (use) => {
    await using dir = new TempDir();
    await using _server = await serve(
      { path: dir.file("s"), onError() {} },
      (conn) => conn.readable.pipeTo(conn.writable),
    );
    using conn = await connect(dir.file("s"));
    await use(conn);
  },
  "socketpair()": async (use) => {
    const [conn, peer] = await socketpair();
    peer.readable.pipeTo(peer.writable).catch(() => {});
    await use(conn);
    peer.close();
  },
  "pair()": async (use) => {
    // cat reports a connection that is reset.
    const args = ["-c", "exec cat <&3 >&3"];
    await using child = await pair("sh", { args, stderr: "null", grace: 100 });
    await use(child.conn);
  },
};

for (const [kind, run] of Object.entries(KINDS)) {
  test(`calls on a connection of ${kind} that has closed by itself settle`, async () => {
    await run(async (conn) => {
      await conn.write(encode("hello\n"));
      await conn.closeWrite();
      for await (const _ of conn.readable) break;
      await conn.closed;
      const state = "both directions have ended";
      await assertRejects(() => conn.read(new Uint8Array(9)), ConnectionClosed, state);
      await assertRejects(() => conn.write(new Uint8Array(9)), ConnectionClosed);
      await conn.closeWrite();
      await conn[Symbol.asyncDispose]();
    });
  });

  test(`calls on a connection of ${kind} that wait settle when it closes`, async () => {
    await run(async (conn) => {
      const calls = [
        conn.read(new Uint8Array(9)),
        conn.read(new Uint8Array(9)),
        conn.write(new Uint8Array(8 * 1024 * 1024)),
        conn.write(new Uint8Array(9)),
        conn.closeWrite(),
      ];
      const settled = Promise.allSettled(calls);
      conn.close();
      await conn.closed;
      const states = (await settled).map(({ status }) => status);
      assertEquals(states.slice(2), ["rejected", "rejected", "rejected"]);
      for (const again of [conn.read(new Uint8Array(9)), conn.write(new Uint8Array(9))]) {
        await assertRejects(() => again as Promise<unknown>, ConnectionClosed);
      }
    });
  });
}

test("all pending calls on a pair settle when the child is killed", async () => {
  await using child = await pair("sleep", { args: ["30"], grace: 0 });
  const { conn } = child;
  const settled = Promise.allSettled([
    conn.read(new Uint8Array(9)),
    conn.write(new Uint8Array(8 * 1024 * 1024)),
    conn.closeWrite(),
  ]);
  child.kill("SIGKILL");
  await child.status;
  assertEquals((await settled)[1].status, "rejected");
  await assertRejects(() => conn.write(new Uint8Array(1)), Error);
});
