/** A datagram, and the time, by calls of libc. */

import { AF_UNIX, IS_MAC, SOCK_CLOEXEC, SOCK_DGRAM } from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { sendMessage } from "../libc/message.ts";
import { encodeName } from "../libc/socket_name.ts";

const CLOCK_MONOTONIC = IS_MAC ? 6 : 1;

/**
 * Sends a datagram with descriptors to a path or an abstract name. Throws instead of waiting for a
 * full queue.
 */
export function sendDatagram(
  libc: Libc,
  path: string,
  data: Uint8Array<ArrayBuffer>,
  fds: readonly number[],
): void {
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw lastFailure(libc);
  const to = encodeName(path);
  const failed = libc.connect(fd, to, to.length) < 0 || sendMessage(libc, fd, data, fds) < 0;
  const failure = failed ? lastFailure(libc) : undefined;
  libc.close(fd);
  if (failure !== undefined) throw failure;
}

/** Returns the time of CLOCK_MONOTONIC, in microseconds. Deno has no API for it. */
export function microseconds(libc: Libc): bigint {
  const time = new BigUint64Array(new ArrayBuffer(16));
  libc.clock_gettime(CLOCK_MONOTONIC, time);
  return time[0]! * 1_000_000n + time[1]! / 1000n;
}
