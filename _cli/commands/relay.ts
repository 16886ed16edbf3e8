/** `uds relay LISTEN TARGET`: every connection to one side passed on to a connection to the other one. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import { SilenceTimer } from "../../_internal/base/silence.ts";
import { resolveSocketPath } from "../../address.ts";
import { connect } from "../../client.ts";
import type { Connection } from "../../connection.ts";
import { relay } from "../../relay.ts";
import { serve } from "../../server.ts";
import { refuseActivation } from "../io/activation.ts";
import { type Endpoint, endpointNeeds, shownEndpoint } from "../io/endpoint.ts";
import { OK, UsageError } from "../exit_codes.ts";
import { failure } from "../text/failure.ts";
import { union } from "../parse/deno_permissions.ts";
import {
  type ByteStream,
  connectNetwork,
  type ConnectNetworkOptions,
  type Identity,
  serveNetwork,
  TIMEOUT_MS,
} from "../io/network.ts";
import {
  ownership,
  type OwnershipFlags,
  ownershipNeeds,
  ownershipPermissions,
} from "../parse/ownership.ts";
import { stopSignal } from "../io/signals.ts";
import type { CommonFlags } from "../parse/command.ts";
import { Reporter } from "../io/reporter.ts";

/** Its options. */
export type RelayFlags = CommonFlags & OwnershipFlags & {
  readonly timeout?: number;
  readonly max?: number;
  readonly idle?: number;
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
};

/** The command. */
export async function run(flags: RelayFlags, from: Endpoint, to: Endpoint): Promise<number> {
  checkFlags("relay", flags, from, to);
  using talk = new Reporter(flags);
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
    endpointNeeds(from, "serve", ownershipPermissions(flags)),
    endpointNeeds(to, "connect"),
    ownershipNeeds(flags),
    files.length > 0 ? { read: files } : {},
  ]);
}

/** What a relay is told by whoever runs it. */
export interface RelayContext {
  talk: Reporter;
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
  requireGrants("Cannot relay", needs(flags, from, to), { operation: "relay", path: null });
  const identity = await readIdentity(flags);
  const { timeout = TIMEOUT_MS, max, idle } = flags;
  const onError = (error: unknown) => talk.report(error);
  signal.addEventListener("abort", () => talk.ending());

  if (from.scheme === "unix") {
    refuseActivation(from.path);
    await using server = await serve({
      path: from.path,
      signal,
      ...await ownership(flags),
      ...(max !== undefined && { maxConnections: max }),
      onListen: ({ path }) => listening({ ...from, path: path ?? from.path }),
      onError,
    }, (conn, info) => serveOne(conn, info.signal));
    await server.finished;
  } else {
    await serveNetwork(from, {
      identity,
      timeout,
      ...(max !== undefined && { max }),
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
    const target = await dial(to, { identity: shown, timeout, cut });
    using watch = idle === undefined ? undefined : new IdleWatch(idle);
    const sides = between?.(client, target) ?? { client, target, over: () => {} };
    const [a, b] = [sides.client, sides.target].map((side) => watch?.watched(side) ?? side);
    try {
      // It uses no more of them than that.
      await relay(a as Connection, b as Connection, {
        signal: watch === undefined ? cut : AbortSignal.any([cut, watch.signal]),
      });
      sides.over();
    } catch (error) {
      sides.over(error);
      throw error;
    }
  }
}

/** Ends a relay on which nothing passes. */
class IdleWatch implements Disposable {
  readonly #idle: number;
  readonly #abort = new AbortController();
  readonly #timer: SilenceTimer;
  readonly signal: AbortSignal = this.#abort.signal;

  /** @param idle For how long, in milliseconds, nothing may pass. */
  constructor(idle: number) {
    this.#idle = idle;
    this.#timer = new SilenceTimer(() => {
      const message = `Closed a connection: nothing has passed for ${idle / 1000} s`;
      this.#abort.abort(new Deno.errors.TimedOut(message));
    });
    this.#timer.start(idle);
  }

  /** A side whose reads and writes count. */
  watched(side: ByteStream): ByteStream {
    const passed = <T>(result: T): T => {
      if (!this.signal.aborted) this.#timer.start(this.#idle);
      return result;
    };
    return {
      read: (buffer) => side.read(buffer).then(passed),
      write: (data) => side.write(data).then(passed),
      closeWrite: () => side.closeWrite(),
      close: () => side.close(),
    };
  }

  [Symbol.dispose](): void {
    this.#timer.stop();
  }
}

/** Connects to a side. */
async function dial(side: Endpoint, options: ConnectNetworkOptions): Promise<ByteStream> {
  const { timeout, cut } = options;
  if (side.scheme === "unix") {
    return await connect({ path: side.path, timeout, wait: true, signal: cut });
  }
  try {
    return await connectNetwork(side, options);
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
