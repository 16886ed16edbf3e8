/** What the tests of connections that look for bytes share. */

import type { Connection } from "@uds/uds";
import {
  replaceTransport,
  type SocketConnection,
  type Transport,
  transportOf,
} from "../../_internal/connection/socket_connection.ts";
import { LookAhead } from "../../_internal/native/look_ahead.ts";
import { descriptorOf } from "../../_internal/native/connection_descriptors.ts";
import "../../native.ts";
import { libc } from "./_libc.ts";

/** Counts the calls that reach a transport, which makes them. */
export class Counting implements Transport {
  reads = 0;
  writes = 0;
  readonly #below: Transport;

  constructor(below: Transport) {
    this.#below = below;
  }

  get fd(): number | undefined {
    return this.#below.fd;
  }

  get hasBytes(): boolean {
    return this.#below.hasBytes === true;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    this.reads++;
    return this.#below.read(buffer);
  }

  write(data: Uint8Array): Promise<number> {
    this.writes++;
    return this.#below.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#below.closeWrite();
  }

  close(): void {
    this.#below.close();
  }

  ref(): void {
    this.#below.ref();
  }

  unref(): void {
    this.#below.unref();
  }
}

/**
 * Makes a connection look for bytes, as `lowLatency` does, and returns the counts of the calls that
 * wait; `undefined` if its descriptor is not known.
 *
 * @param leastTurns How many turns come first. With 0 every read looks.
 */
export function look(conn: Connection, leastTurns?: number): Counting | undefined {
  const transport = transportOf(conn);
  const fd = transport && descriptorOf(transport);
  if (transport === undefined || fd === undefined) return undefined;
  const counting = new Counting(transport);
  const lookAhead = new LookAhead(counting, libc, fd, 20, leastTurns);
  replaceTransport(conn as unknown as SocketConnection, lookAhead);
  return counting;
}
