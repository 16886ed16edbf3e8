import { connect } from "@uds/uds";
import { serveWorkers } from "@uds/uds/workers";
import { assertEquals } from "@std/assert";
import { readText, TempDir, test } from "../_helpers.ts";
import { moduleOf } from "./_workers.ts";

test("a worker takes over no other descriptor, and listens nowhere else", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using _server = await serveWorkers({ path, count: 1 }, moduleOf("descriptors.ts"));
  await using conn = await connect(path);
  const { allowed, refusal } = JSON.parse(await readText(conn) ?? "");
  assertEquals([allowed, refusal], [[], "NotCapable"]);
});
