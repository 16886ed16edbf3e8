import { assertEquals, assertRejects } from "@std/assert";
import { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../../_internal/libc/constants.ts";
import { Readiness, readiness } from "../../_internal/libc/readiness.ts";
import { isPending, openDescriptors, test } from "../_helpers.ts";
import { fill, libc, receive, send, Sockets } from "./_libc.ts";

const TYPES = { stream: SOCK_STREAM, dgram: SOCK_DGRAM, seqpacket: SOCK_SEQPACKET };
/** The usual way, and the one without asynchronous I/O of the kernel. */
const WAYS = {
  "": readiness(libc),
  " by a thread": new Readiness({ ...libc, io_setup: () => -1 }),
};

for (const [way, ready] of Object.entries(WAYS)) {
  for (const [name, type] of Object.entries(TYPES)) {
    test(`wait()${way} resolves when a ${name} socket can be read`, async () => {
      using sockets = new Sockets(type);
      const waiting = ready.wait(sockets.a, "read");
      assertEquals(await isPending(waiting), true);
      send(sockets.b);
      await waiting;
      assertEquals(receive(sockets.a), 1);
      ready.forget(sockets.a, new Error());
    });

    test(`wait()${way} resolves when a ${name} socket can be written`, async () => {
      using sockets = new Sockets(type);
      fill(sockets.a);
      const waiting = ready.wait(sockets.a, "write");
      assertEquals(await isPending(waiting), true);
      while (receive(sockets.b) > 0);
      await waiting;
      assertEquals(send(sockets.a), 1);
      ready.forget(sockets.a, new Error());
    });
  }

  test(`wait()${way} resolves at once when there is something`, async () => {
    using sockets = new Sockets();
    send(sockets.b);
    await ready.wait(sockets.a, "read");
    await ready.wait(sockets.a, "read");
    await ready.wait(sockets.a, "write");
    ready.forget(sockets.a, new Error());
  });

  test(`wait()${way} for both directions resolves each by itself, and both at the end`, async () => {
    using sockets = new Sockets();
    fill(sockets.a);
    const [reading, writing] = [ready.wait(sockets.a, "read"), ready.wait(sockets.a, "write")];
    send(sockets.b);
    await reading;
    assertEquals(await isPending(writing), true);
    receive(sockets.a);
    const again = ready.wait(sockets.a, "read");
    assertEquals(await isPending(again), true);
    sockets.close(sockets.b);
    await Promise.all([again, writing]);
    ready.forget(sockets.a, new Error());
  });

  test(`wait()${way} resolves all waits of one direction`, async () => {
    using sockets = new Sockets();
    const waits = Array.from({ length: 10 }, () => ready.wait(sockets.a, "read"));
    send(sockets.b);
    await Promise.all(waits);
    ready.forget(sockets.a, new Error());
  });

  test(`wait()${way} resolves many descriptors at once`, async () => {
    const pairs = Array.from({ length: 300 }, () => new Sockets());
    for (let round = 0; round < 5; round++) {
      const waits = pairs.map(({ a }) => ready.wait(a, "read"));
      for (const { b } of pairs) send(b);
      await Promise.all(waits);
      for (const { a } of pairs) assertEquals(receive(a), 1);
    }
    for (const pair of pairs) {
      ready.forget(pair.a, new Error());
      pair[Symbol.dispose]();
    }
  });

  test(`wait()${way} rejects with the reason when its signal aborts, and others go on`, async () => {
    using sockets = new Sockets();
    const controller = new AbortController();
    const canceled = ready.wait(sockets.a, "read", controller.signal);
    const waiting = ready.wait(sockets.a, "read");
    const reason = new Error("enough");
    controller.abort(reason);
    assertEquals(await canceled.catch((error) => error), reason);
    assertEquals(await isPending(waiting), true);
    send(sockets.b);
    await waiting;
    const late = ready.wait(sockets.a, "read", controller.signal);
    assertEquals(await late.catch((error) => error), reason);
    ready.forget(sockets.a, new Error());
  });

  test(`wait()${way} rejects for a descriptor that is not open`, async () => {
    const sockets = new Sockets();
    sockets[Symbol.dispose]();
    const error = await assertRejects(() => ready.wait(sockets.a, "read"), Deno.errors.BadResource);
    assertEquals((error as Error & { code: string }).code, "EBADF");
    await assertRejects(() => ready.wait(-1, "read"), Deno.errors.BadResource);
  });

  test(`wait()${way} resolves at once for a file`, async () => {
    const fd = libc.open(new TextEncoder().encode("/proc/self/exe\0"), 0);
    await ready.wait(fd, "read");
    libc.close(fd);
  });

  test(`forget()${way} rejects the waits, and the peer sees the end once the socket is closed`, async () => {
    using sockets = new Sockets();
    const waits = [ready.wait(sockets.a, "read"), ready.wait(sockets.a, "read")];
    const error = new Error("closed");
    ready.forget(sockets.a, error);
    for (const waiting of waits) assertEquals(await waiting.catch((reason) => reason), error);
    const ended = ready.wait(sockets.b, "read");
    sockets.close(sockets.a);
    await ended;
    assertEquals(receive(sockets.b), 0);
    ready.forget(sockets.b, error);
    // Neither a second time nor after the close it throws.
    ready.forget(sockets.a, error);
    ready.forget(-1, error);
  });

  test(`wait()${way} is for the new socket when a number is used again`, async () => {
    for (const forgets of [true, false]) {
      const before = new Sockets();
      send(before.b);
      await ready.wait(before.a, "read");
      if (forgets) ready.forget(before.a, new Error());
      before[Symbol.dispose]();
      using after = new Sockets();
      assertEquals(after.a, before.a);
      const waiting = ready.wait(after.a, "read");
      assertEquals(await isPending(waiting), true);
      send(after.b);
      await waiting;
      ready.forget(after.a, new Error());
    }
  });

  test(`wait()${way} is not for another descriptor of the same socket`, async () => {
    using sockets = new Sockets();
    const other = libc.dup(sockets.a);
    const waiting = ready.wait(sockets.a, "read");
    libc.close(other);
    send(sockets.b);
    await waiting;
    ready.forget(sockets.a, new Error());
  });
}

test("readiness() is one per thread, and opens nothing later", async () => {
  const ready = WAYS[""];
  assertEquals(readiness(libc), ready);
  using sockets = new Sockets();
  send(sockets.b);
  await ready.wait(sockets.a, "read");
  const before = openDescriptors();
  for (let i = 0; i < 100; i++) await ready.wait(sockets.a, "read");
  assertEquals(openDescriptors(), before);
  ready.forget(sockets.a, new Error());
  assertEquals(ready instanceof Readiness, true);
});
