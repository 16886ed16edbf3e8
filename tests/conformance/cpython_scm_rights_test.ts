/**
 * The behaviors of CPython's `test_socket` for `sendmsg`, `recvmsg`, descriptors (`SCM_RIGHTS`),
 * packets and datagrams.
 */

import { closeSync } from "node:fs";
import { listen, MessageTooLarge, pair } from "@uds/uds";
import {
  bindPackets,
  connectPackets,
  listenPackets,
  receiveDescriptors,
  sendDescriptors,
  socketpair,
} from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  decode,
  encode,
  KIB,
  openDescriptors,
  Program,
  readAll,
  readText,
  run,
  TempDir,
  type TestOptions,
} from "../_helpers.ts";
import { contentOf, openFile, receive, TestPair, untilOpen } from "../native/_descriptors.ts";
import { fill } from "../native/_packets.ts";
import { follows } from "./_follows.ts";

const MESSAGE = "Here comes a line \u1234\r\n";
const BYTES = encode(MESSAGE);

/** What a test of descriptors gets: a pair, and files with the texts "0", "1", and so on. */
interface Rights {
  pair: TestPair;
  files(count: number): number[];
}

/** Defines a test of a class of `test_socket`. It checks that no descriptor is left. */
function rights(
  name: string,
  behavior: string,
  fn: (given: Rights) => Promise<void>,
  options?: TestOptions,
): void {
  follows(`CPython test_socket: ${name}`, behavior, async () => {
    await using dir = new TempDir();
    const before = openDescriptors();
    const opened: number[] = [];
    {
      await using pair = await TestPair.open();
      const files = (count: number) => {
        const fds = Array.from({ length: count }, (_, i) => openFile(dir, String(i)));
        opened.push(...fds);
        return fds;
      };
      await fn({ pair, files });
    }
    opened.forEach(closeSync);
    await untilOpen(before);
  }, options);
}

// Bytes -------------------------------------------------------------------------------------------

rights(
  "RecvmsgGenericTests.testRecvmsg",
  "receiveDescriptors() returns the bytes, and a list of no descriptors",
  async ({ pair }) => {
    await pair.client.write(BYTES);
    const buffer = new Uint8Array(BYTES.length);
    const received = await receiveDescriptors(pair.server, buffer);
    assertEquals([received, decode(buffer)], [{ count: BYTES.length, descriptors: [] }, MESSAGE]);
  },
);

rights(
  "RecvmsgGenericTests.testRecvmsgShorter",
  "receiveDescriptors() fills only the beginning of a larger buffer",
  async ({ pair }) => {
    await pair.client.write(BYTES);
    const buffer = new Uint8Array(BYTES.length + 42).fill(7);
    assertEquals((await receiveDescriptors(pair.server, buffer))?.count, BYTES.length);
    assert(buffer.subarray(BYTES.length).every((byte) => byte === 7));
  },
);

rights(
  "RecvmsgGenericStreamTests.testRecvmsgOverflow",
  "receiveDescriptors() leaves what does not fit to the next call",
  async ({ pair }) => {
    await pair.client.write(BYTES);
    const [first, second] = [new Uint8Array(BYTES.length - 3), new Uint8Array(KIB)];
    assertEquals((await receiveDescriptors(pair.server, first))?.count, first.length);
    assertEquals((await receiveDescriptors(pair.server, second))?.count, 3);
    assertEquals([...first, ...second.subarray(0, 3)], [...BYTES]);
  },
);

rights(
  "RecvmsgGenericStreamTests.testRecvmsgEOF",
  "receiveDescriptors() returns null at the end of file",
  async ({ pair }) => {
    pair.client.close();
    assertEquals(await receiveDescriptors(pair.server, new Uint8Array(KIB)), null);
  },
);

rights(
  "RecvmsgGenericTests.testRecvmsgAfterClose",
  "receiveDescriptors() after close() rejects",
  async ({ pair }) => {
    pair.server.close();
    await assertRejects(
      () => receiveDescriptors(pair.server, new Uint8Array(KIB)),
      Deno.errors.BadResource,
    );
  },
);

rights(
  "RecvmsgGenericTests.testRecvmsgTimeout",
  "receiveDescriptors() waits until its signal aborts, and loses nothing",
  async ({ pair, files }) => {
    const late = AbortSignal.timeout(10);
    await assertRejects(
      () => receiveDescriptors(pair.server, new Uint8Array(KIB), { signal: late }),
      DOMException,
    );
    await sendDescriptors(pair.client, BYTES, files(1));
    using received = await receive(pair.server);
    assertEquals([received.text, received.descriptors.length], [MESSAGE, 1]);
  },
);

rights(
  "RecvmsgTests.testRecvmsgBadArgs",
  "receiveDescriptors() refuses wrong arguments, and the connection goes on",
  async ({ pair }) => {
    await pair.client.write(BYTES);
    const call = receiveDescriptors as (...args: unknown[]) => Promise<unknown>;
    for (const args of [[], [pair.server], [pair.server, 10], [pair.server, {}], [{}, BYTES]]) {
      await assertRejects(() => call(...args), TypeError);
    }
    await assertRejects(() => call(pair.server, new Uint8Array()), RangeError);
    assertEquals(await readText(pair.server), MESSAGE);
  },
);

rights(
  "SendmsgTests.testSendmsgBadArgs",
  "sendDescriptors() refuses wrong arguments, and sends nothing",
  async ({ pair }) => {
    const call = sendDescriptors as (...args: unknown[]) => Promise<unknown>;
    for (
      const args of [
        [],
        [pair.client],
        [pair.client, BYTES],
        [pair.client, MESSAGE, [0]],
        [
          pair.client,
          BYTES,
          0,
        ],
        [pair.client, BYTES, ["0"]],
        [pair.client, BYTES, [{}]],
        [{}, BYTES, [0]],
      ]
    ) {
      await assertRejects(() => call(...args), TypeError);
    }
    await pair.client.closeWrite();
    assertEquals(await pair.server.read(new Uint8Array(1)), null);
  },
);

rights(
  "SendmsgTests.testSendmsgExcessCmsgReject",
  "sendDescriptors() refuses more descriptors than the kernel takes, and no bytes",
  async ({ pair, files }) => {
    const [fd] = files(1);
    const many = Array.from({ length: 254 }, () => fd!);
    await assertRejects(() => sendDescriptors(pair.client, BYTES, many), RangeError, "253");
    await assertRejects(() => sendDescriptors(pair.client, new Uint8Array(), [fd!]), RangeError);
  },
);

rights(
  "SendmsgTests.testSendmsgAfterClose",
  "sendDescriptors() after close() rejects, and has the bytes",
  async ({ pair, files }) => {
    pair.client.close();
    await assertRejects(
      () => sendDescriptors(pair.client, BYTES, files(1)),
      Deno.errors.BadResource,
    );
  },
);

// Descriptors -------------------------------------------------------------------------------------

const SCM = "SCMRightsTest";

for (const [name, count] of [["testFDPassSimple", 1], ["testMultipleFDPass", 4]] as const) {
  rights(`${SCM}.${name}`, `Files arrive with their bytes: ${count}`, async ({ pair, files }) => {
    await sendDescriptors(pair.client, BYTES, files(count));
    using received = await receive(pair.server);
    assertEquals(received.text, MESSAGE);
    const contents = await Promise.all(received.descriptors.map(contentOf));
    assertEquals(contents, Array.from({ length: count }, (_, i) => String(i)));
  });
}

rights(
  `${SCM}.testFDPassSeparate`,
  "Descriptors of two messages arrive with their own bytes",
  async ({ pair, files }) => {
    const [first, second] = files(2);
    await sendDescriptors(pair.client, encode("one"), [first!]);
    await sendDescriptors(pair.client, encode("two"), [second!]);
    for (const [i, text] of ["one", "two"].entries()) {
      using received = await receive(pair.server);
      assertEquals([received.text, received.descriptors.length], [text, 1]);
      assertEquals(await contentOf(received.descriptors[0]), String(i));
    }
  },
);

rights(
  `${SCM}.testFDPassEmpty`,
  "sendDescriptors() refuses a list of no descriptors, and names write()",
  async ({ pair }) => {
    await assertRejects(() => sendDescriptors(pair.client, BYTES, []), RangeError, "write()");
  },
);

rights(
  `${SCM}.testFDPassPartialInt`,
  "sendDescriptors() refuses numbers that are not open descriptors, and sends nothing",
  async ({ pair, files }) => {
    const [fd] = files(1);
    for (const [wrong, kind] of [[-21845, RangeError], [1.5, RangeError], [9999, Error]] as const) {
      await assertRejects(() => sendDescriptors(pair.client, BYTES, [fd!, wrong]), kind);
    }
    await sendDescriptors(pair.client, BYTES, [fd!]);
    using received = await receive(pair.server);
    assertEquals([received.text, received.descriptors.length], [MESSAGE, 1]);
  },
);

for (
  const [name, by, pass] of [
    ["testCmsgTruncNoBufSize", "a read", (pair: TestPair) => readText(pair.server)],
    ["testCmsgTrunc0", "a stream", async (pair: TestPair) => {
      const reader = pair.server.readable.getReader();
      const { value } = await reader.read();
      reader.releaseLock();
      return decode(value!);
    }],
  ] as const
) {
  rights(
    `CmsgTruncTests.${name}`,
    `Descriptors that ${by} passes are closed, and the bytes arrive`,
    async ({ pair, files }) => {
      const fds = files(2);
      const before = openDescriptors();
      await sendDescriptors(pair.client, BYTES, fds);
      assertEquals(await pass(pair), MESSAGE);
      await untilOpen(before);
    },
  );
}

rights(
  "CmsgTruncTests.testCmsgTruncLen0Minus1",
  "receiveDescriptors() into one byte gets all descriptors, and the other bytes follow",
  async ({ pair, files }) => {
    await sendDescriptors(pair.client, BYTES, files(3));
    using received = await receive(pair.server, 1);
    assertEquals([received.count, received.descriptors.length], [1, 3]);
    using rest = await receive(pair.server);
    assertEquals([received.text + rest.text, rest.descriptors.length], [MESSAGE, 0]);
  },
);

rights(
  "SendRecvFdsTests.testSendAndRecvFds",
  "Pipes of a Python program are passed, and what it wrote into each comes out",
  async () => {
    const script = `
import os, socket
sock = socket.socket(fileno=3)
pipes = [os.pipe() for _ in range(10)]
socket.send_fds(sock, [b"pipes"], [r for r, _ in pipes])
for i, (_, w) in enumerate(pipes):
    os.write(w, b"pipe %d" % i)
    os.close(w)
`;
    await using child = await pair("python3", { args: ["-c", script], descriptors: true });
    using received = await receive(child.conn);
    assertEquals([received.text, received.descriptors.length], ["pipes", 10]);
    const contents = await Promise.all(received.descriptors.map(contentOf));
    assertEquals(contents, contents.map((_, i) => `pipe ${i}`));
    assertEquals((await child.status).code, 0);
    assertEquals(decode(await readAll(child.conn)), "");
  },
  { needs: ["python3"] },
);

// Packets -----------------------------------------------------------------------------------------

/** Defines a test of packets that follows a class of `test_socket`. */
function packets(name: string, behavior: string, fn: () => Promise<void>): void {
  follows(`CPython test_socket: ${name}`, behavior, fn);
}

packets(
  "RecvmsgGenericTests.testRecvmsgTrunc",
  "A packet above the limit is refused and not cut, decided otherwise",
  async () => {
    // Python returns the beginning, and a flag that is easily missed.
    await using dir = new TempDir();
    const path = dir.file("p.sock");
    await using listener = await listenPackets({ path, maxPacketBytes: BYTES.length - 3 });
    using client = await connectPackets(path);
    using server = await listener.accept();
    await client.send(BYTES);
    await client.send(encode("next"));
    const error = await assertRejects(() => server.receive(), MessageTooLarge);
    assertEquals([error.size, error.limit], [BYTES.length, BYTES.length - 3]);
    assertEquals(decode((await server.receive())!), "next");
  },
);

packets(
  "SendmsgTests.testSendmsgTimeout",
  "send() to a full peer waits until its signal aborts",
  async () => {
    const [a, b] = socketpair({ type: "seqpacket" });
    const { waiting } = await fill(a, new Uint8Array(512));
    const signal = AbortSignal.timeout(10);
    await assertRejects(() => a.send(BYTES, { signal }), DOMException);
    a.close();
    await assertRejects(() => waiting, Deno.errors.BadResource);
    b.close();
  },
);

packets(
  "TestLinuxAbstractNamespace.testAutobind",
  "bindPackets({ autobind }) has five hexadecimal digits, and another name each time",
  async () => {
    await using first = await bindPackets({ autobind: true });
    await using second = await bindPackets({ autobind: true });
    const names = [first.addr.path!, second.addr.path!];
    for (const name of names) assert(/^\0[0-9a-f]{5}$/.test(name), name);
    assert(names[0] !== names[1]);
  },
);

packets(
  "InheritanceTest.test_socketpair",
  "Neither end of a socket pair is inherited by a program",
  async () => {
    const list = async () => (await run("ls", ["/proc/self/fd"])).stdout;
    const before = await list();
    const ends = [...socketpair(), ...socketpair({ type: "seqpacket" })];
    assertEquals(await list(), before);
    for (const end of ends) end.close();
  },
);

packets(
  "BasicSocketPairTest.testDefaults",
  "socketpair() of the native module makes Unix stream sockets, and no other family",
  () => {
    const ends = socketpair({ family: "unix", type: "stream", protocol: 0 });
    for (const end of ends) {
      assertEquals(end.localAddr, { transport: "unix", path: null });
      end.close();
    }
    assertThrows(() => socketpair({ family: "inet" }), Deno.errors.NotSupported);
    return Promise.resolve();
  },
);

follows(
  "CPython test_socketserver: test_UnixDatagramServer, test_ThreadingUnixDatagramServer",
  "bindPackets() answers three clients that have bound names, one of them in Python",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using server = await bindPackets(path);
    const serving = (async () => {
      for (let i = 0; i < 3; i++) {
        const { packet, from } = await server.receive();
        await server.send(packet, from!);
      }
    })();
    for (let i = 0; i < 2; i++) {
      await using client = await bindPackets(dir.file(`c${i}.sock`));
      await client.send(BYTES, path);
      assertEquals(await client.receive(), { packet: BYTES, from: path });
    }
    const script = `import socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(sys.argv[2])
sock.sendto(b"from Python", sys.argv[1])
print(*sock.recvfrom(100))`;
    await using client = new Program("python3", ["-c", script, path, dir.file("py.sock")]);
    assertEquals(await client.line(), `b'from Python' ${path}`);
    await serving;
  },
  { needs: ["python3"] },
);

follows(
  "CPython test_socketserver: SocketServerTest.test_tcpserver_bind_leak",
  "listen() that fails again and again leaves no descriptor",
  async () => {
    await using dir = new TempDir();
    await using _listener = await listen(dir.file("s.sock"));
    const before = openDescriptors();
    for (let i = 0; i < 5; i++) {
      await assertRejects(() => listen(dir.file("s.sock")), Deno.errors.AddrInUse);
      await assertRejects(() => listen("x".repeat(200)), RangeError);
    }
    assertEquals(openDescriptors(), before);
  },
);
