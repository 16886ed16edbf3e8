/**
 * An echo service that a manager starts at its first client. The process cannot touch the path.
 *
 * Terminal 1: systemd-socket-activate -l /tmp/echo.sock -E HOME deno run
 * --allow-env=LISTEN_PID,LISTEN_FDS,LISTEN_FDNAMES,NOTIFY_SOCKET,WATCHDOG_USEC,WATCHDOG_PID
 * examples/service.ts
 * Terminal 2: deno run -RWN cli.ts send /tmp/echo.sock hello
 *
 * A service with Type=notify also needs --allow-run=systemd-notify, or --allow-ffi for libc.
 */

import { serve, shutdownOnSignal } from "@uds/uds";
import { listenFds, notify, watchdog } from "@uds/uds/systemd";

const [given] = listenFds();
if (given === undefined) {
  console.error("No manager has opened a socket: start this with systemd-socket-activate");
  Deno.exit(1);
}
await using server = await serve(
  { fd: given.fd },
  (conn) => conn.readable.pipeTo(conn.writable),
);
using _signals = shutdownOnSignal({
  async shutdown() {
    await notify({ stopping: true });
    await server.shutdown();
  },
});
using _watchdog = watchdog();
await notify({ ready: true, status: "serving" });
console.log(`serving descriptor ${given.fd}, named ${given.name}`);
await server.finished;
