import { inherited, NotASocket, pair, socketpair } from "@uds/uds";
import type { PacketType } from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ErrorContext } from "../../_internal/base/error_context.ts";
import { AF_UNIX } from "../../_internal/libc/constants.ts";
import { requireLibc } from "../../_internal/libc/library.ts";
import { openPair, TYPES as NUMBERS } from "../../_internal/native/packet_pair.ts";
import { decode, denoArgs, encode, openDescriptors, run, TempDir, test } from "../_helpers.ts";
import { assertSame, packet, receiveAll, SIZES, TYPES } from "./_packets.ts";

const LIBC = `/lib/${Deno.build.arch}-linux-gnu/libc.so.6`;

/** An echo in C. It exits with 7 at the end, which is an empty packet of a datagram socket. */
const C = `
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int count, char **args) {
  static char buffer[1 << 20];
  int is_dgram = !strcmp(args[1], "dgram");
  for (;;) {
    struct iovec part = { buffer, sizeof buffer };
    char control[64];
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control };
    int on = 1;
    setsockopt(3, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on);
    message.msg_controllen = sizeof control;
    ssize_t size = recvmsg(3, &message, 0);
    if (size < 0) return errno;
    if (size == 0 && (is_dgram || message.msg_controllen == 0)) return 7;
    if (send(3, buffer, size, 0) != size) return 1;
  }
}`;

const PYTHON = `
import socket, sys
s = socket.socket(fileno=3)
assert s.type == (socket.SOCK_DGRAM if sys.argv[1] == "dgram" else socket.SOCK_SEQPACKET)
while True:
  m = s.recv(1 << 20)
  if not m: sys.exit(7)
  s.send(m)`;

const NODE = `
const fs = require("node:fs"), buffer = Buffer.alloc(1 << 20);
for (;;) {
  const size = fs.readSync(3, buffer);
  if (size === 0) process.exit(7);
  fs.writeSync(3, buffer, 0, size);
}`;

interface Language {
  name: string;
  needs: string[];
  /** Whether it distinguishes an empty packet from the end. */
  takesEmpty: boolean;
  code: number;
  start(type: PacketType, dir: TempDir): Promise<[command: string, args: string[]]>;
}

const LANGUAGES: Language[] = [
  {
    name: "C",
    needs: ["gcc"],
    takesEmpty: true,
    code: 7,
    async start(type, dir) {
      const [source, program] = [dir.file(`${type}.c`), dir.file(type)];
      Deno.writeTextFileSync(source, C);
      await run("gcc", ["-o", program, source]);
      return [program, [type]];
    },
  },
  {
    name: "Python",
    needs: ["python3"],
    takesEmpty: false,
    code: 7,
    start: (type) => Promise.resolve(["python3", ["-c", PYTHON, type]]),
  },
  {
    name: "Node",
    needs: ["node"],
    takesEmpty: false,
    code: 7,
    start: () => Promise.resolve(["node", ["-e", NODE]]),
  },
  {
    name: "Deno",
    needs: [],
    takesEmpty: true,
    code: 0,
    start: (type) => {
      const args = denoArgs("native_packets_echo.ts", [`--allow-ffi=${LIBC}`], [type, "3"]);
      return Promise.resolve([Deno.execPath(), args]);
    },
  },
  {
    name: "Deno without any permission",
    needs: [],
    takesEmpty: false,
    code: 0,
    start: (type) => {
      return Promise.resolve([
        Deno.execPath(),
        denoArgs("native_packets_echo.ts", [], [type, "3"]),
      ]);
    },
  },
];

for (const { name, needs, takesEmpty, code, start } of LANGUAGES) {
  test(`pair(): a child in ${name} echoes packets of every type and size`, async () => {
    await using dir = new TempDir();
    const before = openDescriptors();
    await Promise.all(TYPES.map(async (type) => {
      const [command, args] = await start(type, dir);
      await using child = await pair(command, { args, type });
      const { conn } = child;
      assertEquals([conn.type, conn.remoteAddr.path], [type, null]);
      const isEmptyEnd = type === "dgram" || !takesEmpty;
      const sizes = SIZES.filter((size) => size > 0 || !isEmptyEnd);
      for (const [i, size] of [...sizes, ...sizes].entries()) {
        await conn.send(packet(size, i));
        assertSame(await conn.receive(), packet(size, i));
      }
      // A late reader: more than fits in the kernel, in both directions.
      const COUNT = 300;
      const sending = Promise.all(
        Array.from({ length: COUNT }, (_, i) => conn.send(packet(1 + i * 7, i))),
      );
      for (let i = 0; i < COUNT; i++) assertSame(await conn.receive(), packet(1 + i * 7, i));
      await sending;
      if (type === "dgram") await conn.send(packet(0));
      else {
        await conn.closeWrite();
        assertEquals(await receiveAll(conn), []);
      }
      assertEquals((await child.status).code, code);
    }));
    assertEquals(openDescriptors(), before);
  }, { needs });
}

test("pair(): a child that is killed leaves its packets, and the end", async () => {
  const script = "for i in 0 1 2; do printf $i >&3; done; " +
    "dd bs=9 count=1 <&3 >&3 2>/dev/null; kill -9 $$";
  await using child = await pair("sh", { type: "seqpacket", args: ["-c", script] });
  await child.conn.send(encode("die"));
  assertEquals((await child.status).signal, "SIGKILL");
  assertEquals((await receiveAll(child.conn)).map(decode), ["0", "1", "2", "die"]);
  await assertRejects(() => child.conn.send(packet(1)), Deno.errors.BrokenPipe);
});

test("pair(): a child that is killed with packets unread resets, after what it sent", async () => {
  const script = "printf ready >&3; read line; kill -9 $$";
  const args = ["-c", script];
  await using child = await pair("sh", { type: "seqpacket", args, stdin: "piped" });
  await child.conn.send(encode("unread"));
  await child.stdin.close();
  await child.status;
  assertEquals(decode((await child.conn.receive())!), "ready");
  await assertRejects(() => child.conn.receive(), Deno.errors.ConnectionReset);
});

test("pair(): a send that waits for a child that is killed rejects", async () => {
  for (
    const [type, Class] of [["seqpacket", Deno.errors.ConnectionReset], [
      "dgram",
      Deno.errors.ConnectionRefused,
    ]] as const
  ) {
    await using child = await pair("sleep", { type, args: ["30"], grace: 0 });
    const sending = Array.from({ length: 400 }, () => child.conn.send(packet(1000)));
    await sending[0];
    child.kill("SIGKILL");
    const results = await Promise.allSettled(sending);
    const failed = results.filter((result) => result.status === "rejected");
    assert(failed.length > 100, String(failed.length));
    assert(failed[0]!.reason instanceof Class, String(failed[0]!.reason));
  }
});

test("pair(): descriptors that come with a packet are closed, and the packet arrives", async () => {
  const program = `import socket, time
s = socket.socket(fileno=3)
for i in range(100): socket.send_fds(s, [b"packet %d" % i], [0, 1, 2] * 20)
time.sleep(60)`;
  // The child stays, because its end closes a descriptor here.
  const start = (type: PacketType) => pair("python3", { type, args: ["-c", program], grace: 0 });
  const children = await Promise.all(TYPES.map(start));
  const before = openDescriptors();
  await Promise.all(children.map(async (child) => {
    for (let i = 0; i < 100; i++) {
      assertEquals(decode((await child.conn.receive())!), `packet ${i}`);
    }
  }));
  assertEquals(openDescriptors(), before);
  for (const child of children) await child[Symbol.asyncDispose]();
}, { needs: ["python3"] });

test("pair() with a type leaves nothing behind if the program does not exist", async () => {
  const before = openDescriptors();
  await assertRejects(() => pair("no-such-program", { type: "dgram" }), Deno.errors.NotFound);
  assertEquals(openDescriptors(), before);
});

test("pair() with a type starts programs only, with a socket at a descriptor", async () => {
  const options = { type: "seqpacket" } as const;
  const module = new URL("file:///module.ts");
  await assertRejects(() => pair(module as never, options), TypeError, "is a module");
  const onStdio = { ...options, socket: "stdio" } as never;
  await assertRejects(() => pair("cat", onStdio), TypeError, "Invalid type");
  await assertRejects(() => pair("cat", { type: "raw" } as never), TypeError, "Invalid type");
});

test("socketpair() and pair() of the core name the native module", async () => {
  const error = await assertRejects(
    () => socketpair({ type: "seqpacket" } as never),
    Deno.errors.NotSupported,
  );
  assert(error.message.endsWith('import { socketpair } from "@uds/uds/native"'), error.message);
  const { stdout } = await run(Deno.execPath(), denoArgs("native_missing.ts", ["-A"]));
  assertEquals(
    stdout,
    'NotSupported Cannot start "cat": the option type needs system calls that Deno does not have. ' +
      'Add import "@uds/uds/native" to the program\n' +
      "NotSupported Cannot take over descriptor 3: the option type needs system calls that Deno " +
      'does not have. Add import "@uds/uds/native" to the program\n',
  );
});

for (
  const [found, type, state] of [
    ["dgram", "seqpacket", "it is a dgram socket, not a connected seqpacket one"],
    ["stream", "dgram", "it is a stream socket, not a connected dgram one"],
    ["nothing", "dgram", "no Unix domain socket is open there"],
  ] as const
) {
  test(`inherited({ type: "${type}" }) refuses ${found} with NotASocket`, () => {
    const context = new ErrorContext("socketpair", null, "Cannot make a socket pair");
    const libc = requireLibc(context);
    const kind = NUMBERS[found === "nothing" ? "stream" : found];
    const fds = openPair(context, libc, AF_UNIX, kind, 0);
    const close = () => fds.map((fd) => libc.close(fd));
    if (found === "nothing") close();
    const error = assertThrows(() => inherited({ type, fd: fds[0] }), NotASocket, state);
    assert(error.message.startsWith(`Cannot take over descriptor ${fds[0]}: `), error.message);
    // Nothing is closed that was refused.
    assertEquals(close(), found === "nothing" ? [-1, -1] : [0, 0]);
  });
}

test("inherited({ type }) without any permission takes empty packets, and refuses large ones", async () => {
  const args = denoArgs("native_packets_limits.ts", [], []);
  await using child = await pair(Deno.execPath(), { type: "seqpacket", args });
  for (const size of [0, 0, 1, 0, 100, 101, 0, 99]) await child.conn.send(packet(size));
  await child.conn.closeWrite();
  const answers = (await receiveAll(child.conn)).map(decode);
  assertEquals(answers, [
    "0",
    "0",
    "1",
    "0",
    "100",
    "MessageTooLarge receive 101 100",
    "0",
    "99",
    "MessageTooLarge send 101 100",
  ]);
  assertEquals((await child.status).code, 0);
});

test("inherited({ type }) without any permission: the parent that is gone, and what is closed", async () => {
  const args = denoArgs("native_packets_gone.ts", [], []);
  await using child = await pair(Deno.execPath(), { type: "seqpacket", args, stdout: "piped" });
  await child.conn.receive();
  child.conn.close();
  assertEquals(
    await new Response(child.stdout).text(),
    "aborted\nnull\nBrokenPipe\nConnectionClosed ConnectionClosed\n",
  );
  assertEquals((await child.status).code, 0);
});

for (const [what, flags] of [["libc", ["-A"]], ["no permission", []]] as [string, string[]][]) {
  test(`inherited({ type }) with ${what}: a pending receive keeps the process, until unref()`, async () => {
    const args = denoArgs("native_packets_unref.ts", flags);
    await using child = await pair(Deno.execPath(), { type: "seqpacket", args, stdout: "piped" });
    await child.conn.receive();
    await child.conn.send(packet(3));
    assertEquals(await new Response(child.stdout).text(), "received 3\n");
    assertEquals((await child.status).code, 0);
  });
}
