/** The failures of a connection. */

import { connect, ConnectionClosed, listen, relay, serve } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { encode } from "../_helpers.ts";
import { type AnyError, errorOf } from "./_errors.ts";
import type { Failure } from "./_failure.ts";

/** Returns the failures of connections. Each has both ends, and closes both. */
export function connectionFailures(): Failure[] {
  type End = Awaited<ReturnType<typeof connect>>;
  const withPair =
    (fail: (client: End, server: End) => Promise<AnyError>): Failure["fail"] =>
    async (_dir, path) => {
      await using listener = await listen(path);
      const [server, client] = await Promise.all([listener.accept(), connect(path)]);
      try {
        return await fail(client, server);
      } finally {
        client.close();
        server.close();
      }
    };
  return [
    {
      name: "read() of a connection that was closed",
      fail: withPair((client) => {
        client.close();
        return errorOf(() => client.read(new Uint8Array(1)));
      }),
      is: ConnectionClosed,
      operation: "read",
      says: "close() was called on this side",
    },
    {
      name: "read() of a connection that is closed meanwhile",
      fail: withPair((client) => {
        const error = errorOf(() => client.read(new Uint8Array(1)));
        client.close();
        return error;
      }),
      is: ConnectionClosed,
      operation: "read",
      says: "close() was called on this side",
    },
    {
      name: "write() to a connection that was closed",
      fail: withPair((client) => {
        client.close();
        return errorOf(() => client.write(encode("hello")));
      }),
      is: ConnectionClosed,
      operation: "write",
      says: "5 bytes were not sent",
      fields: (error) => assertEquals(error.unsent, encode("hello")),
    },
    {
      name: "write() after closeWrite()",
      fail: withPair(async (client) => {
        await client.closeWrite();
        return await errorOf(() => client.write(encode("hello")));
      }),
      is: ConnectionClosed,
      operation: "write",
      says: "closeWrite() was called on this side, and 5 bytes were not sent",
      fields: (error) => assertEquals(error.unsent, encode("hello")),
    },
    {
      name: "closeWrite() of a connection that was closed",
      fail: withPair((client) => {
        client.close();
        return errorOf(() => client.closeWrite());
      }),
      is: ConnectionClosed,
      operation: "closeWrite",
      says: "Cannot half-close",
    },
    {
      name: "write() to a peer that is gone",
      fail: withPair((client, server) => {
        server.close();
        return errorOf(() => client.write(encode("hello")));
      }),
      is: Deno.errors.BrokenPipe,
      operation: "write",
      code: "EPIPE",
      says: "the peer has closed the connection",
      causedBy: "EPIPE",
      fields: (error) => assertEquals(error.unsent, encode("hello")),
    },
    {
      name: "write() of a server to a client that is gone",
      fail: withPair((client, server) => {
        client.close();
        return errorOf(() => server.write(encode("hello")));
      }),
      is: Deno.errors.BrokenPipe,
      operation: "write",
      code: "EPIPE",
      says: "Cannot write to a client of",
      causedBy: "EPIPE",
      fields: (error) => assertEquals(error.unsent, encode("hello")),
    },
    {
      name: "read() from a peer that did not read everything",
      fail: withPair(async (client, server) => {
        await client.write(encode("hello"));
        server.close();
        return await errorOf(() => client.read(new Uint8Array(1)));
      }),
      is: Deno.errors.ConnectionReset,
      operation: "read",
      code: "ECONNRESET",
      says: "before reading everything that was sent",
      causedBy: "ECONNRESET",
    },
    {
      name: "relay() with a peer that did not read everything",
      fail: withPair(async (client, server) => {
        await server.write(encode("hello"));
        const relaying = errorOf(() => relay(server, server));
        client.close();
        return await relaying;
      }),
      is: Deno.errors.ConnectionReset,
      operation: "read",
      code: "ECONNRESET",
      says: "Cannot go on relaying",
      fields: (error) => assertEquals([error.aToB, error.bToA], [0, 0]),
    },
    {
      name: "read() of a server on which nothing comes in time",
      fail: async (_dir, path) => {
        const failed = Promise.withResolvers<AnyError>();
        await using _server = await serve({ path, idleTimeout: 1 }, async (conn) => {
          failed.resolve(await errorOf(() => conn.read(new Uint8Array(1))));
        });
        await using _client = await connect(path);
        return await failed.promise;
      },
      is: Deno.errors.TimedOut,
      operation: "read",
      says: "nothing came for 1 ms",
    },
  ];
}
