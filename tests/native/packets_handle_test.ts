/** Packets over an inherited descriptor, without libc: the transport alone, in this process. */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { ErrorContext } from "../../_internal/base/error_context.ts";
import { AF_UNIX } from "../../_internal/libc/constants.ts";
import { requireLibc } from "../../_internal/libc/library.ts";
import { HandlePackets } from "../../_internal/native/handle_packets.ts";
import { openPair, TYPES as NUMBERS, unnamedPackets } from "../../_internal/native/packet_pair.ts";
import { TransportPacketSocket } from "../../_internal/native/packet_socket.ts";
import { isPending, test } from "../_helpers.ts";
import { TYPES } from "./_packets.ts";

for (const type of TYPES) {
  test(`HandlePackets: after an abort, memory that a ${type} packet used carries the next`, async () => {
    const context = new ErrorContext("socketpair", null, "Cannot make a socket pair");
    const libc = requireLibc(context);
    const [fd, others] = openPair(context, libc, AF_UNIX, NUMBERS[type], 0);
    const addr = { transport: "unix", path: null } as const;
    const transport = new HandlePackets(context, fd, type, undefined);
    using a = new TransportPacketSocket(transport, { type, localAddr: addr, remoteAddr: addr });
    using b = unnamedPackets(libc, others, type, undefined);
    const memory = new Uint8Array(1000);
    let count = 0;
    for (;; count++) {
      memory[0] = count;
      const controller = new AbortController();
      const sending = a.send(memory, { signal: controller.signal });
      if (!await isPending(sending)) continue;
      const reason = new Error("enough");
      controller.abort(reason);
      assertStrictEquals(await assertRejects(() => sending, Error), reason);
      break;
    }
    memory[0] = 255;
    const sending = a.send(memory);
    // The handle cannot take back the packet that it was sending.
    for (let i = 0; i <= count; i++) assertEquals((await b.receive())![0], i);
    assertEquals((await b.receive())![0], 255);
    await sending;
  });
}
