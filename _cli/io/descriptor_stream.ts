/** A relay of two connections that passes descriptors on, or counts and drops them. */

import "../../_internal/native/plug_in.ts";
import { type Descriptor, receiveDescriptors, sendDescriptors } from "../../native/descriptors.ts";
import type { Connection } from "../../connection.ts";
import type { ByteStream } from "./byte_stream.ts";
import type { Direction } from "./tapped_stream.ts";

/** What to do with the descriptors that come. */
export interface DescriptorOptions {
  /** Whether they are passed on with the bytes that they came with. Otherwise they are closed. */
  isPassed: boolean;
  /** Called with the number of those that have come. A promise delays the bytes. */
  seen?: (direction: Direction, count: number) => Promise<void> | undefined;
}

/**
 * Returns both sides of a relay. Each read of one is followed by the write of its bytes to the
 * other, so descriptors stay with their bytes.
 *
 * @param client A connection that was opened with `descriptors: true`.
 * @param target Another one.
 */
export function withDescriptors(
  client: ByteStream,
  target: ByteStream,
  options: DescriptorOptions,
): { client: ByteStream; target: ByteStream } {
  const toTarget: Descriptor[] = [];
  const toClient: Descriptor[] = [];
  return {
    client: side(client, "to-target", toTarget, toClient, options),
    target: side(target, "to-client", toClient, toTarget, options),
  };
}

/**
 * @param direction The direction of what is read.
 * @param read Gets the descriptors that are read.
 * @param unwritten Those that the next write sends.
 */
function side(
  stream: ByteStream,
  direction: Direction,
  read: Descriptor[],
  unwritten: Descriptor[],
  { isPassed, seen }: DescriptorOptions,
): ByteStream {
  const conn = stream as Connection;
  let isClosed = false;
  return {
    async read(buffer) {
      const received = await receiveDescriptors(conn, buffer);
      if (received === null) return null;
      const { count, descriptors } = received;
      // What was read in the same moment in which it closes has no writer.
      if (isPassed && !isClosed) read.push(...descriptors);
      else close(descriptors);
      if (descriptors.length > 0) await seen?.(direction, descriptors.length);
      return count;
    },
    async write(data) {
      const descriptors = unwritten.splice(0);
      if (descriptors.length === 0) return await conn.write(data);
      const sending = sendDescriptors(conn, data, descriptors);
      close(descriptors);
      return await sending;
    },
    closeWrite: () => conn.closeWrite(),
    close() {
      isClosed = true;
      conn.close();
      close(read.splice(0));
      close(unwritten.splice(0));
    },
  };
}

function close(descriptors: Descriptor[]): void {
  for (const each of descriptors) each.close();
}
