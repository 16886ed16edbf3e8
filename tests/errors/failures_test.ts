import { claim, connect, isSocketError } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { readText, TempDir, test } from "../_helpers.ts";
import { type AnyError, assertDocumentedFields, errorOf } from "./_errors.ts";
import { aForeignServer, type Failure } from "./_failure.ts";
import { FAILURES } from "./_failures.ts";

/** Asserts that an error has the shape that all errors of this package have. */
function assertShape(
  error: AnyError,
  { is, operation, says, code, causedBy }: Failure,
  at: string,
) {
  assertInstanceOf(error, is);
  assertEquals([error.operation, error.path], [operation, at], error.message);
  assert(isSocketError(error));
  assertDocumentedFields(error);
  if (code !== undefined) assertEquals(error.code, code);
  if (causedBy === null) assertEquals("cause" in error, false);
  if (typeof causedBy === "string") {
    assertInstanceOf(error.cause, Error);
    assertEquals((error.cause as AnyError).code, causedBy);
  }
  assertMatch(error.message, /^Cannot [a-z]/);
  assertMatch(error.message, /[^.\s]$/);
  assert(!error.message.includes("os error"), error.message);
  assert(!/n't\b/.test(error.message), error.message);
  // The message has an abstract name as the command line writes it.
  assert(error.message.includes(JSON.stringify(at.replace(/^\0/, "@"))), error.message);
  assert(error.message.includes(says), error.message);
}

for (const failure of FAILURES) {
  const { name, fail, at, fields, needs } = failure;
  test(`${name} fails with ${failure.is.name} in the common shape`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const error = await fail(dir, path);
    assertShape(error, failure, at?.(path) ?? path);
    fields?.(error);
  }, { needs: needs ?? [] });
}

test("a bind that binds nothing rejects with a TypeError, and the path is free again", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using claimed = await claim(path);
  let disposed = false;
  const nobody = { [Symbol.dispose]: () => void (disposed = true) };
  const error = await errorOf(() => claimed.bind(() => nobody));
  assertEquals([error.constructor, disposed], [TypeError, true]);
  assertMatch(error.message, /there is nothing after the bind/);
  using listener = await claimed.bind(() => aForeignServer(path));
  const [server, client] = await Promise.all([listener.accept(), connect(path)]);
  server.close();
  assertEquals(await readText(client), null);
  client.close();
});
