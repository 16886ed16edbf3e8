/** Packets: connections, datagrams and pairs, with calls that are aborted. */

import {
  bindPackets,
  connectPackets,
  listenPackets,
  type PacketSocket,
  socketpair,
} from "@uds/uds/native";
import { check, isSame, type Load, type Setting, until } from "../load.ts";

const MOST_BYTES = 10_000;

export async function open({ directory, random, stack, fail }: Setting): Promise<Load> {
  const [path, log] = [`${directory}/packets.sock`, `${directory}/log.sock`];
  const used = { packets: 0, datagrams: 0 };
  let datagrams = 0;
  let served = 0;

  const listener = stack.use(await listenPackets(path));
  async function echo(socket: PacketSocket): Promise<void> {
    served++;
    try {
      for await (const packet of socket) await socket.send(packet);
    } catch (error) {
      const { name } = error as Error;
      if (name !== "BrokenPipe" && name !== "ConnectionReset") fail(error);
    } finally {
      socket.close();
      served--;
    }
  }
  const accepting = (async () => {
    for await (const socket of listener) echo(socket);
  })().catch(fail);
  const receiver = stack.use(await bindPackets(log));
  const receiving = (async () => {
    for await (const _ of receiver) datagrams++;
  })().catch(fail);

  /** Sends packets, and compares what comes back. */
  async function exchange(from: PacketSocket, to: PacketSocket): Promise<void> {
    for (let i = random.below(20); i >= 0; i--) {
      const packet = random.bytes(1 + random.below(MOST_BYTES));
      from.send(packet);
      const back = await to.receive();
      check(back !== null && isSame(back, packet), "another packet came");
      used.packets++;
    }
  }
  const untilReceived = () =>
    until(() => datagrams === used.datagrams, "all datagrams are received");

  return {
    courses: {
      "packets": {
        weight: 20,
        async run() {
          await using socket = await connectPackets(path);
          await exchange(socket, socket);
        },
      },
      "packets never received": {
        weight: 10,
        async run() {
          const socket = await connectPackets(path);
          for (let i = random.below(20); i >= 0; i--) await socket.send(random.bytes(1000));
          socket.close();
        },
      },
      "pair of packet sockets": {
        weight: 20,
        async run() {
          const [a, b] = socketpair({ type: random.below(2) === 0 ? "seqpacket" : "dgram" });
          const abort = new AbortController();
          const reason = new Error("enough");
          const aborted = b.receive({ signal: abort.signal }).catch((error) => error);
          abort.abort(reason);
          check(await aborted === reason, "a receive was not aborted");
          await exchange(a, b);
          a.close();
          b.close();
        },
      },
      "datagrams": {
        weight: 20,
        async run() {
          await using socket = await connectPackets({ path: log, type: "dgram" });
          for (let i = random.below(20); i >= 0; i--) {
            await socket.send(random.bytes(random.below(MOST_BYTES)));
            used.datagrams++;
          }
        },
      },
    },
    async rest() {
      await untilReceived();
      await until(() => served === 0, "all packet sockets of the server are closed");
    },
    async end() {
      await untilReceived();
      await listener.close();
      await receiver.close();
      await Promise.all([accepting, receiving]);
      return used;
    },
  };
}
