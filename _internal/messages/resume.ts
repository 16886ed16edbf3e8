/** The connection of a channel after its messages. What was read ahead comes first. */

import type { UnixAddr } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import type { ByteChannel } from "../../framing/codec.ts";
import { handled } from "../base/rejection.ts";
import { SocketConnection } from "../connection/socket_connection.ts";
import type { MessageReceiver } from "./receiver.ts";
import type { MessageSender } from "./sender.ts";

/** What a channel may have besides its methods, as a `Deno.Conn` has. */
interface Extras {
  localAddr?: { path?: string | null };
  remoteAddr?: { path?: string | null };
  ref?(): void;
  unref?(): void;
}

/** Ends both halves of a channel, and returns its connection, or a new one over it. */
export function resume(
  channel: ByteChannel,
  receiver: Pick<MessageReceiver<unknown>, "detach">,
  sender: Pick<MessageSender<never>, "detach" | "hasEnded" | "requireIdle">,
): Connection {
  const { hasEnded } = sender;
  const isQueued = channel instanceof SocketConnection;
  // If one of these throws, neither half is detached.
  sender.requireIdle();
  const { ahead, late } = receiver.detach();
  const written = sender.detach(isQueued);
  const conn = isQueued ? channel : connectionOver(channel, written, late);
  // Each goes in front of what is there, so the last bytes are put back first.
  if (late !== undefined) conn.putBack(late);
  if (ahead.length > 0) conn.putBack(ahead);
  if (hasEnded) handled(conn.closeWrite());
  return conn;
}

/**
 * Returns a connection over a channel. Its writes wait for those before, its reads for a pending
 * one.
 */
function connectionOver(
  channel: ByteChannel & Extras,
  written: Promise<void>,
  late: Promise<Uint8Array> | undefined,
): SocketConnection {
  const conn = new SocketConnection({
    async read(buffer) {
      await late;
      return await channel.read(buffer);
    },
    async write(data) {
      await written;
      return await channel.write(data);
    },
    async closeWrite() {
      await written;
      await channel.closeWrite?.();
    },
    close: () => channel.close?.(),
    ref: () => channel.ref?.(),
    unref: () => channel.unref?.(),
  }, { localAddr: unixAddress(channel.localAddr), remoteAddr: unixAddress(channel.remoteAddr) });
  conn.writeAfter(written);
  return conn;
}

/** Returns the address of a Unix socket. One of any other socket has no path. */
function unixAddress({ path = null }: Extras["localAddr"] & object = {}): UnixAddr {
  return { transport: "unix", path };
}
