/** Options and arguments that several commands of the table have. */

import type { SocketPath } from "../../address.ts";
import { ACTIVATION, type ActivationFlags } from "./activation.ts";
import type { Argument, Options, Value } from "./command.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import type { OwnershipFlags } from "./ownership.ts";
import {
  duration,
  type Framing,
  FRAMINGS,
  octalMode,
  oneOf,
  piece,
  positive,
  seconds,
  socketPath,
  type SocketType,
  text,
  TYPES,
} from "./parameters.ts";

/** Describes an option with a value, or an argument. */
export function value<T>(
  parse: (value: string) => T,
  placeholder: string,
  brief: string,
  letter?: string,
): Value<T> {
  return { parse, placeholder, brief, ...(letter !== undefined && { letter }) };
}

/** A path. */
export const PATH: Argument<SocketPath> = value(
  socketPath,
  "PATH",
  "the path of the socket, or an abstract name (Linux): @name, where \\0 is a NUL and \\xNN a byte",
);

/** Mode and group of a socket file. */
export const OWNERSHIP: Options<OwnershipFlags> = {
  mode: value(octalMode, "MODE", "permission bits of the socket file, in octal (default 600)"),
  group: value(text, "GROUP", "its group, a name or a number; the default mode is then 660"),
};

/** What a server reports. */
export type VerboseFlags = {
  readonly verbose?: boolean;
};

/** The option for that. */
export const VERBOSE: Options<VerboseFlags> = {
  verbose: { brief: "also report clients that leave before they have got everything", letter: "v" },
};

/** How to connect. */
export type ConnectingFlags = {
  readonly timeout?: number;
  readonly wait?: boolean;
};

/** The options for that. */
export const CONNECTING: Options<ConnectingFlags> = {
  wait: { brief: "wait for the server if it is missing, or does not accept yet" },
  timeout: value(seconds, "SECONDS", "how long to try (default 5)", "w"),
};

/** The type of a socket. */
export type TypeFlags = {
  readonly type?: SocketType;
};

/** The option for that. */
export const TYPE: Options<TypeFlags> = {
  type: {
    ...value(oneOf(TYPES), "TYPE", `the type of the socket (default stream): ${TYPES.join(", ")}`),
    values: TYPES,
  },
};

/** How much to read at a time. */
export const PIECE: Value<number> = value(
  piece,
  "BYTES",
  "read at most BYTES at a time, and print what each read returned",
);

/** How messages are framed and shown. */
export type FramingFlags = {
  readonly framing?: Framing;
  readonly hex?: boolean;
};

/** The options for that. */
export const FRAMING: Options<FramingFlags> = {
  framing: {
    ...value(oneOf(FRAMINGS), "KIND", `read and write messages: ${FRAMINGS.join(", ")}`),
    values: FRAMINGS,
  },
  hex: { brief: "read and write messages in hexadecimal" },
};

/** The same, and how many messages to wait for. */
export type ExchangingFlags = FramingFlags & {
  readonly expect?: number;
};

/** The options for that. */
export const EXCHANGING: Options<ExchangingFlags> = {
  ...FRAMING,
  expect: value(positive, "COUNT", "stop after receiving COUNT messages"),
};

/** The two sides of a relay. */
export const SIDES: readonly [Argument<Endpoint>, Argument<Endpoint>] = [
  value(
    endpoint,
    "LISTEN",
    "where clients connect: unix:PATH, tcp:HOST:PORT or tls:HOST:PORT",
  ),
  value(endpoint, "TARGET", "where to connect each client: the same"),
];

/** How a relay listens, and how it connects to its target. */
export type RelayingFlags = OwnershipFlags & ActivationFlags & VerboseFlags & {
  readonly timeout?: number;
  readonly max?: number;
  readonly idle?: number;
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly "client-ca"?: string;
  readonly descriptors?: boolean;
};

/** The options for that. */
export const RELAYING: Options<RelayingFlags> = {
  ...OWNERSHIP,
  ...ACTIVATION,
  timeout: value(
    seconds,
    "SECONDS",
    "how long to try TARGET, and how long a TLS handshake may take (default 5)",
    "w",
  ),
  max: value(positive, "COUNT", "the maximum number of connections at a time (default: no limit)"),
  idle: value(
    duration,
    "SECONDS",
    "close a connection after SECONDS without a byte (default: never)",
  ),
  cert: value(
    text,
    "FILE",
    "the certificate to show: to clients if LISTEN is tls:, otherwise to TARGET tls:",
  ),
  key: value(text, "FILE", "its key"),
  ca: value(text, "FILE", "also trust this certificate or authority of TARGET tls:"),
  "client-ca": value(
    text,
    "FILE",
    "serve only clients of LISTEN tls: that have a certificate of this authority",
  ),
  descriptors: { brief: "pass on descriptors between two paths (needs --allow-ffi for libc)" },
  ...VERBOSE,
};
