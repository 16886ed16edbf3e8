/** Connections of the core behave as Go's `nettest.TestConn` expects. */

import { assertEquals, assertInstanceOf } from "@std/assert";
import { connect, serve, socketpair } from "@uds/uds";
import { bothEnds, errorOf } from "../connection/_connection.ts";
import { gate, MIB, readAll, TempDir } from "../_helpers.ts";
import { follows } from "./_follows.ts";
import { testConn } from "./_go_nettest.ts";

testConn({
  "over a path": async (dir) => {
    const { left, right } = await bothEnds(dir);
    return [left, right];
  },
  "over a socket pair": () => socketpair(),
});

follows(
  "Go nettest: TestConn/WriteTimeout",
  "serve() with writeTimeout closes the connection, decided otherwise",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const { opened, open } = gate<[Error, Error]>();
    await using _server = await serve({ path, writeTimeout: 20 }, async (conn) => {
      // In Go, reads go on. Here the peer would wait for the rest of a write that is given up.
      const writing = await errorOf(conn.write(new Uint8Array(MIB)));
      open([writing, await errorOf(conn.read(new Uint8Array(1)))]);
    });
    using conn = await connect(path);
    const [writing, reading] = await opened;
    assertInstanceOf(writing, Deno.errors.TimedOut);
    assertInstanceOf(reading, Deno.errors.TimedOut);
    const { unsent } = writing as Error & { unsent: Uint8Array };
    assertEquals((await readAll(conn)).length, MIB - unsent.length);
  },
);
