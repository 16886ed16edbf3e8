/** Options and arguments that several commands have. */

import type { SocketPath } from "../address.ts";
import type { Argument, Letters, Options, Switch, ValueOption } from "./parse/command.ts";
import type { ConnectingFlags } from "./commands/connect.ts";
import { type Endpoint, endpoint } from "./io/endpoint.ts";
import type { FramingFlags } from "./io/framing.ts";
import type { OwnershipFlags } from "./parse/ownership.ts";
import {
  duration,
  FRAMINGS,
  octalMode,
  piece,
  positive,
  seconds,
  socketPath,
  text,
} from "./parse/parameters.ts";
import type { RelayFlags } from "./commands/relay.ts";
import type { CommonFlags } from "./io/reporter.ts";

/** An option without a value. */
export function flag(brief: string): Switch {
  return { kind: "boolean", brief };
}

/** An option with a value that may be left out. */
export function option<T>(
  parse: (value: string) => T,
  placeholder: string,
  brief: string,
): ValueOption<T> {
  return { kind: "parsed", parse, placeholder, brief };
}

/** Options that all commands have. */
export const COMMON: Options<CommonFlags> = {
  json: flag("write results, events and errors as JSON"),
  quiet: flag("print nothing but results and errors"),
};

/** Their letters. */
export const SHORT: Letters<CommonFlags> = { q: "quiet" };

/** Permission bits. */
export const MODE: ValueOption<number> = option(
  octalMode,
  "MODE",
  "permission bits of the socket file, in octal (default 600)",
);

/** To whom a socket file belongs. */
export const OWNERSHIP: Options<OwnershipFlags> = {
  mode: MODE,
  group: option(text, "GROUP", "its group, a name or a number; the mode is then 660 by default"),
};

/** How messages are shown. */
export const FRAMING: Options<FramingFlags> = {
  framing: {
    kind: "enum",
    values: FRAMINGS,
    placeholder: "KIND",
    brief: `deal in messages: ${FRAMINGS.join(", ")}`,
  },
  hex: flag("write and read messages in hexadecimal"),
};

/** How many messages to wait for. */
export const EXPECT: ValueOption<number> = option(
  positive,
  "COUNT",
  "stop when COUNT messages have come",
);

/** How to connect. */
export const CONNECTING: Options<ConnectingFlags> = {
  wait: flag("wait for the server if it is not there, or not open, yet"),
  timeout: option(seconds, "SECONDS", "how long to try (default 5)"),
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
  "read at most BYTES at a time, and say what each piece was",
);

/** The two sides of a relay. */
export const SIDES: readonly [
  Argument<Endpoint>,
  Argument<Endpoint>,
] = [
  {
    parse: endpoint,
    placeholder: "LISTEN",
    brief: "where clients connect: unix:PATH, tcp:HOST:PORT or tls:HOST:PORT",
  },
  { parse: endpoint, placeholder: "TARGET", brief: "where they are passed on to: the same" },
];

/** How many connections. */
export const MAX: ValueOption<number> = option(
  positive,
  "COUNT",
  "serve at most so many connections at a time",
);

/** For how long nothing may pass. */
export const IDLE: ValueOption<number> = option(
  duration,
  "SECONDS",
  "close a connection on which nothing passes",
);

/** How a relay listens, and reaches its target. */
export const RELAYING: Options<RelayFlags> = {
  ...OWNERSHIP,
  timeout: option(
    seconds,
    "SECONDS",
    "how long to try TARGET, and how long TLS may take to start (default 5)",
  ),
  max: MAX,
  idle: IDLE,
  cert: option(text, "FILE", "the certificate of a LISTEN tls:, else one to show to a TARGET tls:"),
  key: option(text, "FILE", "its key"),
  ca: option(text, "FILE", "trust this certificate, or authority, of a TARGET tls: as well"),
  ...COMMON,
};
