/** A server for the tests of several commands. */

import { serve, type UnixServer } from "@uds/uds";

/** Starts a server that sends back what it reads. */
export function echoServer(path: string): Promise<UnixServer> {
  return serve(path, (conn) => conn.readable.pipeTo(conn.writable));
}
