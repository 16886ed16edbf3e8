import { claim, connect, probe, serve, SocketInUse } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { encode, readText, test } from "../_helpers.ts";
import { checked, output, start, stop, UserDir } from "./_programs.ts";

const REDIS = ["redis-server", "-v"];

test("serve() refuses the path of a running Redis, and reclaims that of a killed one", async () => {
  await using dir = new UserDir();
  const path = dir.file("redis.sock");
  const command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""];
  {
    await using redis = await start(command, path, { cwd: dir.path });
    await assertRejects(() => serve(path, () => Promise.resolve()), SocketInUse);
    await assertRejects(() => claim(path), SocketInUse);
    assertEquals(await output(["redis-cli", "-s", path, "ping"]), "PONG\n");
    await stop(redis, "SIGKILL");
  }
  assertEquals((await probe(path)).state, "stale");
  {
    await using _server = await serve(path, (conn) => conn.write(encode("ours")).then(() => {}));
    await using conn = await connect(path);
    assertEquals(await readText(conn), "ours");
  }
  await using redis = await start(command, path, { cwd: dir.path });
  assertEquals(await output(["redis-cli", "-s", path, "ping"]), "PONG\n");
  await stop(redis);
  const what = "a running server refused, a stale path reclaimed, and served by it again";
  await checked("Redis", REDIS, "`serve()`, `claim()`, `probe()`", what);
}, { needs: ["redis-server", "redis-cli"], deadline: 30_000 });
