import { isSocketError } from "@uds/uds";
import { socketpair, type SocketPairOptions } from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  denoArgs,
  encode,
  isPending,
  openDescriptors,
  readText,
  run,
  test,
  turn,
} from "../_helpers.ts";
// Opens libc, which stays open.
import "./_packets.ts";

const LIBC = `/lib/${Deno.build.arch}-linux-gnu/libc.so.6`;

test("socketpair() of the native module returns two connections", async () => {
  const before = openDescriptors();
  const [a, b] = socketpair();
  for (const conn of [a, b]) {
    assertEquals([conn.localAddr.path, conn.remoteAddr.path], [null, null]);
  }
  await a.write(encode("ping"));
  await a.closeWrite();
  assertEquals(await readText(b), "ping");
  await b.write(encode("pong"));
  b.close();
  assertEquals(await readText(a), "pong");
  a.close();
  assertEquals(openDescriptors(), before);
});

test("closed of a stream pair resolves once the other end has closed", async () => {
  const [a, b] = socketpair();
  const { closed } = a;
  await b.closeWrite();
  assertEquals(await readText(a), null);
  assert(await isPending(closed));
  b.close();
  await closed;
  a.close();
});

test("a write of no bytes to a stream pair asks whether the other end is there", async () => {
  const [a, b] = socketpair();
  await b.closeWrite();
  assertEquals(await readText(a), null);
  assertEquals(await a.write(new Uint8Array(0)), 0);
  b.close();
  await turn();
  await assertRejects(() => a.write(new Uint8Array(0)), Deno.errors.BrokenPipe);
  a.close();
});

for (
  const [options, type] of [
    [{ family: "unix", type: "stream", protocol: 0 }, "stream"],
    [{ family: 1, type: 1, protocol: 1 }, "stream"],
    [{ type: 2 }, "dgram"],
    [{ type: 5 }, "seqpacket"],
    [{ type: "raw" }, "dgram"],
  ] as [SocketPairOptions, string][]
) {
  test(`socketpair(${JSON.stringify(options)}) makes a ${type} pair`, () => {
    for (const socket of socketpair(options)) {
      assertEquals("type" in socket ? socket.type : "stream", type);
      socket.close();
    }
  });
}

/** What socketpair(2) of Linux says. */
for (
  const [options, code, Class] of [
    [{ family: "inet" }, "EOPNOTSUPP", Deno.errors.NotSupported],
    [{ family: "inet6", type: "dgram" }, "EOPNOTSUPP", Deno.errors.NotSupported],
    [{ family: 77 }, "EAFNOSUPPORT", Error],
    [{ type: "rdm" }, "ESOCKTNOSUPPORT", Deno.errors.NotSupported],
    [{ type: 4 }, "ESOCKTNOSUPPORT", Deno.errors.NotSupported],
    [{ type: 99 }, "EINVAL", Error],
    [{ protocol: 3 }, "EPROTONOSUPPORT", Deno.errors.NotSupported],
    [{ type: "seqpacket", protocol: 6 }, "EPROTONOSUPPORT", Deno.errors.NotSupported],
  ] as [SocketPairOptions, string, ErrorConstructor][]
) {
  test(`socketpair(${JSON.stringify(options)}) fails with ${code}`, () => {
    const before = openDescriptors();
    const error = assertThrows(() => socketpair(options), Class, "Cannot make a socket pair: ");
    assert(isSocketError(error));
    assertEquals([error.operation, error.path, error.code], ["socketpair", null, code]);
    assertEquals(openDescriptors(), before);
  });
}

for (
  const [options, message] of [
    [{ family: "ipx" }, 'Invalid family: expected "unix" or "inet" or "inet6", got "ipx"'],
    [{ type: "packet" }, "Invalid type"],
    [{ type: -1 }, "Invalid type"],
    [{ protocol: "tcp" }, "Invalid protocol"],
    [{ protocol: -0 }, "Invalid protocol: expected a whole number of at least 0"],
    [{ family: -0 }, "Invalid family"],
    [{ maxPacketBytes: 0 }, "Invalid maxPacketBytes"],
    [{ kind: "stream" }, '"kind"'],
    [null, "expected an object"],
  ] as [unknown, string][]
) {
  test(`socketpair(${Deno.inspect(options)}) is refused before the system is asked`, () => {
    const call = () => socketpair(options as SocketPairOptions);
    assertThrows(call, Error, message);
  });
}

test("socketpair() without a descriptor left fails with EMFILE, and leaves nothing", async () => {
  const args = denoArgs("native_socketpair.ts", ["-A"], ["1000"]);
  const limited = ["-c", 'ulimit -n 60; exec "$@"', "sh", Deno.execPath(), ...args];
  const { stdout, stderr } = await run("sh", limited);
  assertEquals([stdout, stderr], ["EMFILE 0\nping\n", ""]);
});

test("socketpair() needs the permission for libc alone, and names it", async () => {
  const flag = `--allow-ffi=${LIBC}`;
  const runWith = (flags: string[]) =>
    run(Deno.execPath(), denoArgs("native_socketpair.ts", flags, ["2"]));
  assertEquals((await runWith([flag])).stdout, "ping\n");
  assertEquals(
    (await runWith([])).stdout,
    "Cannot make a socket pair: a Deno permission is missing. Run again with " +
      `${flag} 0\nNotCapable\n`,
  );
});

test("socketpair() and a packet, 2,000 times, leave no descriptor, and no memory", async () => {
  const before = openDescriptors();
  const round = async () => {
    const [a, b] = socketpair({ type: "seqpacket" });
    await a.send(Uint8Array.of(1));
    await b.receive();
    a.close();
    b.close();
  };
  for (let i = 0; i < 500; i++) await round();
  const memory = Deno.memoryUsage().rss;
  for (let i = 0; i < 2000; i++) await round();
  assert(Deno.memoryUsage().rss - memory < 32 * 1024 * 1024);
  assertEquals(openDescriptors(), before);
});
