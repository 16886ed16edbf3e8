import {
  type Connection,
  ConnectionClosed,
  isSocketError,
  relay,
  socketpair,
  type SocketPairOptions,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  decode,
  encode,
  MIB,
  openDescriptors,
  pseudoRandom,
  readAll,
  readText,
  ROOT,
  ROOT_URL,
  run,
  test,
  turn,
} from "../_helpers.ts";

/** Makes a pair, both ends of which are closed on disposal. */
async function ends(options?: SocketPairOptions) {
  const [a, b] = await socketpair(options);
  return {
    a,
    b,
    [Symbol.dispose]() {
      a.close();
      b.close();
    },
  };
}

/** Compares bytes. A failure does not list a million of them. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`byte ${i} of ${expected.length} differs`);
  }
}

// The ends ----------------------------------------------------------------------------------------

test("socketpair() returns two ends that are each other's peer, without names", async () => {
  using pair = await ends();
  const { a, b } = pair;
  for (const conn of [a, b]) {
    assertEquals(conn.localAddr, { transport: "unix", path: null });
    assertEquals(conn.remoteAddr, { transport: "unix", path: null });
    // The marker of our own connection is neither delivered nor counted.
    assertEquals([conn.bytesRead, conn.bytesWritten], [0, 0]);
  }
  for (const [from, to] of [[a, b], [b, a]] as [Connection, Connection][]) {
    assertEquals(await from.write(encode("ping")), 4);
    assertEquals(await readText(to), "ping");
    assertEquals([from.bytesWritten, to.bytesRead], [4, 4]);
  }
});

test("socketpair(): 16 MiB each way at once arrive whole", async () => {
  using pair = await ends();
  const data = [pseudoRandom(16 * MIB, 1), pseudoRandom(16 * MIB, 2)] as const;
  const send = async (conn: Connection, bytes: Uint8Array) => {
    await conn.write(bytes);
    await conn.closeWrite();
  };
  const [atA, atB] = await Promise.all([
    readAll(pair.a),
    readAll(pair.b),
    send(pair.a, data[0]),
    send(pair.b, data[1]),
  ]);
  assertSameBytes(atB, data[0]);
  assertSameBytes(atA, data[1]);
  await Promise.all([pair.a.closed, pair.b.closed]);
});

for (const first of ["a", "b"] as const) {
  test(`socketpair(): ${first} half-closes first, and the way back goes on`, async () => {
    using pair = await ends();
    const [one, two] = first === "a" ? [pair.a, pair.b] : [pair.b, pair.a];
    await one.write(encode("question"));
    await one.closeWrite();
    assertEquals(decode(await readAll(two)), "question");
    await two.write(encode("answer"));
    await two.closeWrite();
    assertEquals(decode(await readAll(one)), "answer");
    await Promise.all([one.closed, two.closed]);
  });
}

test("socketpair(): close() of one end is the end of file at the other, and then BrokenPipe", async () => {
  using pair = await ends();
  const { a, b } = pair;
  await a.write(encode("last"));
  a.close();
  assertEquals(await readText(b), "last");
  assertEquals(await readText(b), null);
  const error = await assertRejects(() => b.write(encode("late")), Deno.errors.BrokenPipe);
  assert(isSocketError(error));
  assertEquals([error.operation, error.path, error.unsent], ["write", null, encode("late")]);
});

test("socketpair(): close() with bytes unread is a reset at the other end", async () => {
  using pair = await ends();
  await pair.b.write(encode("unread"));
  pair.a.close();
  await assertRejects(() => pair.b.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  await pair.b.closed;
});

test("socketpair(): readable.pipeTo(writable) of one end echoes to the other", async () => {
  using pair = await ends();
  const echoing = pair.b.readable.pipeTo(pair.b.writable);
  const data = pseudoRandom(3 * MIB, 3);
  const [back] = await Promise.all([
    readAll(pair.a),
    pair.a.write(data).then(() => pair.a.closeWrite()),
    echoing,
  ]);
  assertSameBytes(back, data);
});

test("socketpair(): a body that is read when the connection is closed rejects with ConnectionClosed", async () => {
  using pair = await ends();
  // Deno makes a new error of the same class in this case.
  const reading = new Response(pair.a.readable).text();
  await pair.b.write(encode("some"));
  pair.a.close();
  const error = await assertRejects(() => reading, Error);
  assertInstanceOf(error, ConnectionClosed);
});

test("socketpair() twice and relay() make one long pipe", async () => {
  using left = await ends();
  using right = await ends();
  const relaying = relay(left.b, right.a);
  await left.a.write(encode("through"));
  await left.a.closeWrite();
  assertEquals(decode(await readAll(right.b)), "through");
  await right.b.closeWrite();
  assertEquals(await relaying, { aToB: 7, bToA: 0 });
});

// Options -----------------------------------------------------------------------------------------

for (
  const options of [
    {},
    { family: "unix" },
    { type: "stream" },
    { protocol: 0 },
    { family: "unix", type: "stream", protocol: 0 },
    { family: undefined, type: undefined, protocol: undefined },
  ] as SocketPairOptions[]
) {
  const shown = Object.entries(options).map(([name, value]) => `${name}: ${value}`).join(", ");
  test(`socketpair() accepts {${shown}}`, async () => {
    using pair = await ends(options);
    await pair.a.write(encode("x"));
    assertEquals(await readText(pair.b), "x");
  });
}

for (
  const [options, value, reason] of [
    [{ family: "inet" }, 'family "inet"', "other address families have no socket pair"],
    [{ family: "inet6" }, 'family "inet6"', "other address families have no socket pair"],
    [{ family: "" }, 'family ""', "other address families have no socket pair"],
    [{ family: 1 }, "family 1", "other address families have no socket pair"],
    [{ family: null }, "family null", "other address families have no socket pair"],
    [{ type: "dgram" }, 'type "dgram"', "Deno connects stream sockets only"],
    [{ type: "seqpacket" }, 'type "seqpacket"', "Deno connects stream sockets only"],
    [{ type: "raw" }, 'type "raw"', "Deno connects stream sockets only"],
    [{ type: 1 }, "type 1", "Deno connects stream sockets only"],
    [{ protocol: 6 }, "protocol 6", "Unix domain sockets have no other protocol"],
    [{ protocol: 1 }, "protocol 1", "Unix domain sockets have no other protocol"],
    [{ protocol: "0" }, 'protocol "0"', "Unix domain sockets have no other protocol"],
  ] as [Record<string, unknown>, string, string][]
) {
  test(`socketpair() refuses ${value} with NotSupported, and names the reason`, async () => {
    const before = openDescriptors();
    const error = await assertRejects(
      () => socketpair(options as SocketPairOptions),
      Deno.errors.NotSupported,
      `Cannot make a socket pair with ${value}: ${reason}. Use `,
    );
    assert(isSocketError(error));
    assertEquals([error.operation, error.path], ["socketpair", null]);
    assertEquals(openDescriptors(), before);
  });
}

for (
  const [name, options, message] of [
    ["an unknown option", { kind: "stream" }, '"kind"'],
    ["null", null, "expected an object"],
    ["an array", ["unix"], "expected an object"],
    ["a string", "unix", "expected an object"],
  ] as [string, unknown, string][]
) {
  test(`socketpair() refuses ${name} with a TypeError`, async () => {
    const error = await assertRejects(
      () => socketpair(options as SocketPairOptions),
      TypeError,
      message,
    );
    assertEquals(error.constructor, TypeError);
  });
}

// Permissions and leftovers -----------------------------------------------------------------------

for (const [name, net] of [["no", "none"], ["scoped", ["unix:/run/a.sock"]]] as const) {
  test(
    `socketpair() with ${name} net permission rejects with NotCapable and names --allow-net`,
    async () => {
      const error = await assertRejects(() => socketpair(), Deno.errors.NotCapable);
      assert(isSocketError(error));
      assertEquals([error.operation, error.path], ["socketpair", null]);
      assert(error.message.endsWith("Run again with --allow-net"), error.message);
    },
    { permissions: net === "none" ? "none" : { net: [...net] } },
  );
}

test("socketpair() needs no permission but net", async () => {
  using pair = await ends();
  await pair.a.write(encode("x"));
  assertEquals(await readText(pair.b), "x");
}, { permissions: { net: true } });

test("socketpair() 100 times leaves no descriptor", async () => {
  const before = openDescriptors();
  for (let i = 0; i < 100; i++) {
    using pair = await ends();
    pair.a.write(encode("x"));
    assertEquals(await readText(pair.b), "x");
  }
  assertEquals(openDescriptors(), before);
});

test("socketpair() 50 times at once never mixes up the ends", async () => {
  const before = openDescriptors();
  const pairs = await Promise.all(Array.from({ length: 50 }, () => socketpair()));
  // A listener is closed once its last accept has been canceled.
  await turn();
  assertEquals(openDescriptors(), before + 100);
  await Promise.all(pairs.map(async ([a, b], i) => {
    await a.write(encode(`${i}`));
    assertEquals(await readText(b), `${i}`);
  }));
  for (const [a, b] of pairs) {
    a.close();
    b.close();
  }
  assertEquals(openDescriptors(), before);
});

test("socketpair() leaves no listener, and an idle pair allows the process to end", async () => {
  // A connected socket keeps the name of its listener. Only a listening one has the flag.
  const script = `import { socketpair } from ${JSON.stringify(`${ROOT_URL}mod.ts`)};
    await socketpair();
    await new Promise((resolve) => setTimeout(resolve, 0));
    const lines = Deno.readTextFileSync("/proc/net/unix").split("\\n");
    const files = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
      try {
        return Deno.readLinkSync("/proc/self/fd/" + name);
      } catch {
        return ""; // That of the directory, which is closed.
      }
    });
    // Other processes of the machine may open a pair at the moment.
    const ours = lines.map((line) => line.split(/\\s+/)).filter(([, , , , , , inode, path]) =>
      path?.startsWith("@uds-pair-") && files.includes("socket:[" + inode + "]")
    );
    console.log(ours.filter(([, , , flags]) => flags === "00010000").length, ours.length > 0);`;
  const url = `data:text/javascript,${encodeURIComponent(script)}`;
  const flags = ["--quiet", "--config", `${ROOT}deno.json`, "--no-lock", "--allow-all"];
  const { code, stdout, stderr } = await run(Deno.execPath(), ["run", ...flags, url]);
  assertEquals([code, stdout, stderr], [0, "0 true\n", ""]);
});
