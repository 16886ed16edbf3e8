/** Plugs the native module into the core, when this file is loaded. */

import { plugIn } from "../connection/native_slot.ts";
import { libcPath, requireLibc } from "../libc/library.ts";
import {
  beforeAccept,
  connectAndRecord,
  recordAccepted,
  recordOpen,
} from "./connection_descriptors.ts";
import { descriptors, listenAndFind } from "./descriptor_openings.ts";
import { lookAhead } from "./low_latency.ts";
import { childPackets, inheritedPackets } from "./packet_pair.ts";

plugIn({
  listen: (path, backlog) => listenAndFind(path, backlog).listener,
  connect: connectAndRecord,
  beforeAccept,
  accepted: recordAccepted,
  adopted: recordOpen,
  permissions: () => ({ ffi: [libcPath()] }),
  descriptors,
  childPackets,
  inheritedPackets,
  lowLatency(context) {
    requireLibc(context);
    return (conn) => void lookAhead(context, conn);
  },
});
