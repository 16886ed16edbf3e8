/** `uds relay LISTEN TARGET`: every connection to one side passed on to a connection to the other one. */

import { resolveSocketPath } from "../address.ts";
import { connect } from "../client.ts";
import type { Connection } from "../connection.ts";
import { relay as pass } from "../relay.ts";
import { serve } from "../server.ts";
import { refuseActivation } from "./activation.ts";
import { type Endpoint, endpointNeeds, shownEndpoint } from "./endpoint.ts";
import { OK } from "./exit_codes.ts";
import { failure } from "./failure.ts";
import { requireGrants, union } from "./grants.ts";
import { type ByteStream, connectNetwork, type Identity, serveNetwork } from "./network.ts";
import { ownership, type OwnershipFlags, ownershipNeeds } from "./ownership.ts";
import { stopSignal } from "./signals.ts";
import { type CommonFlags, Talk, UsageError } from "./talk.ts";

/** Its options. */
export type RelayFlags = CommonFlags & OwnershipFlags & {
  readonly timeout?: number;
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
};

/** As long as `connect()` tries. */
const TIMEOUT_MS = 5000;

/** The command. */
export async function relay(flags: RelayFlags, from: Endpoint, to: Endpoint): Promise<number> {
  checkFlags("relay", flags, from, to);
  using talk = new Talk(flags);
  const signal = stopSignal();
  await serveRelay(flags, from, to, { talk, signal });
  return OK;
}

/** Refuses options that are for sides of another kind. */
export function checkFlags(command: string, flags: RelayFlags, from: Endpoint, to: Endpoint): void {
  const { cert, key, ca, mode, group } = flags;
  const refuse = (message: string) => {
    throw new UsageError(message, command);
  };
  if (from.scheme === "tls" && cert === undefined) refuse("LISTEN tls: needs --cert and --key");
  if ((cert === undefined) !== (key === undefined)) refuse("--cert and --key go together");
  if (cert !== undefined && from.scheme !== "tls" && to.scheme !== "tls") {
    refuse("--cert and --key are for tls:");
  }
  if (ca !== undefined && to.scheme !== "tls") refuse("--ca is for a TARGET tls:");
  if ((mode ?? group) !== undefined && from.scheme !== "unix") {
    refuse("--mode and --group are for a LISTEN unix:");
  }
  // Each connection would make another one, until no descriptor is left.
  if (placeOf(from) === placeOf(to)) refuse("LISTEN and TARGET are the same");
}

/** What tells one side from another one. */
function placeOf(side: Endpoint): string {
  return side.scheme === "unix" ? resolveSocketPath(side.path) : `${side.hostname}:${side.port}`;
}

/** The permissions that it takes. */
export function needs(
  flags: RelayFlags,
  from: Endpoint,
  to: Endpoint,
): Deno.PermissionOptionsObject {
  const files = [flags.cert, flags.key, flags.ca].filter((file) => file !== undefined);
  return union([
    endpointNeeds(from, "serve"),
    endpointNeeds(to, "connect"),
    ownershipNeeds(flags),
    files.length > 0 ? { read: files } : {},
  ]);
}

/** What a relay is told by whoever runs it. */
export interface RelayContext {
  talk: Talk;
  /** Ends it: who is connected has 5 seconds to finish. */
  signal: AbortSignal;
  /** Is put between the two sides of each connection. */
  between?: (client: ByteStream, target: ByteStream) => Between;
}

/** The two sides of a connection as they are relayed, and what is called when it is over. */
export interface Between {
  client: ByteStream;
  target: ByteStream;
  over(error?: unknown): void;
}

/** Relays until the signal. */
export async function serveRelay(
  flags: RelayFlags,
  from: Endpoint,
  to: Endpoint,
  { talk, signal, between }: RelayContext,
): Promise<void> {
  // A prompt would come with the first connection.
  requireGrants("Cannot relay", needs(flags, from, to));
  const identity = await readIdentity(flags);
  const { timeout = TIMEOUT_MS } = flags;
  const onError = (error: unknown) => talk.report(error);
  signal.addEventListener("abort", () => talk.ending());

  if (from.scheme === "unix") {
    refuseActivation(from.path);
    await using server = await serve({
      path: from.path,
      signal,
      ...await ownership(flags),
      onListen: ({ path }) => listening({ ...from, path: path ?? from.path }),
      onError,
    }, (conn, info) => serveOne(conn, info.signal));
    await server.finished;
  } else {
    await serveNetwork(from, {
      identity,
      timeout,
      signal,
      onListen: (port) => listening({ ...from, port }),
      onError,
    }, serveOne);
  }

  function listening(side: Endpoint): void {
    const address = shownEndpoint(side);
    talk.say(`listening on ${address}`, { event: "listening", address });
  }

  async function serveOne(client: ByteStream, cut: AbortSignal): Promise<void> {
    // With a certificate for LISTEN the one for TARGET would be the same: it is not shown there.
    const shown = from.scheme === "tls" ? { caCerts: identity.caCerts ?? [] } : identity;
    const target = await dial(to, shown, timeout);
    const sides = between?.(client, target) ?? { client, target, over: () => {} };
    try {
      // It uses no more of them than that.
      await pass(sides.client as Connection, sides.target as Connection, { signal: cut });
      sides.over();
    } catch (error) {
      sides.over(error);
      throw error;
    }
  }
}

/** Connects to a side. */
async function dial(side: Endpoint, identity: Identity, timeout: number): Promise<ByteStream> {
  if (side.scheme === "unix") return await connect({ path: side.path, timeout });
  try {
    return await connectNetwork(side, identity, timeout);
  } catch (error) {
    throw failure(`Cannot connect to ${shownEndpoint(side)}`, error as Error);
  }
}

async function readIdentity({ cert, key, ca }: RelayFlags): Promise<Identity> {
  return {
    ...(cert !== undefined && { cert: await readFile(cert) }),
    ...(key !== undefined && { key: await readFile(key) }),
    ...(ca !== undefined && { caCerts: [await readFile(ca)] }),
  };
}

async function readFile(file: string): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    throw failure(`Cannot read ${JSON.stringify(file)}`, error as Error);
  }
}
