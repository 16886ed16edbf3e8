import { ConnectionClosed } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import {
  decode,
  encode,
  isPending,
  KIB,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  test,
  turn,
  untilFull,
} from "../_helpers.ts";
import { assertSameBytes, errorOf, numbers, python, shell, textOf } from "./_pair.ts";

/** Waits, where a test is about time. */
function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

for (const when of ["at once", "after the child has ended"]) {
  test(`pair() loses nothing of 200,000 bytes and the exit, read ${when}`, async () => {
    await using child = await python(["send", "200000"]);
    if (when !== "at once") assertEquals((await child.status).code, 0);
    assertSameBytes(await readAll(child.conn), numbers(200_000));
    assertEquals((await child.status).code, 0);
  }, { needs: ["python3"] });
}

test("pair() loses nothing of all that the kernel holds at the child's exit", async () => {
  await using child = await python(["fill"], { stdout: "piped" });
  assertEquals((await child.status).code, 0);
  // Wait, so that the bytes would get lost if they were not kept.
  for (let i = 0; i < 20; i++) await turn();
  const sent = Number(await textOf(child.stdout));
  assert(sent > 100_000 && sent < MIB, `the kernel took ${sent} bytes`);
  assertSameBytes(await readAll(child.conn), numbers(sent));
}, { needs: ["python3"] });

test("pair() loses nothing of a child that a SIGKILL ended, read afterwards", async () => {
  await using child = await shell("printf hello >&3; kill -KILL $$");
  assertEquals((await child.status).signal, "SIGKILL");
  assertEquals(decode(await readAll(child.conn)), "hello");
});

test(
  "pair() holds back a child that writes 8 MiB to a slow and late reader, and loses nothing",
  async () => {
    await using child = await python(["send", `${8 * MIB}`]);
    // For a while, the child writes and nothing reads.
    await pass(200);
    assert(await isPending(child.status), "the child was not held back");
    const data = numbers(8 * MIB);
    const buffer = new Uint8Array(37_000);
    let end = 0;
    for (let reads = 0;; reads++) {
      const count = await child.conn.read(buffer);
      if (count === null) break;
      assertSameBytes(buffer.subarray(0, count), data.subarray(end, end + count));
      end += count;
      if (reads % 8 === 0) await turn();
    }
    assertEquals(end, data.length);
    assertEquals((await child.status).code, 0);
  },
  { needs: ["python3"] },
);

test("child.conn.write() is held back by a child that stalls, and everything arrives", async () => {
  await using child = await shell("read line; wc -c <&3", { stdin: "piped", stdout: "piped" });
  let resolved = 0;
  for (let i = 0; i < 64; i++) {
    child.conn.write(new Uint8Array(64 * KIB)).then((count) => resolved += count);
  }
  const ending = child.conn.closeWrite();
  await untilFull(child.conn);
  assert(resolved < MIB, `${resolved} bytes were taken, and none were read`);
  const writer = child.stdin.getWriter();
  await writer.write(encode("go\n"));
  await ending;
  assertEquals((await textOf(child.stdout)).trim(), `${4 * MIB}`);
  assertEquals(resolved, 4 * MIB);
});

test("child.conn.write() of eight writers at once is whole, unmixed and in call order", async () => {
  await using child = await shell("exec cat <&3 >&3");
  const { conn } = child;
  const writes: number[] = [];
  const writers = Array.from({ length: 8 }, async (_, id) => {
    for (let i = 0; i < 20; i++) {
      const size = 1 + ((id * 7919 + i * 104_729) % 90_000);
      writes.push(id, size);
      assertEquals(await conn.write(new Uint8Array(size).fill(id)), size);
    }
  });
  const [received] = await Promise.all([
    readAll(conn),
    Promise.all(writers).then(() => conn.closeWrite()),
  ]);
  let at = 0;
  for (let i = 0; i < writes.length; i += 2) {
    const [id, size] = [writes[i]!, writes[i + 1]!];
    for (const end = at + size; at < end; at++) {
      if (received[at] !== id) throw new Error(`byte ${at} is not of writer ${id}`);
    }
  }
  assertEquals(at, received.length);
});

test("child.conn.read() serves several calls at once first come, first served", async () => {
  await using child = await shell("exec cat <&3 >&3");
  const buffers = [2, 3, 1].map((length) => new Uint8Array(length));
  const reads = buffers.map((buffer) => child.conn.read(buffer));
  await child.conn.write(encode("aabbbcrest"));
  assertEquals(await Promise.all(reads), [2, 3, 1]);
  assertEquals(buffers.map(decode), ["aa", "bbb", "c"]);
  assertEquals(await readText(child.conn), "rest");
});

test("child.conn.read() resolves to null for all pending calls when the child ends", async () => {
  await using child = await shell("read line");
  const reads = [1, 2, 3].map(() => child.conn.read(new Uint8Array(1)));
  child.kill();
  assertEquals(await Promise.all(reads), [null, null, null]);
});

test(
  "child.conn.write() to a child that has ended rejects with BrokenPipe, and what it sent can be read",
  async () => {
    await using child = await python(["send", "120000"]);
    await child.status;
    const data = pseudoRandom(2 * MIB, 3);
    const error = await errorOf(child.conn.write(data));
    assertInstanceOf(error, Deno.errors.BrokenPipe);
    assertEquals([error.operation, error.path, error.code], ["write", null, "EPIPE"]);
    assertEquals(
      error.message,
      "Cannot write to the unnamed peer: the peer has closed the connection",
    );
    assertInstanceOf(error.cause, Deno.errors.BrokenPipe);
    assertSameBytes(error.unsent!, data);
    assertSameBytes(await readAll(child.conn), numbers(120_000));
    await child.conn.closed;
  },
  { needs: ["python3"] },
);

test("child.conn.write() again after BrokenPipe rejects likewise; closeWrite() resolves", async () => {
  await using child = await shell("printf rest >&3");
  await child.status;
  for (let i = 0; i < 3; i++) {
    const error = await errorOf(child.conn.write(encode("late")));
    assertInstanceOf(error, Deno.errors.BrokenPipe);
    assertEquals(error.unsent, encode("late"));
  }
  await child.conn.closeWrite();
  assertEquals(await readText(child.conn), "rest");
  assertEquals(await readText(child.conn), null);
});

test(
  "child.conn.write() that is half done when the child ends rejects with the bytes not taken",
  async () => {
    await using child = await python(["take", "300000"]);
    const data = pseudoRandom(4 * MIB, 4);
    const error = await errorOf(child.conn.write(data));
    assertEquals([error.operation, error.path], ["write", null]);
    const unsent = error.unsent!;
    assertSameBytes(unsent, data.subarray(data.length - unsent.length));
    assertEquals(child.conn.bytesWritten, data.length - unsent.length);
    assert(
      unsent.length >= data.length - 300_000 - MIB,
      "more counts as sent than the kernel holds",
    );
    assert(unsent.length < data.length, "nothing counts as sent, and the child has read");
  },
  { needs: ["python3"] },
);

test("child.conn.read() rejects with ConnectionReset when the child left with bytes unread, after what it sent", async () => {
  await using child = await shell("read line; printf bye >&3", { stdin: "piped" });
  await child.conn.write(encode("unread"));
  await child.stdin.getWriter().write(encode("go\n"));
  await child.status;
  assertEquals(await readText(child.conn), "bye");
  const error = await errorOf(child.conn.read(new Uint8Array(1)));
  assertInstanceOf(error, Deno.errors.ConnectionReset);
  assertEquals([error.operation, error.path, error.code], ["read", null, "ECONNRESET"]);
  await child.conn.closed;
});

test("child.conn.close() rejects pending reads, and queued writes with what was not sent", async () => {
  await using child = await shell("read line; wc -c <&3", { stdin: "piped", stdout: "piped" });
  const { conn } = child;
  const data = [700_000, 1, 300_000, 5].map((length, i) => pseudoRandom(length, i + 1));
  const reading = conn.read(new Uint8Array(1));
  const writes = data.map((piece) => conn.write(piece));
  await untilFull(conn);
  conn.close();
  await conn.closed;
  const read = await errorOf(reading);
  assertInstanceOf(read, ConnectionClosed);
  assertEquals([read.operation, read.path, read.unsent], ["read", null, undefined]);
  let unsent = 0;
  for (const [i, write] of writes.entries()) {
    const error = await errorOf(write);
    assertInstanceOf(error, ConnectionClosed);
    const piece = data[i]!;
    assertSameBytes(error.unsent!, piece.subarray(piece.length - error.unsent!.length));
    unsent += error.unsent!.length;
  }
  await child.stdin.getWriter().write(encode("go\n"));
  const received = Number(await textOf(child.stdout));
  const missing = 1_000_006 - received - unsent;
  assert(received > 0, "nothing was sent");
  assert(missing <= 0, `${missing} bytes were neither received nor reported as unsent`);
  // How much the kernel took of the slice in progress is unknown.
  assert(missing >= -256 * KIB, `${-missing} bytes were received and reported as unsent`);
});

test("child.conn.close() at any moment accounts for every byte: received plus unsent covers all written", async () => {
  const sizes = [90_000, 250_000, 3, 400_000];
  for (let round = 0; round < 24; round++) {
    await using child = await shell("wc -c <&3", { stdout: "piped" });
    const writes = sizes.map((size) => child.conn.write(new Uint8Array(size)));
    for (let i = 0; i < round % 12; i++) await (round % 2 ? turn() : Promise.resolve());
    child.conn.close();
    let unsent = 0;
    for (const result of await Promise.allSettled(writes)) {
      if (result.status === "rejected") unsent += result.reason.unsent.length;
    }
    const missing = 740_003 - Number(await textOf(child.stdout)) - unsent;
    assert(missing <= 0, `round ${round}: ${missing} bytes are neither received nor unsent`);
  }
});

test("await using of child.conn sends what is queued before it closes", async () => {
  await using child = await shell("wc -c <&3", { stdout: "piped" });
  {
    await using conn = child.conn;
    conn.write(new Uint8Array(3 * MIB));
  }
  assertEquals((await textOf(child.stdout)).trim(), `${3 * MIB}`);
});
