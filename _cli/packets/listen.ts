/** `uds listen` and `uds echo` on a socket of packets. */

import { settlesWithin } from "../../_internal/base/silence.ts";
import { isPeerClosed } from "../../_internal/base/peer_closed.ts";
import type { SocketPath } from "../../address.ts";
import { ConnectionClosed, NothingListening, SocketNotFound } from "../../errors.ts";
import { bindPackets, type DatagramSocket } from "../../native/bind_packets.ts";
import { listenPackets } from "../../native/listen_packets.ts";
import type { PacketSocket } from "../../native/packet_socket.ts";
import { QuietEnd, UsageError } from "../exit_codes.ts";
import { refuseGiven } from "../io/activation.ts";
import { pipeStdio, type Wire } from "../io/pipe_stdio.ts";
import { reporter } from "../io/reporter.ts";
import { stopSignal } from "../io/signals.ts";
import { waitLimit } from "../io/silence_limit.ts";
import type { ExchangingFlags } from "../parse/options.ts";
import {
  checkPackets,
  closing,
  type PacketFlags,
  packetItems,
  packetWire,
  printPacket,
  QUIET_MS,
  toPacket,
} from "./stdio.ts";

/** The options of `listen` that packets have too. */
type ListenFlags = PacketFlags & ExchangingFlags & {
  readonly keep?: boolean;
  readonly mode?: number;
  readonly timeout?: number;
};

/** How long, in milliseconds, a client may take to end after the first signal. */
const STOP_MS = 500;

/** Serves connections of packets, one client after another. */
export async function listenSeqpacket(flags: ListenFlags, path: SocketPath): Promise<void> {
  checkPackets(flags);
  await refuseGiven(path, flags);
  const signal = stopSignal();
  const { keep, mode, expect } = flags;
  const timeout = flags.timeout || undefined;
  await using listener = await listenPackets({ path, signal, mode });
  begin(listener.addr.path, signal);
  const input = packetItems(flags);
  using limit = waitLimit(path, timeout);
  limit.signal.addEventListener("abort", () => void listener.close().catch(() => {}));
  for await (const socket of listener) {
    limit.pause();
    // One client only: refuse the others at once.
    if (!keep) await listener.close();
    try {
      const options = { signal, graceMs: STOP_MS, expect, timeout };
      await pipeStdio(packetWire(socket, flags, { quietMs: QUIET_MS }), input, options);
    } catch (error) {
      // After the signal, this side closed the connection.
      if (!(error instanceof ConnectionClosed)) {
        if (!keep || error instanceof QuietEnd) throw error;
        reporter.report(error);
      }
    }
    if (keep) limit.restart();
  }
  limit.signal.throwIfAborted();
}

/** Prints the datagrams of every sender. The input goes to the last one that has a name. */
export async function listenDatagrams(flags: ListenFlags, path: SocketPath): Promise<void> {
  checkPackets(flags);
  if (flags.keep) {
    throw new UsageError("--keep does not go with --type dgram: it receives from every sender");
  }
  await refuseGiven(path, flags);
  const signal = stopSignal();
  const { mode, expect } = flags;
  const timeout = flags.timeout || undefined;
  await using socket = await bindPackets({ path, signal, mode });
  begin(socket.addr.path, signal);
  // The time for the expected packets is limited as a whole.
  using limit = waitLimit(path, expect === undefined ? timeout : undefined, "no packet");
  limit.signal.addEventListener("abort", () => void socket.close().catch(() => {}));
  await pipeStdio(datagramWire(socket, flags, () => limit.pause()), packetItems(flags), {
    signal,
    expect,
    timeout,
  });
  limit.signal.throwIfAborted();
}

/** Returns a datagram socket that answers the last sender. */
function datagramWire(socket: DatagramSocket, flags: PacketFlags, onPacket: () => void): Wire {
  const first = Promise.withResolvers<void>();
  let sender: string | null = null;
  return {
    conn: closing(() => socket.close()),
    channel: { closeWrite: () => Promise.resolve(), close: () => void socket.close() },
    incoming: receive(),
    async send(item) {
      const packet = toPacket(item, flags);
      await first.promise;
      // Nothing has a name to send to, and the socket is closed.
      if (sender !== null) {
        await socket.send(packet, sender).catch((error) => reporter.report(error));
      }
    },
    print: (packet) => printPacket(packet, flags, flags.json ? sender : undefined),
  };

  async function* receive(): AsyncGenerator<Uint8Array> {
    try {
      for await (const { packet, from } of socket) {
        onPacket();
        sender = from ?? sender;
        if (sender !== null) first.resolve();
        yield packet;
      }
    } finally {
      first.resolve();
    }
  }
}

/** Sends back the packets of every connection. */
export async function echoSeqpacket(flags: ListenFlags, path: SocketPath): Promise<void> {
  checkPackets(flags);
  await refuseGiven(path, flags);
  const signal = stopSignal();
  await using listener = await listenPackets({ path, signal, mode: flags.mode });
  begin(listener.addr.path, signal);
  const sockets = new Set<PacketSocket>();
  const echoes = new Set<Promise<void>>();
  for await (const socket of listener) {
    sockets.add(socket);
    const echo = sendBack(socket).catch(reportEcho).finally(() => {
      sockets.delete(socket);
      echoes.delete(echo);
    });
    echoes.add(echo);
  }
  await settlesWithin(Promise.all(echoes), SHUTDOWN_MS);
  for (const socket of sockets) socket.close();
}

/** How long, in milliseconds, connections may take to end after the signal, as with `serve()`. */
const SHUTDOWN_MS = 5000;

async function sendBack(socket: PacketSocket): Promise<void> {
  await using _closed = socket;
  for await (const packet of socket) await socket.send(packet);
}

/** The maximum number of datagrams that wait for their receivers. Further ones are dropped. */
const MOST_WAITING = 1024;

/** Sends back the datagrams of every sender that has a name. */
export async function echoDatagrams(flags: ListenFlags, path: SocketPath): Promise<void> {
  checkPackets(flags);
  await refuseGiven(path, flags);
  const signal = stopSignal();
  await using socket = await bindPackets({ path, signal, mode: flags.mode });
  begin(socket.addr.path, signal);
  let waiting = 0;
  for await (const { packet, from } of socket) {
    if (from === null || waiting === MOST_WAITING) {
      const why = from === null ? "its sender has no name" : `${MOST_WAITING} wait to be sent`;
      reporter.sayCounted(why, `dropped a packet: ${why}`, { event: "dropped", why });
      continue;
    }
    waiting++;
    socket.send(packet, from).catch(reportEcho).finally(() => waiting--);
  }
}

/** Reports that an echo failed. A client that has gone does not want it. */
function reportEcho(error: unknown): void {
  const hasLeft = isPeerClosed(error) || error instanceof NothingListening ||
    error instanceof SocketNotFound;
  if (hasLeft) reporter.reportLeft(error);
  else reporter.report(error);
}

function begin(path: string | null, signal: AbortSignal): void {
  reporter.listening(path);
  signal.addEventListener("abort", () => reporter.ending());
}
