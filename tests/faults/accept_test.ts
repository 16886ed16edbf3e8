/**
 * # Failing accept
 *
 * `strace` makes `accept4` fail.
 */

import { assert, assertEquals } from "@std/assert";
import { CLIENTS, countEchoes, startFailing } from "../_failing_accept.ts";
import { Process, udsCommand } from "../_cli.ts";
import { TempDir, test, within } from "../_helpers.ts";

const OPTIONS = { needs: ["strace"], deadline: 30_000 };

/** Errors that concern one client or one moment. The system has no error 777. */
const PASSING =
  "EPERM EACCES EIO ECONNABORTED EPROTO ENOBUFS ENOMEM EMFILE ENFILE EINTR ETIMEDOUT 777";

for (const error of PASSING.split(" ")) {
  for (const when of ["1", "3..7"]) {
    /**
     * Fault: Accept fails for one client or one moment: no access, no descriptor, no memory,
     * interrupted, an unknown error
     * How: `strace -e inject=accept4:error=…`, the first call, or five in the middle of 20 clients
     * Then: All 20 are answered, one line is printed, and the server shuts down gracefully
     */
    test(
      `uds echo answers ${CLIENTS} of ${CLIENTS} while accept fails with ${error} at ${when}`,
      async () => {
        await using dir = new TempDir();
        const path = dir.file("s.sock");
        await using echo = startFailing(["echo", path], error, when);
        await echo.stderr.until("listening");
        assertEquals(await countEchoes(() => Deno.connect({ transport: "unix", path })), CLIENTS);
        echo.kill("SIGTERM");
        const { code, stderr } = await echo.ended;
        assertEquals(code, 0);
        assertEquals(stderr.match(/uds: Cannot accept/g)?.length, 1, stderr);
        assertEquals(dir.list(), []);
      },
      OPTIONS,
    );
  }

  /**
   * Fault: The same on a TCP port
   * How: The same
   * Then: The same
   */
  test(
    `uds relay on a port answers ${CLIENTS} of ${CLIENTS} while accept fails with ${error}`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s.sock");
      await using echo = new Process(udsCommand(["echo", path]));
      await echo.stderr.until("listening");
      await using relay = startFailing(["relay", "tcp:127.0.0.1:0", path], error, "3..7");
      await relay.stderr.until("listening");
      const port = Number((await relay.stderr.text()).match(/:(\d+)\n/)![1]);
      assertEquals(await countEchoes(() => Deno.connect({ port })), CLIENTS);
      relay.kill("SIGTERM");
      const { code, stderr } = await relay.ended;
      assertEquals([code, stderr.match(/uds: Cannot accept/g)?.length], [0, 1], stderr);
    },
    OPTIONS,
  );
}

for (const error of ["EBADF", "EINVAL", "ENOTSOCK"]) {
  /**
   * Fault: The listening descriptor is lost
   * How: `EBADF`, `EINVAL`, `ENOTSOCK`
   * Then: The server ends with an error, and leaves no file
   */
  test(`uds echo ends when accept fails with ${error}: its descriptor is lost`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using echo = startFailing(["echo", path], error, "3+");
    await echo.stderr.until("listening");
    for (let i = 0; i < 3; i++) {
      await Deno.connect({ transport: "unix", path }).then((conn) => conn.close(), () => {});
    }
    const { code, stderr } = await echo.ended;
    assertEquals(code, 1);
    assert(stderr.includes("Cannot accept on"), stderr);
    assertEquals(dir.list(), []);
  }, OPTIONS);
}

/**
 * Fault: Every accept fails
 * How: `EIO` at each call
 * Then: The server does not spin, and ends at SIGTERM
 */
test("uds echo ends at SIGTERM in bounded time while every accept fails", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using echo = startFailing(["echo", path], "EIO", "1+");
  await echo.stderr.until("listening");
  const conn = await Deno.connect({ transport: "unix", path });
  await echo.stderr.until("Cannot accept");
  echo.kill("SIGTERM");
  const { code } = await within(8000, echo.ended);
  assertEquals(code, 0);
  conn.close();
}, OPTIONS);
