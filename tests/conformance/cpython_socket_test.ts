/** The behaviors of CPython's `test_socket` for Unix stream sockets. */

import {
  connect,
  type Connection,
  ConnectionClosed,
  listen,
  SocketNotFound,
  socketpair,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { assertSameBytes, bothEnds } from "../connection/_connection.ts";
import {
  decode,
  encode,
  isPending,
  KIB,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
} from "../_helpers.ts";
import { follows } from "./_follows.ts";

/** Defines a test of a class of `test_socket`. */
function sockets(name: string, behavior: string, fn: () => Promise<void>): void {
  follows(`CPython test_socket: ${name}`, behavior, fn);
}

const MESSAGE = "Here comes a line \u1234\r\n";

/** Defines a test of two connected ends. */
function connected(
  name: string,
  behavior: string,
  fn: (ours: Connection, peer: Connection) => Promise<void>,
): void {
  sockets(name, behavior, async () => {
    await using dir = new TempDir();
    using ends = await bothEnds(dir);
    await fn(ends.left, ends.right);
  });
}

// Addresses ---------------------------------------------------------------------------------------

/** Returns the address that a listener has, and that its clients see. */
async function addressOf(path: string | URL): Promise<(string | null)[]> {
  await using listener = await listen(path);
  const [client, server] = await Promise.all([connect(path), listener.accept()]);
  client.close();
  server.close();
  return [listener.addr.path, client.remoteAddr.path, server.localAddr.path];
}

connected("TestUnixDomain.testUnbound", "A client has no name", (ours, peer) => {
  assertEquals([peer.localAddr.path, ours.remoteAddr.path], [null, null]);
  return Promise.resolve();
});

for (
  const [name, what, file] of [
    ["testStrAddr", "a path", "socket"],
    ["testSurrogateescapeBind", "a path that is not ASCII", "sockét-ш-日"],
    ["testBytesAddr", "a path with blanks and signs", "a b%20?#&'\"\n.sock"],
  ] as [string, string, string][]
) {
  sockets(`TestUnixDomain.${name}`, `listen() has ${what} exactly as it was given`, async () => {
    await using dir = new TempDir();
    const path = dir.file(file);
    assertEquals(await addressOf(path), [path, path, path]);
  });
}

sockets("TestUnixDomain.testBytesAddr", "A path is not bytes, decided otherwise", async () => {
  // Deno's own functions take text only, and name sockets in UTF-8.
  const bytes = encode("/tmp/x.sock") as unknown as string;
  for (const call of [listen, connect]) {
    await assertRejects(() => call(bytes), TypeError, "expected a string or a file: URL, got");
  }
});

sockets(
  "TestUnixDomain.testUnencodableAddr",
  "A path that cannot be encoded is refused",
  async () => {
    await assertRejects(() => listen("/tmp/\ud800.sock"), TypeError, "lone surrogate");
  },
);

sockets("TestUnixDomain.testEmptyAddress", "An empty path is refused", async () => {
  // On Linux, Python binds any free abstract name then. Here `autobind` of bindPackets() does.
  for (const call of [listen, connect]) await assertRejects(() => call(""), TypeError, "empty");
});

const ABSTRACT = "TestLinuxAbstractNamespace";

sockets(`${ABSTRACT}.testLinuxAbstractNamespace`, "An abstract name can have a NUL", async () => {
  const path = `\0${crypto.randomUUID()}\0\u00ff`;
  assertEquals(await addressOf(path), [path, path, path]);
});

sockets(`${ABSTRACT}.testMaxName`, "An abstract name can have 108 bytes", async () => {
  const path = `\0${crypto.randomUUID()}`.padEnd(108, "h");
  assertEquals(await addressOf(path), [path, path, path]);
});

sockets(`${ABSTRACT}.testNameOverflow`, "An abstract name of 109 bytes is refused", async () => {
  await assertRejects(() => listen("\0" + "h".repeat(108)), RangeError, "109 bytes");
});

sockets(`${ABSTRACT}.testStrName`, "All NULs of an abstract name count", async () => {
  const path = `\0${crypto.randomUUID()}`;
  await using listener = await listen(`${path}\0`);
  assertEquals(listener.addr.path, `${path}\0`);
  await assertRejects(() => connect({ path, timeout: 0 }), Deno.errors.ConnectionRefused);
  await using _other = await listen(path);
});

sockets(`${ABSTRACT}.testBytearrayName`, "An abstract name is not bytes", async () => {
  const bytes = Uint8Array.of(0, 1, 2) as unknown as string;
  await assertRejects(() => listen(bytes), TypeError, "got an object (Uint8Array)");
});

// Socket pairs ------------------------------------------------------------------------------------

sockets("BasicSocketPairTest.testDefaults", "socketpair() has two ends without names", async () => {
  using ends = new DisposableStack();
  for (const end of await socketpair()) {
    ends.use(end);
    assertEquals([end.localAddr, end.remoteAddr].map(({ path }) => path), [null, null]);
  }
});

for (const [name, from] of [["testRecv", 0], ["testSend", 1]] as const) {
  sockets(`BasicSocketPairTest.${name}`, `socketpair() passes bytes from end ${from}`, async () => {
    const ends = await socketpair();
    await ends[from].write(encode(MESSAGE));
    assertEquals(await readText(ends[1 - from]!), MESSAGE);
    for (const end of ends) end.close();
  });
}

// Connections -------------------------------------------------------------------------------------

connected("BasicTCPTest.testRecv", "read() returns what was written", async (ours, peer) => {
  await peer.write(encode(MESSAGE));
  assertEquals(await readText(ours), MESSAGE);
});

connected("BasicTCPTest.testOverFlowRecv", "read() leaves the rest", async (ours, peer) => {
  const message = encode(MESSAGE);
  await peer.write(message);
  const buffer = new Uint8Array(message.length - 3);
  assertEquals(await ours.read(buffer), buffer.length);
  const rest = new Uint8Array(KIB);
  assertEquals(await ours.read(rest), 3);
  assertEquals([...buffer, ...rest.subarray(0, 3)], [...message]);
});

connected("BasicTCPTest.testSendAll", "write() writes all that it got", async (ours, peer) => {
  const data = new Uint8Array(2 * MIB).fill(102);
  const received = readAll(peer);
  assertEquals(await ours.write(data), data.length);
  ours.close();
  assertSameBytes(await received, data);
});

connected("BasicTCPTest.testShutdown", "closeWrite() ends one direction", async (ours, peer) => {
  await peer.write(encode(MESSAGE));
  await peer.closeWrite();
  assertEquals([await readText(ours), await readText(ours)], [MESSAGE, null]);
  await ours.write(encode("answer"));
  assertEquals(await readText(peer), "answer");
});

connected("BasicTCPTest.testShutdown", "closeWrite() can be called again", async (ours) => {
  // Python leaves the second call to the system, which may refuse it.
  await ours.closeWrite();
  await ours.closeWrite();
});

connected("BufferIOTest.testRecvIntoArray", "read() fills an exact array", async (ours, peer) => {
  const message = encode(MESSAGE);
  await peer.write(message);
  const buffer = new Uint8Array(message.length);
  assertEquals([await ours.read(buffer), buffer], [message.length, message]);
});

connected(
  "BufferIOTest.testRecvIntoBytearray",
  "read() leaves the end of a larger array as it was",
  async (ours, peer) => {
    await peer.write(encode(MESSAGE));
    const buffer = new Uint8Array(KIB).fill(7);
    const count = await ours.read(buffer);
    assertEquals(decode(buffer.subarray(0, count!)), MESSAGE);
    assert(buffer.subarray(count!).every((byte) => byte === 7));
  },
);

connected(
  "BufferIOTest.testRecvIntoMemoryview",
  "read() fills a view, and nothing beside it",
  async (ours, peer) => {
    await peer.write(encode(MESSAGE));
    const memory = new Uint8Array(KIB);
    const count = await ours.read(memory.subarray(100, 200));
    assertEquals(decode(memory.subarray(100, 100 + count!)), MESSAGE);
    assert(memory.subarray(0, 100).every((byte) => byte === 0) && memory[100 + count!] === 0);
  },
);

connected(
  "BufferIOTest.testRecvFromIntoEmptyBuffer",
  "read() into an empty buffer returns 0, also repeatedly",
  async (ours, peer) => {
    await peer.write(encode(MESSAGE));
    for (let i = 0; i < 2; i++) assertEquals(await ours.read(new Uint8Array()), 0);
    assertEquals(await readText(ours), MESSAGE);
  },
);

connected(
  "BufferIOTest.testRecvIntoArray",
  "read() refuses other arrays and memory, decided otherwise",
  async (ours) => {
    // Python takes whatever has memory. Which of its elements would then be counted?
    for (
      const buffer of [new Uint16Array(4), new ArrayBuffer(4), new DataView(new ArrayBuffer(4))]
    ) {
      await assertRejects(() => ours.read(buffer as unknown as Uint8Array), TypeError);
    }
  },
);

// Waiting -----------------------------------------------------------------------------------------

sockets("NonBlockingTCPTests.testAccept", "accept() waits for a client", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("s.sock"));
  const accepting = listener.accept();
  assert(await isPending(accepting));
  using client = await connect(dir.file("s.sock"));
  using server = await accepting;
  await client.write(encode(MESSAGE));
  assertEquals(await readText(server), MESSAGE);
});

connected("NonBlockingTCPTests.testRecv", "read() waits for bytes", async (ours, peer) => {
  const reading = readText(ours);
  assert(await isPending(reading));
  await peer.write(encode(MESSAGE));
  assertEquals(await reading, MESSAGE);
});

sockets("TCPTimeoutTest.testTCPTimeout", "close() ends an accept() that waits", async () => {
  await using dir = new TempDir();
  const listener = await listen(dir.file("s.sock"));
  const accepting = assertRejects(() => listener.accept(), Deno.errors.BadResource);
  await listener.close();
  await accepting;
});

sockets(
  "NetworkConnectionNoServer.testWithoutServer",
  "connect() without a server is refused at once, and says why",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("missing.sock");
    const error = await assertRejects(() => connect(path), SocketNotFound);
    assertEquals([error.code, error.path, error.operation], ["ENOENT", path, "connect"]);
  },
);

sockets(
  "NetworkConnectionNoServer.test_create_connection_timeout",
  "connect() with a timeout tries until it is over",
  async () => {
    await using dir = new TempDir();
    const options = { path: dir.file("missing.sock"), wait: true, timeout: 30 };
    const error = await assertRejects(() => connect(options), Deno.errors.TimedOut);
    assertInstanceOf(error.cause, SocketNotFound);
  },
);

sockets(
  "TestExceptions.testExceptionTree",
  "Each failure is of Deno's class for it, and has the system's code",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const missing = await assertRejects(() => connect(path), Deno.errors.NotFound);
    assertInstanceOf(missing, SocketNotFound);
    await using _listener = await listen(path);
    await assertRejects(() => listen(path), Deno.errors.AddrInUse);
    const late = await assertRejects(
      () => connect({ path: dir.file("x"), wait: true, timeout: 1 }),
      Deno.errors.TimedOut,
    );
    assertEquals([missing, late].map((error) => (error as { code?: string }).code), [
      "ENOENT",
      "ETIMEDOUT",
    ]);
  },
);

// Disposal ----------------------------------------------------------------------------------------

sockets(
  "ContextManagersTest.testCreateConnectionBase",
  "A block with using closes its connection at the end",
  async () => {
    await using dir = new TempDir();
    const { left, right } = await bothEnds(dir);
    {
      using conn = left;
      await conn.write(encode("foo"));
      assertEquals(await readText(right), "foo");
    }
    assertEquals(await readText(right), null);
    await assertRejects(() => left.write(encode("foo")), ConnectionClosed);
    right.close();
  },
);

sockets(
  "ContextManagersTest.testCreateConnectionClose",
  "A block with using may close its connection itself",
  async () => {
    await using dir = new TempDir();
    const { left, right } = await bothEnds(dir);
    {
      await using conn = left;
      conn.close();
    }
    await assertRejects(() => left.write(encode("foo")), ConnectionClosed);
    right.close();
  },
);

// Files -------------------------------------------------------------------------------------------

const CONTENT = pseudoRandom(MIB, 9);

for (
  const [name, behavior, size, offset] of [
    ["testRegularFile", "a whole file", MIB, 0],
    ["testEmptyFileSend", "an empty file", 0, 0],
    ["testOffset", "a file from an offset on", MIB, 5000],
  ] as const
) {
  sockets(
    `SendfileUsingSendTest.${name}`,
    `pipeTo() of a file's stream sends ${behavior}, and then the end`,
    async () => {
      await using dir = new TempDir();
      Deno.writeFileSync(dir.file("content"), CONTENT.subarray(0, size));
      using ends = await bothEnds(dir);
      const received = readAll(ends.right);
      const file = await Deno.open(dir.file("content"));
      await file.seek(offset, Deno.SeekMode.Start);
      await file.readable.pipeTo(ends.left.writable);
      assertSameBytes(await received, CONTENT.subarray(offset, size));
    },
  );
}

sockets(
  "SendfileUsingSendTest.testNonRegularFile",
  "pipeTo() of any stream sends it, and with preventClose not the end",
  async () => {
    await using dir = new TempDir();
    using ends = await bothEnds(dir);
    for (const text of ["first, ", "second"]) {
      const stream = ReadableStream.from([encode(text)]);
      await stream.pipeTo(ends.left.writable, { preventClose: true });
    }
    await ends.left.closeWrite();
    assertEquals(decode(await readAll(ends.right)), "first, second");
  },
);
