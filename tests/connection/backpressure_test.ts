import { assert, assertEquals } from "@std/assert";
import { fixture, KIB, MIB, pseudoRandom, readAll, TempDir, test, untilFull } from "../_helpers.ts";
import { assertSameBytes, bothEnds, concat, flags, withPeer } from "./_connection.ts";

test("write() is held back by a reader that stalls, and everything arrives", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const data = pseudoRandom(16 * MIB, 9);
  let resolved = 0;
  const writing = (async () => {
    for (let at = 0; at < data.length; at += 64 * KIB) {
      resolved += await right.write(data.subarray(at, at + 64 * KIB));
    }
    await right.closeWrite();
  })();
  // An open stream without a pending read does not read ahead either.
  const reader = left.readable.getReader();
  await untilFull(right);
  assert(resolved < MIB, `${resolved} bytes were taken, and none were read`);

  const chunks: Uint8Array[] = [];
  let read = 0;
  for (;;) {
    assert(resolved - read < MIB, `${resolved - read} bytes were written and not read`);
    const { value, done } = await reader.read();
    if (done) break;
    chunks.push(value);
    read += value.length;
    if (chunks.length % 16 === 0) await untilFull(right);
  }
  await writing;
  assertSameBytes(concat(chunks), data);
});

test("write() is held back even if it is not awaited", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const pieces = Array.from({ length: 64 }, (_, i) => pseudoRandom(64 * KIB, i + 1));
  let resolved = 0;
  for (const piece of pieces) conn.write(piece).then((count) => resolved += count);
  conn.closeWrite();
  await untilFull(conn);
  assert(resolved < MIB && conn.bytesWritten < MIB, `${resolved} bytes were taken`);
  assertSameBytes(await readAll(peer), concat(pieces));
  assertEquals(resolved, 4 * MIB);
});

for (const how of ["methods", "streams"]) {
  test(`Connection does not grow in memory over 1 GiB, by its ${how}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    await using receiver = fixture("peer_flood.ts", flags(path), ["receive", how, path, "1024"]);
    assertEquals(await receiver.line(), "ready");
    await using sender = fixture("peer_flood.ts", flags(path), ["send", how, path, "1024"]);
    for (const [role, program] of Object.entries({ sender, receiver })) {
      const { moved, growth } = JSON.parse(await program.line());
      console.log(`memory over 1 GiB, ${role}, by its ${how}: +${growth.toFixed(1)} MiB`);
      assertEquals(moved, 1024 * MIB);
      assert(growth < 64, `the ${role} grew by ${growth} MiB`);
    }
    assertEquals((await sender.status).code, 0);
    assertEquals((await receiver.status).code, 0);
  }, { deadline: 20_000 });
}
