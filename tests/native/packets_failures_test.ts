import { pair } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { changing, denoArgs, test } from "../_helpers.ts";
import { assertSame, Ends, fill, packet, receiveAll, TYPES } from "./_packets.ts";

const COUNT = 200;

/** Starts the echo in Deno under strace, which makes system calls fail. */
function startUnder(injections: string[]) {
  const echo = denoArgs("native_packets_echo.ts", ["-A"], ["seqpacket", "3"]);
  const args = [...changing(...injections), Deno.execPath(), ...echo];
  return pair("strace", { type: "seqpacket", args, stderr: "piped" });
}

for (
  const [what, injections] of [
    ["interrupted by a signal", ["recvmmsg:error=EINTR:when=1+2", "sendto:error=EINTR:when=1+2"]],
    ["ready too early", ["recvmmsg:error=EAGAIN:when=1+2", "sendto:error=EAGAIN:when=1+2"]],
    ["both", ["recvmmsg:error=EAGAIN:when=2+3", "sendto:error=EINTR:when=1+3"]],
  ] as [string, string[]][]
) {
  test(`PacketSocket: calls that are ${what} lose no packet`, async () => {
    await using child = await startUnder(injections);
    const { conn } = child;
    const sending = (async () => {
      for (let i = 0; i < COUNT; i++) await conn.send(packet(i * 10, i));
      await conn.closeWrite();
    })();
    for (let i = 0; i < COUNT; i++) assertSame(await conn.receive(), packet(i * 10, i));
    assertEquals(await receiveAll(conn), []);
    await sending;
    assertEquals((await child.status).code, 0);
  }, { needs: ["strace"], deadline: 20_000 });
}

for (
  const [call, code, name] of [
    ["sendto", "ENOBUFS", "Cannot send a packet: no buffer space available"],
    ["recvmmsg", "ENOMEM", "Cannot receive a packet: cannot allocate memory"],
    ["recvmmsg", "EBADF", "BadResource: Cannot receive a packet: bad file descriptor"],
  ]
) {
  test(`PacketSocket: ${code} of ${call} is the error of that call`, async () => {
    await using child = await startUnder([`${call}:error=${code}:when=1`]);
    const text = new Response(child.stderr).text();
    await child.conn.send(packet(5));
    assertEquals((await child.status).code, 1);
    assert((await text).includes(name!), await text);
    await assertRejects(() => child.conn.send(packet(1)), Error);
  }, { needs: ["strace"], deadline: 20_000 });
}

for (const type of TYPES) {
  test(`send() of a ${type} packet that waits rejects if its buffer is detached`, async () => {
    using ends = new Ends(type);
    const { count, waiting } = await fill(ends.a, packet(1000));
    const detached = packet(1000, 1);
    const [lost, next] = [ends.a.send(detached), ends.a.send(packet(1000, 2))];
    detached.buffer.transfer();
    for (let i = 0; i <= count; i++) assertSame(await ends.b.receive(), packet(1000));
    assertSame(await ends.b.receive(), packet(1000, 2));
    await waiting;
    await next;
    const message = "Cannot send a packet: its buffer was detached or resized while it was written";
    const error = await assertRejects(() => lost, TypeError, message);
    const { operation, unsent } = error as TypeError & { operation: string; unsent: unknown };
    assertEquals([operation, unsent], ["send", undefined]);
    await assertRejects(() => ends.a.send(detached), TypeError, "its buffer is detached");
  });
}
