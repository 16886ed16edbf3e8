/** Connections of the native module behave as Go's `nettest.TestConn` expects. */

import { connect, type Connection, type ConnectOptions, listen } from "@uds/uds";
import { lowLatency, socketpair } from "@uds/uds/native";
import { libcIfGranted } from "../../_internal/libc/library.ts";
import { readiness } from "../../_internal/libc/readiness.ts";
import { testConn } from "./_go_nettest.ts";

// These stay open. Opened here, they do not count as a leak of the first test.
const libc = libcIfGranted();
if (libc !== undefined) readiness(libc);

/** Connects at a path, both ends with some options. */
async function ends(options: ConnectOptions): Promise<[Connection, Connection]> {
  await using listener = await listen(options);
  return await Promise.all([connect(options), listener.accept()]);
}

testConn({
  "with descriptors": (dir) => ends({ path: dir.file("d.sock"), descriptors: true }),
  "with low latency": async (dir) => {
    const [a, b] = await ends({ path: dir.file("l.sock"), lowLatency: true });
    lowLatency(a, { lookFor: 50 });
    return [a, b];
  },
  "over a native socket pair": () => Promise.resolve(socketpair()),
});
