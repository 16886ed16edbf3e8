/**
 * # Restarts of Deno.serve, Hono and node:http
 *
 * They are bound by `claim()` with `publish: "rename"`.
 */

import { connect, permissionFlags, permissions } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { decode, encode, fixture, readAll, TempDir, test } from "../_helpers.ts";
import { PROXIES } from "../http/_proxies.ts";
import { EXAMPLES, restartUnderLoad } from "../http/_restart.ts";

for (const example of EXAMPLES) {
  /**
   * Fault: `Deno.serve`, Hono or `node:http` is restarted under load
   * How: 20 restarts, 20 clients in a loop: a connection for each request, or kept open
   * Then: None of 100,000 requests is refused, reset or unanswered
   */
  test(
    `examples/${example} is restarted 20 times under load, and no request of 100,000 fails`,
    async () => {
      const { answered, connected, kept } = await restartUnderLoad(example, 20, 100_000, 20);
      console.log(
        `${answered} answered, ${connected} over a new connection, ${kept} over a kept one`,
      );
    },
    { needs: ["gcc"], deadline: 200_000 },
  );
}

for (const [name, inFront] of Object.entries(PROXIES)) {
  /**
   * Fault: `Deno.serve` behind nginx or HAProxy is restarted under load
   * How: 20 restarts, the same clients
   * Then: The same
   */
  test(
    `a server behind ${name} is restarted 20 times under load, and no request of 100,000 fails`,
    async () => {
      const { answered } = await restartUnderLoad("http_deno.ts", 20, 100_000, 20, inFront);
      console.log(`${answered} answered`);
    },
    { needs: [name, "gcc"], deadline: 200_000 },
  );
}

const REQUEST = encode("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");

for (
  const [kind, how, pairs] of [
    ["Deno.serve", "has to catch up", 0],
    ["node:http", "has to catch up", 0],
    // With some pairs, a server of node:http is never called: Deno 2.9.6 polls it when idle.
    ["Deno.serve", "is busy with 800 pairs", 800],
  ] as const
) {
  /**
   * Fault: It is replaced while its process is stopped, with clients in its backlog
   * How: SIGSTOP, 500 clients, a successor, SIGCONT. Then 800 socket pairs that never rest, or none
   * Then: The clients in its backlog are answered
   */
  test(
    `${kind} is replaced with 500 clients in its backlog, and loses none while it ${how}`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("http.sock");
      const flags = permissionFlags(permissions("claim", path, { publish: "rename" }));
      const start = (round: number) => {
        const other = dir.file(`other.${round}`);
        const own = flags.map((flag) =>
          flag.startsWith("--allow-net") ? `${flag},unix:${other}` : `${flag},${other}`
        );
        return fixture("http_busy.ts", own, [kind, path, other, `${pairs}`]);
      };
      await using stack = new AsyncDisposableStack();
      let server = stack.use(start(0));
      assertEquals(await server.line(), "ready");
      for (let round = 1; round <= 3; round++) {
        server.kill("SIGSTOP");
        const clients = await Promise.all(Array.from({ length: 500 }, () => connect(path)));
        await Promise.all(clients.map((conn) => conn.write(REQUEST)));
        const old = server;
        server = stack.use(start(round));
        assertEquals(await server.line(), "ready");
        old.kill("SIGCONT");
        const answers = await Promise.all(
          clients.map((conn) => readAll(conn).then(decode, (error) => `${error}`)),
        );
        assertEquals(answers.filter((answer) => !answer.endsWith("\r\n\r\nhello")), []);
        for (const conn of clients) conn.close();
        assertEquals(await old.line(), "500");
        assertEquals((await old.status).code, 0);
      }
    },
    { deadline: 100_000 },
  );
}
