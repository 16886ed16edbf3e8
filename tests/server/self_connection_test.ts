import { assertEquals } from "@std/assert";
import { connectToSelf } from "../../_internal/accept/marker.ts";
import { TempDir, test } from "../_helpers.ts";

/** Returns a listener as in a busy process: available bytes are read some turns later. */
function slowly(listener: Deno.UnixListener, turns: number): Deno.UnixListener {
  const accept = async () => {
    const conn = await listener.accept();
    const read = conn.read.bind(conn);
    conn.read = async (buffer) => {
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setTimeout(resolve, 0));
      return await read(buffer);
    };
    return conn;
  };
  return { accept, close: () => listener.close() } as Deno.UnixListener;
}

test(
  "connectToSelf() finds its marker among other clients, however late the bytes are read",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const listener = Deno.listen({ transport: "unix", path });
    // Together with our own they fill one batch: it is dropped before its bytes are read.
    const others = await Promise.all(
      Array.from({ length: 63 }, () => Deno.connect({ transport: "unix", path })),
    );

    const own = await connectToSelf(slowly(listener, 20), path);
    await own.connected.write(new Uint8Array([7]));
    const byte = new Uint8Array(2);
    assertEquals([await own.accepted.read(byte), byte[0]], [1, 7]);
    assertEquals(own.behind.length, 0);
    for (const other of others) {
      assertEquals(await other.read(byte), null);
      other.close();
    }
    own.accepted.close();
    own.connected.close();
    own.accepting.catch(() => {});
    await own.acceptor.close();
  },
  { deadline: 3000 },
);
