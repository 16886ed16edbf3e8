/** `uds relay LISTEN TARGET`: connects each client of one side to the other side. */

import { isGranted, requireGrants } from "../../_internal/base/deno_permissions.ts";
import type { SocketConnection } from "../../_internal/connection/socket_connection.ts";
import { isPeerClosed } from "../../_internal/base/peer_closed.ts";
import { resolveSocketPath, type UnixAddr } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import type { SocketError } from "../../errors.ts";
import { nativePermissions } from "../../native/native_permissions.ts";
import { relay } from "../../relay.ts";
import { UsageError } from "../exit_codes.ts";
import type { ByteStream } from "../io/byte_stream.ts";
import type { ClientAuthorities } from "../io/client_certificates.ts";
import { connectStream } from "../io/connect_stream.ts";
import { type Endpoint, endpointNeeds, shownEndpoint } from "../parse/endpoint.ts";
import { connectNetwork, serveNetwork, TIMEOUT_MS } from "../io/network.ts";
import { reporter } from "../io/reporter.ts";
import { servePath } from "../io/serve_path.ts";
import { stopSignal } from "../io/signals.ts";
import { idleLimit } from "../io/silence_limit.ts";
import type { Identity } from "../io/tls.ts";
import { servingNeeds } from "../parse/activation.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import type { RelayingFlags } from "../parse/options.ts";
import { ownershipNeeds, ownershipPermissions } from "../parse/ownership.ts";
import { explained } from "../text/failure.ts";

/** Its options. */
export type RelayFlags = CommonFlags & RelayingFlags;

/** The command. */
export async function run(flags: RelayFlags, from: Endpoint, to: Endpoint): Promise<void> {
  checkFlags(flags, from, to);
  const signal = stopSignal();
  if (!flags.descriptors) {
    return await serveRelay(flags, from, to, { signal, ...await noticing(from, to) });
  }
  const { withDescriptors } = await import("../io/descriptor_stream.ts");
  await serveRelay(flags, from, to, {
    signal,
    hasDescriptors: true,
    between: (client, target) => ({
      ...withDescriptors(client, target, { isPassed: true }),
      over() {},
    }),
  });
}

/** Returns what notices descriptors that are dropped, unless the permission for libc is missing. */
async function noticing(
  from: Endpoint,
  to: Endpoint,
): Promise<Pick<RelayContext, "accepted" | "between">> {
  if (!seesDescriptors(from, to)) return {};
  const { noticeDescriptors } = await import("../../_internal/native/descriptor_notice.ts");
  // Both sides are connections of paths.
  const notice = (conn: ByteStream, sender: "client" | "server") =>
    noticeDescriptors(conn as SocketConnection, () => reportDropped(sender));
  return {
    accepted: (client) => notice(client, "client"),
    between(client, target) {
      notice(target, "server");
      return { client, target, over() {} };
    },
  };
}

function reportDropped(sender: "client" | "server"): void {
  const text = `dropped descriptors that a ${sender} sent. Pass them on with --descriptors`;
  const direction = sender === "client" ? "to-target" : "to-client";
  reporter.sayCounted(`dropped ${sender}`, text, {
    event: "descriptors",
    direction,
    dropped: true,
  });
}

/**
 * Reports whether descriptors that are dropped can be noticed. Without the permission, nothing
 * shows them.
 */
export function seesDescriptors(from: Endpoint, to: Endpoint): boolean {
  return from.scheme === "unix" && to.scheme === "unix" &&
    isGranted("ffi", nativePermissions().ffi[0]);
}

/** Throws unless the options fit the two sides. */
export function checkFlags(flags: RelayFlags, from: Endpoint, to: Endpoint): void {
  const { cert, key, ca, "client-ca": clientCa, mode, group } = flags;
  const refuse = (message: string) => {
    throw new UsageError(message);
  };
  if (from.scheme === "tls" && cert === undefined) refuse("LISTEN tls: needs --cert and --key");
  if ((cert === undefined) !== (key === undefined)) refuse("--cert and --key go together");
  if (cert !== undefined && from.scheme !== "tls" && to.scheme !== "tls") {
    refuse("--cert and --key are for tls:");
  }
  if (ca !== undefined && to.scheme !== "tls") refuse("--ca is for a TARGET tls:");
  if (clientCa !== undefined && from.scheme !== "tls") refuse("--client-ca is for a LISTEN tls:");
  if ((mode ?? group) !== undefined && from.scheme !== "unix") {
    refuse("--mode and --group are for a LISTEN unix:");
  }
  if (flags.systemd && from.scheme !== "unix") refuse("--systemd is for a LISTEN unix:");
  if (flags.descriptors && (from.scheme !== "unix" || to.scheme !== "unix")) {
    refuse("--descriptors is for LISTEN unix: and TARGET unix:");
  }
  // Each connection would open another one, until no descriptor is free.
  if (placeOf(from) === placeOf(to)) refuse("LISTEN and TARGET are the same");
}

/** Returns the same text for two sides that are the same place. */
function placeOf(side: Endpoint): string {
  return side.scheme === "unix" ? resolveSocketPath(side.path) : `${side.hostname}:${side.port}`;
}

/** Returns the Deno permissions that it needs. */
export function needs(flags: RelayFlags, from: Endpoint, to: Endpoint): Needs {
  const { cert, key, ca, "client-ca": clientCa } = flags;
  const files = [cert, key, ca, clientCa].filter((file) => file !== undefined);
  return union([
    from.scheme === "unix"
      ? servingNeeds(from.path, flags, ownershipPermissions(flags))
      : endpointNeeds(from, "serve"),
    endpointNeeds(to, "connect"),
    ownershipNeeds(flags),
    files.length > 0 ? { read: files } : {},
    flags.descriptors ? nativePermissions() : {},
  ]);
}

/** What a relay needs besides its options. */
export interface RelayContext {
  /** Shuts the relay down. Open connections have 5 seconds to finish. */
  signal: AbortSignal;
  /** Whether connections can send and receive descriptors. */
  hasDescriptors?: boolean;
  /** Called when clients can connect. */
  onListen?: () => void;
  /** Called with each client, before another one is accepted. */
  accepted?: (client: ByteStream) => void;
  /** Returns the two sides to relay instead, such as {@linkcode tap} shows them. */
  between?: (client: ByteStream, target: ByteStream) => Between;
}

/** The two sides of a connection as they are relayed. */
export interface Between {
  client: ByteStream;
  target: ByteStream;
  /** Called when the relay of this connection has ended. */
  over(error?: unknown): void;
}

/** Relays until the signal aborts. */
export async function serveRelay(
  flags: RelayFlags,
  from: Endpoint,
  to: Endpoint,
  { signal, onListen: started, accepted, between, hasDescriptors: descriptors }: RelayContext,
): Promise<void> {
  // A prompt would otherwise appear with the first connection.
  requireGrants("Cannot relay", needs(flags, from, to), { operation: "relay", path: null });
  const identity = await readIdentity(flags);
  // A certificate of LISTEN is not shown to TARGET.
  const shown = from.scheme === "tls" ? { caCerts: identity.caCerts ?? [] } : identity;
  const { timeout = TIMEOUT_MS, max, idle } = flags;
  if (from.scheme === "unix") {
    const onListen = ({ path }: UnixAddr) => reportListening({ ...from, path: path ?? from.path });
    const options = { flags, signal, onListen, hasLeft, descriptors };
    await servePath(from.path, options, (conn, info) => relayOne(conn, info.signal));
  } else {
    const onListen = (port: number) => reportListening({ ...from, port });
    await serveNetwork(from, { identity, timeout, max, signal, onListen, hasLeft }, relayOne);
  }

  /** Reports whether only the client closed. Two ports look the same, unless bytes are unsent. */
  function hasLeft(error: unknown): boolean {
    if (!isPeerClosed(error)) return false;
    const [client, target] = [from, to].map((side) =>
      side.scheme === "unix" ? resolveSocketPath(side.path) : null
    );
    const { path, unsent } = error as Partial<SocketError>;
    return client === target ? unsent === undefined : path === client;
  }

  function reportListening(side: Endpoint): void {
    const address = shownEndpoint(side);
    started?.();
    reporter.say(`listening on ${address}`, { event: "listening", address });
  }

  async function relayOne(client: ByteStream, cut: AbortSignal): Promise<void> {
    accepted?.(client);
    const target = to.scheme === "unix"
      ? await connectStream({ path: to.path, timeout, wait: true, descriptors, signal: cut })
      : await connectNetwork(to, { identity: shown, timeout, cut });
    using limit = idleLimit(idle);
    const sides = between?.(client, target) ?? { client, target, over: () => {} };
    const [a, b] = [sides.client, sides.target].map((side) => limit.watched(side));
    try {
      // It uses only the methods of a byte stream.
      await relay(a as Connection, b as Connection, {
        signal: AbortSignal.any([cut, limit.signal]),
      });
      sides.over();
    } catch (error) {
      sides.over(error);
      throw error;
    }
  }
}

async function readIdentity({ cert, key, ca, ...flags }: RelayFlags): Promise<Identity> {
  const clientCa = flags["client-ca"];
  return {
    ...(cert !== undefined && { cert: await readFile(cert) }),
    ...(key !== undefined && { key: await readFile(key) }),
    ...(ca !== undefined && { caCerts: [await readFile(ca)] }),
    ...(clientCa !== undefined && { clients: await readAuthorities(clientCa) }),
  };
}

async function readAuthorities(file: string): Promise<ClientAuthorities> {
  const text = await readFile(file);
  const { ClientAuthorities } = await import("../io/client_certificates.ts");
  return await explained(
    `Cannot read ${JSON.stringify(file)}`,
    () => new ClientAuthorities(text),
  );
}

function readFile(file: string): Promise<string> {
  return explained(`Cannot read ${JSON.stringify(file)}`, () => Deno.readTextFile(file));
}
