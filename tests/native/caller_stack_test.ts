import type { Connection } from "@uds/uds";
import {
  allow,
  bindLongPath,
  bindPackets,
  bufferSizes,
  closeRead,
  connectLongPath,
  connectPackets,
  delivered,
  listenPackets,
  lowLatency,
  peerCredentials,
  peerProcess,
  receiveDescriptors,
  sendDescriptors,
  setBacklog,
  setBufferSizes,
  socketpair,
  unreadBytes,
} from "@uds/uds/native";
import { assert, assertEquals } from "@std/assert";
import "./_libc.ts";
import { ROOT, TempDir, test } from "../_helpers.ts";

/** A connection that has closed, and a path where nothing is. */
interface Wrong {
  conn: Connection;
  path: string;
}

/** Calls that fail, because of an argument or of the system. */
const CALLS: Record<string, (wrong: Wrong) => unknown> = {
  "allow() of none": () => allow({}),
  "bindLongPath() nowhere": ({ path }) => bindLongPath(`${path}/s`),
  "bindPackets() nowhere": ({ path }) => bindPackets(`${path}/s`),
  "bufferSizes()": ({ conn }) => bufferSizes(conn),
  "closeRead()": ({ conn }) => closeRead(conn),
  "connectLongPath() to nothing": ({ path }) => connectLongPath(path),
  "connectPackets() to nothing": ({ path }) => connectPackets(path),
  "delivered()": ({ conn }) => delivered(conn),
  "listenPackets() nowhere": ({ path }) => listenPackets(`${path}/s`),
  "lowLatency()": ({ conn }) => lowLatency(conn),
  "peerCredentials()": ({ conn }) => peerCredentials(conn),
  "peerProcess()": ({ conn }) => peerProcess(conn),
  "receiveDescriptors()": ({ conn }) => receiveDescriptors(conn, new Uint8Array(1)),
  "sendDescriptors()": ({ conn }) => sendDescriptors(conn, new Uint8Array(1), [0]),
  "setBacklog() of no listener": ({ path }) => setBacklog(path, 1),
  "setBufferSizes()": ({ conn }) => setBufferSizes(conn, { send: 4096 }),
  "socketpair() of another family": () => socketpair({ family: "inet" }),
  "unreadBytes()": ({ conn }) => unreadBytes(conn),
};

for (const [what, call] of Object.entries(CALLS)) {
  test(`${what} throws an error with a stack that begins at its caller`, async () => {
    await using dir = new TempDir();
    const [conn, other] = socketpair();
    conn.close();
    other.close();
    let thrown: unknown;
    try {
      await call({ conn, path: dir.file("none") });
    } catch (error) {
      thrown = error;
    }
    assert(thrown instanceof Error);
    const frames = thrown.stack!.split("\n").filter((line) => /^ {4}at /.test(line));
    assert(frames.some((frame) => frame.includes("/caller_stack_test.ts:")), thrown.stack);
    const own = frames.filter((frame) => frame.includes(ROOT) && !frame.includes("/tests/"));
    assertEquals(own, []);
  });
}
