import { assertEquals } from "@std/assert";
import { connect } from "@uds/uds";
import { encode, fixture, readText, TempDir, test } from "../_helpers.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

for (const isTwice of [true, false]) {
  const what = isTwice ? "counts two SIGINTs at once as one" : "ends at the second";
  test(`examples/echo_server.ts ${what}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s");
    await using server = fixture("./examples/echo_server.ts", ["-RWN"], [path]);
    await server.line();
    await using conn = await connect(path);
    await conn.write(encode("one"));
    assertEquals(await readText(conn), "one");
    server.kill("SIGINT");
    await pause(isTwice ? 1 : 1500);
    server.kill("SIGINT");
    if (isTwice) {
      // Deno passes a signal on from another thread, under load after the server has ended.
      await pause(100);
      await conn.write(encode("two"));
      assertEquals(await readText(conn), "two");
      await conn.closeWrite();
    }
    assertEquals((await server.status).code, isTwice ? 0 : 130);
  });
}
