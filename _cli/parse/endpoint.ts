/** One side of a relay: `unix:PATH`, `tcp:HOST:PORT` or `tls:HOST:PORT`. */

import type { SocketPath } from "../../address.ts";
import { permissions, type PermissionsOptions } from "../../permissions.ts";
import type { Needs } from "./command.ts";
import { InvalidValue, shownPath, socketPath } from "./parameters.ts";

/** The host of the loopback connections of TLS (`tls.ts`). */
export const LOOPBACK = "127.0.0.1";

/** A side that is a path. */
export interface UnixEndpoint {
  readonly scheme: "unix";
  readonly path: SocketPath;
}

/** A side that is a port. */
export interface NetworkEndpoint {
  readonly scheme: "tcp" | "tls";
  readonly hostname: string;
  readonly port: number;
}

/** One side of a relay. */
export type Endpoint = UnixEndpoint | NetworkEndpoint;

/** Parses one side. Without a scheme it is a path, as in all other commands. */
export function endpoint(value: string): Endpoint {
  const [, scheme, rest = ""] = value.match(/^(unix|tcp|tls):(.*)$/s) ?? [];
  if (scheme === "unix") return { scheme, path: socketPath(rest) };
  if (scheme === undefined) {
    if (/^[@./]/.test(value) || !value.includes(":")) {
      return { scheme: "unix", path: socketPath(value) };
    }
    throw new InvalidValue("unix:PATH, tcp:HOST:PORT or tls:HOST:PORT", value);
  }
  const [, bracketed, plain, digits] = rest.match(/^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/) ?? [];
  const hostname = bracketed ?? plain;
  if (hostname === undefined || Number(digits) > 65535) {
    throw new InvalidValue(`${scheme}:HOST:PORT, such as ${scheme}:localhost:8080`, value);
  }
  return { scheme: scheme as "tcp" | "tls", hostname, port: Number(digits) };
}

/** Returns a side as the command line writes it. */
export function shownEndpoint(side: Endpoint): string {
  return side.scheme === "unix"
    ? `unix:${shownPath(side.path)}`
    : `${side.scheme}:${hostAndPort(side)}`;
}

/** Returns the Deno permissions to listen there, or to connect. */
export function endpointNeeds(
  side: Endpoint,
  operation: "serve" | "connect",
  options: PermissionsOptions = {},
): Needs {
  if (side.scheme === "unix") return permissions(operation, side.path, options);
  return { net: [hostAndPort(side), ...(side.scheme === "tls" ? [LOOPBACK] : [])] };
}

function hostAndPort({ hostname, port }: NetworkEndpoint): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}
