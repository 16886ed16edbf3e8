/** Packets, or descriptors that are closed as they come, one way. The word is the work. */

import { connect, serve } from "@uds/uds";
import {
  connectPackets,
  listenPackets,
  receiveDescriptors,
  sendDescriptors,
} from "@uds/uds/native";
import { openSync } from "node:fs";
import { counted, PASSES, ready, report, TASK, timed } from "./_program.ts";

const { path, role, size, words } = TASK;
const item = new Uint8Array(size);
const packets = words.includes("packets");

function count(bytes: number): void {
  counted.items++;
  counted.bytes += bytes;
}

async function receivePackets(): Promise<void> {
  await using listener = await listenPackets(path);
  ready();
  for (const items of PASSES) {
    await using socket = await listener.accept();
    for (let i = 0; i < items; i++) count((await socket.receive())?.length ?? 0);
  }
}

async function receive(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const passes = PASSES.values();
  let ended = 0;
  await using _server = await serve({ path, descriptors: true }, async (conn) => {
    const items = passes.next().value!;
    for (let i = 0; i < items; i++) {
      const received = await receiveDescriptors(conn, item);
      received?.descriptors[0]?.[Symbol.dispose]();
      count(received?.count ?? 0);
    }
    if (++ended === PASSES.length) resolve();
  });
  ready();
  await promise;
}

async function sendPackets(items: number): Promise<void> {
  await using socket = await connectPackets(path);
  for (let i = 0; i < items; i++) {
    await socket.send(item);
    count(size);
  }
  await socket.receive();
}

const fd = openSync("/dev/null", "r");

async function send(items: number): Promise<void> {
  await using conn = await connect({ path, descriptors: true });
  for (let i = 0; i < items; i++) {
    await sendDescriptors(conn, item, [fd]);
    count(size);
  }
  await conn.read(item);
}

if (role === "client") {
  report({ seconds: await timed(packets ? sendPackets : send) });
} else {
  await (packets ? receivePackets() : receive());
  report();
}
