/**
 * Two connections that are each other's peer, and telling one's own connection from a stranger's: by
 * bytes that only we know, and which are there before it is accepted.
 */

import { join } from "@std/path";
import { SocketConnection } from "./socket_connection.ts";
import { turn } from "./delay.ts";
import { requireGrants } from "./grants.ts";
import { codeOf } from "./system_error.ts";

/** How many turns of the loop the bytes may take that are there already. */
const TURNS = 3;

/**
 * Connects to our own listener and accepts that connection. The backlog is a queue: everyone who stood
 * in it before is dropped.
 */
export async function connectToSelf(
  listener: Deno.UnixListener,
  path: string,
): Promise<[accepted: Deno.UnixConn, connected: Deno.UnixConn]> {
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const connected = await connectPast(listener, path);
  try {
    await connected.write(secret);
    for (;;) {
      const candidate = await listener.accept();
      const buffer = new Uint8Array(secret.length);
      let count: number | null | undefined;
      candidate.read(buffer).then((n) => count = n, () => count = null);
      for (let i = 0; i < TURNS && count === undefined; i++) await turn();
      if (count === secret.length && secret.every((byte, i) => byte === buffer[i])) {
        return [candidate, connected];
      }
      candidate.close();
    }
  } catch (error) {
    connected.close();
    throw error;
  }
}

/** Connects; strangers who fill the backlog are dropped to make room. */
async function connectPast(listener: Deno.UnixListener, path: string): Promise<Deno.UnixConn> {
  for (;;) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      (await listener.accept()).close();
    }
  }
}

/** Two ends in this process. */
export async function openSocketPair(): Promise<[SocketConnection, SocketConnection]> {
  const isLinux = Deno.build.os === "linux" || Deno.build.os === "android";
  const fields = { operation: "socketpair", path: null };
  requireGrants("Cannot make a socket pair", { net: true }, fields);
  if (isLinux) return wrap(await meet(`\0uds-${crypto.randomUUID()}`));
  requireGrants("Cannot make a socket pair", { read: true, write: true }, fields);
  const directory = await Deno.makeTempDir({ prefix: "uds-" });
  try {
    return wrap(await meet(join(directory, "pair")));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function meet(path: string): Promise<[Deno.UnixConn, Deno.UnixConn]> {
  using listener = Deno.listen({ transport: "unix", path });
  return await connectToSelf(listener, path);
}

function wrap(ends: [Deno.UnixConn, Deno.UnixConn]): [SocketConnection, SocketConnection] {
  const addr = { transport: "unix", path: null } as const;
  const [a, b] = ends.map((end) =>
    new SocketConnection(end, { localAddr: addr, remoteAddr: addr })
  );
  return [a as SocketConnection, b as SocketConnection];
}
