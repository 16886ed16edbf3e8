/** Options and arguments that several commands of the table have. */

import type { SocketPath } from "../address.ts";
import type { ConnectingFlags } from "./commands/connect.ts";
import type { RelayFlags } from "./commands/relay.ts";
import { type Endpoint, endpoint } from "./io/endpoint.ts";
import type { FramingFlags } from "./io/framing.ts";
import type { Argument, CommonFlags, Options, Switch, ValueOption } from "./parse/command.ts";
import type { OwnershipFlags } from "./parse/ownership.ts";
import {
  duration,
  FRAMINGS,
  octalMode,
  oneOf,
  piece,
  positive,
  seconds,
  socketPath,
  text,
} from "./parse/parameters.ts";

/** Describes an option without a value. */
export function flag(brief: string, letter?: string): Switch {
  return { brief, ...(letter !== undefined && { letter }) };
}

/** Describes an option with a value. */
export function option<T>(
  parse: (value: string) => T,
  placeholder: string,
  brief: string,
  letter?: string,
): ValueOption<T> {
  return { parse, placeholder, brief, ...(letter !== undefined && { letter }) };
}

/** The permission bits of a socket file. */
export const MODE: ValueOption<number> = option(
  octalMode,
  "MODE",
  "permission bits of the socket file, in octal (default 600)",
);

/** Mode and group of a socket file. */
export const OWNERSHIP: Options<OwnershipFlags> = {
  mode: MODE,
  group: option(text, "GROUP", "its group, a name or a number; the default mode is then 660"),
};

/** How messages are framed and shown. */
export const FRAMING: Options<FramingFlags> = {
  framing: {
    ...option(oneOf(FRAMINGS), "KIND", `read and write messages: ${FRAMINGS.join(", ")}`),
    values: FRAMINGS,
  },
  hex: flag("read and write messages in hexadecimal"),
};

/** How many messages to wait for. */
export const EXPECT: ValueOption<number> = option(
  positive,
  "COUNT",
  "stop after receiving COUNT messages",
);

/** How to connect. */
export const CONNECTING: Options<ConnectingFlags> = {
  wait: flag("wait for the server if it is missing, or does not accept yet"),
  timeout: option(seconds, "SECONDS", "how long to try (default 5)", "w"),
};

/** A path. */
export const PATH: Argument<SocketPath> = {
  parse: socketPath,
  placeholder: "PATH",
  brief: "the path of the socket; @name is an abstract name (Linux), \\0 in it a NUL, \\xNN a byte",
};

/** How much to read at a time. */
export const PIECE: ValueOption<number> = option(
  piece,
  "BYTES",
  "read at most BYTES at a time, and print what each read returned",
);

/** The two sides of a relay. */
export const SIDES: readonly [Argument<Endpoint>, Argument<Endpoint>] = [
  {
    parse: endpoint,
    placeholder: "LISTEN",
    brief: "where clients connect: unix:PATH, tcp:HOST:PORT or tls:HOST:PORT",
  },
  { parse: endpoint, placeholder: "TARGET", brief: "where to connect each client: the same" },
];

/** How many connections. */
export const MAX: ValueOption<number> = option(
  positive,
  "COUNT",
  "the maximum number of connections at a time",
);

/** How long a connection may be idle. */
export const IDLE: ValueOption<number> = option(
  duration,
  "SECONDS",
  "close a connection after SECONDS without a byte",
);

/** How a relay listens, and how it connects to its target. */
export const RELAYING: Options<Omit<RelayFlags, keyof CommonFlags>> = {
  ...OWNERSHIP,
  timeout: option(
    seconds,
    "SECONDS",
    "how long to try TARGET, and how long a TLS handshake may take (default 5)",
    "w",
  ),
  max: MAX,
  idle: IDLE,
  cert: option(text, "FILE", "the certificate of LISTEN tls:, or else one for TARGET tls:"),
  key: option(text, "FILE", "its key"),
  ca: option(text, "FILE", "also trust this certificate or authority of TARGET tls:"),
};
