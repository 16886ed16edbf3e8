/** The behaviors that Go's `nettest.TestConn` expects, of sockets that carry packets. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConnectionClosed } from "@uds/uds";
import { connectPackets, listenPackets, type PacketSocket, socketpair } from "@uds/uds/native";
import { concat } from "../framing/_framing.ts";
import { decode, encode, gate, isPending, KIB, pseudoRandom, TempDir, turn } from "../_helpers.ts";
import { fill, receiveAll } from "../native/_packets.ts";
import { follows } from "./_follows.ts";

/** What the sockets of the tests are. Go calls a path with packets "unixpacket". */
const KINDS: Record<string, (dir: TempDir) => Promise<[PacketSocket, PacketSocket]>> = {
  "a path": async (dir) => {
    const path = dir.file("p.sock");
    await using listener = await listenPackets(path);
    return await Promise.all([connectPackets(path), listener.accept()]);
  },
  "a socket pair": () => Promise.resolve(socketpair({ type: "seqpacket" })),
};

/** Defines a test of two connected ends, for each kind of socket. */
function conforms(
  name: string,
  behavior: string,
  fn: (a: PacketSocket, b: PacketSocket) => Promise<void>,
): void {
  for (const [kind, open] of Object.entries(KINDS)) {
    follows(`Go nettest: TestConn/${name}`, `PacketSocket over ${kind}: ${behavior}`, async () => {
      await using dir = new TempDir();
      const [a, b] = await open(dir);
      try {
        await fn(a, b);
      } finally {
        a.close();
        b.close();
      }
    });
  }
}

/** Sends every packet back, until the socket closes. */
function echo(socket: PacketSocket): void {
  (async () => {
    for await (const packet of socket) await socket.send(packet);
  })().catch(() => {});
}

/** Asserts that what an echoing peer gets comes back. */
async function roundTrip(socket: PacketSocket): Promise<void> {
  await socket.send(encode("once around"));
  assertEquals(decode((await socket.receive())!), "once around");
}

/** Receives what an echoing peer still has, up to a marker that was not sent before. */
async function resync(socket: PacketSocket): Promise<void> {
  const sending = socket.send(encode("marker"));
  while (decode((await socket.receive())!) !== "marker");
  await sending;
}

/** Returns the message of what a call rejects with. */
async function errorReason(call: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => call, Error)).message;
}

const PACKET = new Uint8Array(KIB);

conforms("BasicIO", "many packets arrive whole, then the end", async (a, b) => {
  const sent = pseudoRandom(256 * KIB, 1);
  const received = receiveAll(b);
  for (let at = 0; at < sent.length; at += KIB) await a.send(sent.subarray(at, at + KIB));
  a.close();
  const packets = await received;
  assertEquals(packets.length, 256);
  assertEquals(concat(...packets), sent);
});

conforms("PingPong", "both ends count to 300 by turns", async (a, b) => {
  const counts = async (socket: PacketSocket) => {
    let seen = 0;
    for await (const packet of socket) {
      const value = Number(decode(packet));
      assertEquals(value % 2, socket === b ? 0 : 1);
      seen++;
      if (value === 300) break;
      await socket.send(encode(String(value + 1)));
    }
    socket.close();
    return seen;
  };
  const counting = Promise.all([counts(a), counts(b)]);
  await a.send(encode("0"));
  assertEquals(await counting, [150, 151]);
});

conforms("RacyRead", "a received packet can be changed at once", async (a, b) => {
  const sending = (async () => {
    for (let i = 0; i < 200; i++) await b.send(PACKET.slice().fill(i));
  })();
  for (let i = 0; i < 200; i++) {
    const aborted = errorReason(a.receive({ signal: AbortSignal.abort(new Error("late")) }));
    const packet = (await a.receive())!;
    assert(packet.length === KIB && packet.every((byte) => byte === i), `packet ${i} differs`);
    packet.fill(0xee);
    assertEquals(await aborted, "late");
  }
  await sending;
});

conforms("RacyWrite", "the bytes of a send are free once it has settled", async (a, b) => {
  const received = receiveAll(b);
  await Promise.all(Array.from({ length: 10 }, async (_, sender) => {
    const bytes = PACKET.slice();
    for (let i = 0; i < 40; i++) {
      const each = new AbortController();
      const sending = a.send(bytes.fill(sender), { signal: each.signal });
      if (i % 2 === 1) each.abort(new Error("late"));
      await sending.catch(() => {});
      bytes.fill(0xee);
    }
  }));
  a.close();
  const packets = await received;
  assert(packets.length >= 200);
  for (const packet of packets) {
    assert(packet[0]! < 10 && packet.every((byte) => byte === packet[0]));
  }
});

conforms("ReadTimeout", "a receive that is aborted does not affect sends", async (a, b) => {
  const signal = AbortSignal.abort(new Error("long ago"));
  assertEquals(await errorReason(a.receive({ signal })), "long ago");
  await a.send(PACKET);
  assertEquals((await b.receive())?.length, KIB);
});

conforms("WriteTimeout", "a send that is aborted does not affect receives", async (a, b) => {
  const signal = AbortSignal.abort(new Error("long ago"));
  assertEquals(await errorReason(a.send(PACKET, { signal })), "long ago");
  await b.send(encode("still here"));
  assertEquals(decode((await a.receive())!), "still here");
  a.close();
  assertEquals(await b.receive(), null);
});

conforms("PastTimeout", "a signal that has aborted rejects calls at once", async (a, b) => {
  echo(b);
  await roundTrip(a);
  const signal = AbortSignal.abort(new Error("past"));
  assertEquals(await errorReason(a.send(PACKET, { signal })), "past");
  assertEquals(await errorReason(a.receive({ signal })), "past");
  await roundTrip(a);
});

conforms("PresentTimeout", "an abort ends sends and receives that wait", async (a, b) => {
  const late = new AbortController();
  const { count, waiting } = await fill(a, PACKET);
  const receiving = errorReason(a.receive({ signal: late.signal }));
  const sending = errorReason(a.send(encode("never"), { signal: late.signal }));
  assert(await isPending(Promise.race([receiving, sending])));
  late.abort(new Error("now"));
  assertEquals([await receiving, await sending], ["now", "now"]);
  for (let i = 0; i <= count; i++) assertEquals((await b.receive())?.length, KIB);
  await waiting;
  a.close();
  assertEquals(await b.receive(), null);
});

conforms(
  "FutureTimeout",
  "calls wait until their time is over, and later ones work",
  async (a, b) => {
    const { waiting } = await fill(a, PACKET);
    const late = () => ({ signal: AbortSignal.timeout(10) });
    for (const call of [a.receive(late()), a.send(encode("never"), late())]) {
      assertEquals((await assertRejects(() => call, DOMException)).name, "TimeoutError");
    }
    echo(b);
    await Promise.all([waiting, resync(a)]);
    await roundTrip(a);
  },
);

conforms("CloseTimeout", "close() ends sends and receives that are under way", async (a, b) => {
  echo(b);
  const { opened: running, open } = gate();
  const forever = async (call: () => Promise<unknown>) => {
    for (;;) {
      await call();
      open();
    }
  };
  const receives = assertRejects(() => forever(() => a.receive()), ConnectionClosed);
  const sends = assertRejects(() => forever(() => a.send(PACKET)), ConnectionClosed);
  await running;
  a.close();
  await Promise.all([receives, sends]);
});

conforms("ConcurrentMethods", "all members can be used at once", async (a, b) => {
  echo(b);
  const ends: Promise<unknown>[] = [];
  for (let i = 0; i < 100; i++) {
    const each = new AbortController();
    ends.push(
      a.receive({ signal: each.signal }),
      a.receive({ signal: AbortSignal.abort() }),
      a.send(PACKET, { signal: each.signal }),
      a.send(PACKET),
      turn().then(() => each.abort()),
    );
    a.unref();
    a.ref();
    assertEquals([a.localAddr.transport, a.remoteAddr.transport], ["unix", "unix"]);
  }
  // What still waits in the queue of the peer leaves room for the last sends.
  const rest = new AbortController();
  const draining = (async () => {
    while (await a.receive(rest));
  })().catch(() => {});
  await Promise.allSettled(ends);
  rest.abort();
  await draining;
  await resync(a);
  await roundTrip(a);
});
