import { assertEquals, assertThrows } from "@std/assert";
import { HeldSocket } from "../../_internal/descriptor/held_socket.ts";
import { TempDir, test } from "../_helpers.ts";

test("the path of a held socket is refused with an error of Deno's class", async () => {
  await using dir = new TempDir();
  const path = dir.file("missing/app.sock");
  const error: Error & { code?: string } = assertThrows(
    () => HeldSocket.bind(path),
    Deno.errors.NotFound,
  );
  assertEquals([error.message, error.code], ["bind ENOENT", "ENOENT"]);
});
