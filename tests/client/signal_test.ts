import { connect, listen } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { encode, openDescriptors, readText, TempDir, test } from "../_helpers.ts";
import { assertNoConnection } from "./_client.ts";

test("connect() with a signal aborted before rejects with its reason and does not connect", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("a.sock"));
  const reason = new Error("never mind");
  const connecting = connect({ path: dir.file("a.sock"), signal: AbortSignal.abort(reason) });
  assertEquals(await assertRejects(() => connecting, Error), reason);
  await assertNoConnection(listener);
});

test("connect() rejects with a reason that is not an error, unchanged", async () => {
  await using dir = new TempDir();
  const connecting = connect({ path: dir.file("a.sock"), signal: AbortSignal.abort("reason") });
  assertEquals(await connecting.catch((error) => error), "reason");
});

test("connect() aborted while it connects closes the connection", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("a.sock"));
  const before = openDescriptors();
  const abort = new AbortController();
  const connecting = connect({ path: dir.file("a.sock"), signal: abort.signal });
  abort.abort();
  const error = await assertRejects(() => connecting, DOMException);
  assertEquals(error.name, "AbortError");
  assertEquals(openDescriptors(), before);
  using server = await listener.accept();
  assertEquals(await readText(server), null);
});

test("connect() ignores its signal once it has connected", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("a.sock"));
  const abort = new AbortController();
  using client = await connect({ path: dir.file("a.sock"), signal: abort.signal });
  using server = await listener.accept();
  abort.abort();
  await client.write(encode("still here"));
  assertEquals(await readText(server), "still here");
});

test("connect() takes the timeout of AbortSignal.timeout() as its reason", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const connecting = connect({ path, wait: true, signal: AbortSignal.timeout(50) });
  const error = await assertRejects(() => connecting, DOMException);
  assertEquals(error.name, "TimeoutError");
});
