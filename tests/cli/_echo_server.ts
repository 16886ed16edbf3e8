/** A server for the tests of several commands. */

import { serve, type UnixServer } from "@uds/uds";

/** A server that sends back what comes. */
export function echoServer(path: string): Promise<UnixServer> {
  return serve(path, (conn) => conn.readable.pipeTo(conn.writable));
}
