/**
 * What runs in a worker, beside its module: it accepts at the descriptor that it was given, and
 * obeys its owner, over the socket that the two have.
 *
 * ```text
 * loaded ──serve──▶ serving ──drain, or the owner has ended──▶ draining ──▶ exits
 * ```
 */

import { contextAt } from "../base/error_context.ts";
import { unnamedConnection } from "../child/unnamed_connection.ts";
import { childFdBeside, takeOver } from "../descriptor/inherited_fd.ts";
import { withDefaults } from "../rpc/options.ts";
import { Peer } from "../rpc/peer.ts";
import { ConnectionServer } from "../server/connection_server.ts";
import { ListeningSocket } from "../server/listening_socket.ts";
import { Reporter } from "../server/reporter.ts";
import type { ServeHandler, ShutdownResult } from "../server/serving.ts";
import { type Fetch, httpHandler } from "./http.ts";
import { SharedListener } from "./shared_listener.ts";

/** This program. */
export const PROGRAM: URL = new URL(import.meta.url);

/** What it imports, from the root of this package. */
export const IMPORTED: readonly string[] = [
  "_internal/",
  "framing/",
  "address.ts",
  "errors.ts",
];

/** How the connections of a worker are served. JSON has no `Infinity`, which is the default. */
export interface Limits {
  maxConnections?: number | undefined;
  idleTimeout?: number | undefined;
  firstByteTimeout?: number | undefined;
  writeTimeout?: number | undefined;
}

/** How a worker begins. */
export interface ServeParams extends Limits {
  /** The length of the queue of the socket. */
  readonly backlog: number;
}

/** How a worker ends. */
export interface DrainParams {
  /** How long, in milliseconds, its handlers have; `null` without a limit. */
  readonly timeout: number | null;
}

/** What a worker reports. */
export interface Figures {
  /** The open connections. */
  readonly connections: number;
  /** The connections that it has accepted. */
  readonly accepted: number;
}

/**
 * Serves what a module exports, when the owner asks for it.
 *
 * @param fd The listening socket.
 * @param url The URL of the module, a file that this process may read.
 */
export default function run(module: Record<string, unknown>, fd: number, url: string): void {
  openSignals();
  const ownFd = childFdBeside(fd);
  const conn = unnamedConnection(takeOver(contextAt(ownFd)("take over"), ownFd));
  let listener: SharedListener | undefined;
  const backlogLeft = Promise.withResolvers<void>();
  let server: ConnectionServer | undefined;
  let accepted = 0;

  function drain({ timeout }: DrainParams): Promise<ShutdownResult> {
    return server!.shutdown({ timeout: timeout ?? Infinity });
  }
  const methods = {
    /** Returns what is wrong with the module, if it cannot serve. */
    async serve({ backlog, ...limits }: ServeParams): Promise<string | null> {
      const reporter = new Reporter();
      const served = servedBy(module, limits, reporter.report);
      if (typeof served === "string") return served;
      listener = await SharedListener.open(contextAt(fd)("serve"), fd, backlog, new URL(url));
      const { promise } = backlogLeft;
      const socket = ListeningSocket.openShared(contextAt(fd), listener, reporter, promise);
      server = new ConnectionServer(socket, (conn, info) => {
        accepted++;
        return served.handler(conn, info);
      }, served.limits);
      return null;
    },
    figures: (): Figures => ({ connections: server!.connections, accepted }),
    /** Resolves when it accepts no more. */
    untilRetired: () => listener!.ended,
    /** Accepts the backlog until `leaveBacklog`, and serves its connections. */
    drain,
    leaveBacklog: () => backlogLeft.resolve(),
  };
  const peer = new Peer(conn, withDefaults({ methods }));
  peer.closed.then(async () => {
    backlogLeft.resolve();
    if (server !== undefined) await drain({ timeout: ORPHAN_MS });
    conn.close();
  });
}

/**
 * Makes Deno open its descriptors for signals. It opens them when it needs them first, and ends
 * with a panic if none is free: clients that come before that must not take all.
 */
function openSignals(): void {
  const listener = () => {};
  // A signal that is ignored anyway.
  Deno.addSignalListener("SIGWINCH", listener);
  Deno.removeSignalListener("SIGWINCH", listener);
}

/** How long the handlers have after the owner has ended. A successor needs the path. */
const ORPHAN_MS = 5000;

/**
 * Returns how a module serves, by what it exports by name or in its default export, or what is
 * wrong with it.
 */
function servedBy(
  module: Record<string, unknown>,
  limits: Limits,
  report: (error: unknown) => void,
): { handler: ServeHandler; limits: Limits } | string {
  const connection = exportOf(module, "connection");
  const fetch = exportOf(module, "fetch");
  if (connection !== undefined && fetch !== undefined) {
    return `it exports both "connection" and "fetch". Export one of them`;
  }
  if (typeof connection === "function") {
    return { handler: async (conn, info) => await connection(conn, info), limits };
  }
  if (typeof fetch !== "function") {
    return `it exports neither a function "connection" nor a function "fetch"`;
  }
  // A read waits during an answer, too. So these timeouts are those of requests.
  const { idleTimeout, firstByteTimeout, ...others } = limits;
  const timeouts = {
    ...(idleTimeout !== undefined && { idleTimeout }),
    ...(firstByteTimeout !== undefined && { firstByteTimeout }),
  };
  return { handler: httpHandler({ fetch: fetch as Fetch, timeouts, report }), limits: others };
}

/** Returns what a module exports by name or in its default export. A function keeps its `this`. */
function exportOf(module: Record<string, unknown>, name: "connection" | "fetch"): unknown {
  const whole = module["default"] as Record<string, unknown> | null | undefined;
  const own = whole?.[name];
  return typeof own === "function" ? own.bind(whole) : own ?? module[name];
}
