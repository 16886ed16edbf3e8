import { serve } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";

const WRONG = [
  ["maxConnections", 0, RangeError],
  ["maxConnections", 1.5, RangeError],
  ["maxConnections", "3", TypeError],
  ["idleTimeout", 0, RangeError],
  ["idleTimeout", 2 ** 31, RangeError],
  ["firstByteTimeout", 0, RangeError],
  ["firstByteTimeout", "3", TypeError],
  ["onListen", true, TypeError],
  ["onError", {}, TypeError],
  ["signal", {}, TypeError],
  ["publish", "link", TypeError],
  ["maxConnection", 1, TypeError],
] as const;

for (const [name, value, error] of WRONG) {
  test(`serve() refuses ${name}: ${JSON.stringify(value)}`, async () => {
    await using dir = new TempDir();
    const options = { path: dir.file("w.sock"), [name]: value };
    await assertRejects(() => serve(options as never, async () => {}), error, name);
    assertEquals(dir.list(), []);
  });
}

test("serve() refuses a handler that is not a function", async () => {
  await using dir = new TempDir();
  await assertRejects(() => serve(dir.file("w.sock"), {} as never), TypeError, "handler");
  assertEquals(dir.list(), []);
});
