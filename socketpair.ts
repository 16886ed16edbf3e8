/** Two connections that are each other's peer. */

import type { Connection } from "./connection.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  type Check,
  checkArguments,
  checkOptions,
  type Checks,
  show,
} from "./_internal/base/check.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { openSocketPair, SOCKET_PAIR_PERMISSIONS } from "./_internal/child/socket_pair.ts";

/**
 * Options of {@linkcode socketpair}: those of the system call, with the values that Deno supports.
 *
 * @category Children
 */
export interface SocketPairOptions {
  /**
   * The address family.
   *
   * @default {"unix"}
   */
  family?: "unix" | undefined;
  /**
   * The type of the sockets.
   *
   * @default {"stream"}
   */
  type?: "stream" | undefined;
  /**
   * The protocol.
   *
   * @default {0}
   */
  protocol?: 0 | undefined;
}

/**
 * Opens two connections that are each other's peer, both in this process: for tests, and to pass
 * one end to code that expects a connection.
 *
 * - The system call takes an address family, a type and a protocol. Deno has stream sockets only:
 *   `"dgram"`, `"seqpacket"`, and other families and protocols reject with `NotSupported`. The
 *   `socketpair()` of `@uds/uds/native` has them all. Messages over a stream need a framing.
 * - Deno does not have the system call. The two ends meet at an abstract name of 128 random bits,
 *   which exists for that instant. On systems other than Linux it is a path in a new private
 *   directory. Any other process that connects there is recognized and dropped.
 *
 * **Permissions**: `--allow-net`, unscoped because of the random name. On systems without abstract
 * names also read and write for the directory of temporary files.
 *
 * @param options Family, type and protocol.
 * @returns The two ends. Neither has a name.
 * @throws {TypeError} when an option does not exist.
 * @throws {Deno.errors.NotSupported} when Deno does not support the value of an option.
 * @throws {Error} with `code` `"EMFILE"` when this process has no descriptor left.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Usage
 * ```ts
 * import { socketpair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = await socketpair();
 * await a.writeText("ping");
 * a.close();
 * assertEquals(await new Response(b.readable).text(), "ping");
 * b.close();
 * ```
 *
 * @category Children
 */
export async function socketpair(
  options: SocketPairOptions = {},
): Promise<[Connection, Connection]> {
  try {
    checkArguments("socketpair", arguments, 1, "socketpair({ type })");
    checkOptions("socketpair", options, SOCKETPAIR_CHECKS);
    requireRuntime();
    const context = new ErrorContext("socketpair", null, "Cannot make a socket pair");
    context.require(SOCKET_PAIR_PERMISSIONS);
    return await openSocketPair(context);
  } catch (error) {
    throw seenFrom(socketpair, error);
  }
}

const SOCKETPAIR_CHECKS: Checks<SocketPairOptions> = {
  family: only("unix", "other address families have no socket pair"),
  type: only("stream", "Deno connects stream sockets only"),
  protocol: only(0, "Unix domain sockets have no other protocol"),
};

const NATIVE = 'import { socketpair } from "@uds/uds/native"';

/** Returns a check that accepts one value, and refuses others for a reason. */
function only(accepted: unknown, reason: string): Check {
  return (name, value) => {
    if (value === accepted) return;
    const start = `Cannot make a socket pair with ${name} ${show(value)}`;
    throw new ErrorContext("socketpair", null, start)
      .error(Deno.errors.NotSupported, `${reason}. Use ${show(accepted)}, or ${NATIVE}`);
  };
}
