/**
 * Messages with descriptors: sendmsg(2) and recvmsg(2) with `SCM_RIGHTS` of unix(7).
 *
 * - The structures are made once. A call fills them in, and none waits, so no two calls meet.
 */

import {
  EINTR,
  F_SETFD,
  FD_CLOEXEC,
  IS_MAC,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SCM_PIDFD,
  SCM_RIGHTS,
  SOL_SOCKET,
} from "./constants.ts";
import { errnoOf } from "./failure.ts";
import type { Libc } from "./library.ts";
import { CMSGHDR, IOVEC, MSGHDR } from "./layouts.ts";
import { addressOf, fixedMemory } from "./memory.ts";

/** The most descriptors of one message: `SCM_MAX_FD` of `include/net/scm.h`. */
export const MAX_DESCRIPTORS = 253;

/** The most bytes of one call: `MAX_RW_COUNT` of `include/linux/fs.h`. */
const MAX_BYTES = 0x7fff_f000;

/** Room for other control messages, such as credentials, beside the descriptors. */
const OTHER_CONTROL_BYTES = 128;

const iovec = fixedMemory(IOVEC.bytes);
const message = fixedMemory(MSGHDR.bytes);
const control = fixedMemory(CMSGHDR.data + 4 * MAX_DESCRIPTORS + OTHER_CONTROL_BYTES);
const iovecView = new DataView(iovec.buffer);
const messageView = new DataView(message.buffer);
const controlView = new DataView(control.buffer);

/** What a call of recvmsg has brought. */
export interface ReceivedMessage {
  /** How many bytes were read; -1 after a failure, of which `errno` is set. */
  readonly count: number;
  /** The descriptors, which are this process's from here on. */
  readonly fds: readonly number[];
  /** Whether the kernel has dropped descriptors, because none was free for them. */
  readonly isCut: boolean;
}

const NO_DESCRIPTORS: readonly number[] = [];

/**
 * Sends bytes and descriptors. Returns how many bytes were taken; the descriptors go with the first
 * one. Returns -1 after a failure, of which `errno` is set.
 */
export function sendMessage(
  libc: Libc,
  fd: number,
  data: Uint8Array,
  fds: readonly number[],
): number {
  const bytes = CMSGHDR.data + 4 * fds.length;
  if (IS_MAC) controlView.setUint32(0, bytes, true);
  else controlView.setBigUint64(0, BigInt(bytes), true);
  controlView.setInt32(CMSGHDR.cmsg_level, SOL_SOCKET, true);
  controlView.setInt32(CMSGHDR.cmsg_type, SCM_RIGHTS, true);
  for (const [i, each] of fds.entries()) controlView.setInt32(CMSGHDR.data + 4 * i, each, true);
  prepare(libc, data, aligned(bytes));
  for (;;) {
    const count = libc.sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0 || errnoOf(libc) !== EINTR) return count;
  }
}

/** Receives bytes and descriptors, which are close-on-exec. */
export function receiveMessage(libc: Libc, fd: number, into: Uint8Array): ReceivedMessage {
  let count;
  do {
    prepare(libc, into, control.length);
    count = libc.recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (count < 0 && errnoOf(libc) === EINTR);
  if (count < 0) return { count, fds: NO_DESCRIPTORS, isCut: false };
  const isCut = (messageView.getInt32(MSGHDR.msg_flags, true) & MSG_CTRUNC) !== 0;
  const length = messageView.getUint32(MSGHDR.msg_controllen, true);
  return { count, fds: length === 0 ? NO_DESCRIPTORS : readControl(libc, length), isCut };
}

/** Whether the fields that never change are set. */
let isReady = false;

/** Fills in the structures for some bytes and the length of the control messages. */
function prepare(libc: Libc, data: Uint8Array, controlBytes: number): void {
  if (!isReady) {
    messageView.setBigUint64(MSGHDR.msg_iov, addressOf(libc, iovec), true);
    messageView.setUint32(MSGHDR.msg_iovlen, 1, true);
    messageView.setBigUint64(MSGHDR.msg_control, addressOf(libc, control), true);
    isReady = true;
  }
  // Its own ArrayBuffer, because V8 moves small arrays until they have one.
  void data.buffer;
  iovecView.setBigUint64(IOVEC.iov_base, addressOf(libc, data), true);
  iovecView.setUint32(IOVEC.iov_len, Math.min(data.length, MAX_BYTES), true);
  messageView.setUint32(MSGHDR.msg_controllen, controlBytes, true);
}

/** Returns the descriptors in the control messages. */
function readControl(libc: Libc, length: number): number[] {
  const fds: number[] = [];
  for (let at = 0; at + CMSGHDR.bytes <= length;) {
    const bytes = controlView.getUint32(at, true);
    if (bytes < CMSGHDR.bytes) break;
    const isOfSocket = controlView.getInt32(at + CMSGHDR.cmsg_level, true) === SOL_SOCKET;
    const type = isOfSocket ? controlView.getInt32(at + CMSGHDR.cmsg_type, true) : undefined;
    const end = Math.min(at + bytes, length);
    for (let i = at + CMSGHDR.data; i + 4 <= end; i += 4) {
      const fd = controlView.getInt32(i, true);
      if (type === SCM_RIGHTS) fds.push(fd);
      // Another holder of the socket has set SO_PASSPIDFD. It is negative if the sender has exited.
      else if (type === SCM_PIDFD && !IS_MAC && fd >= 0) libc.close(fd);
    }
    at += aligned(bytes);
  }
  // macOS has no flag for that.
  if (IS_MAC) { for (const each of fds) libc.fcntl(each, F_SETFD, FD_CLOEXEC); }
  return fds;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / CMSGHDR.alignment) * CMSGHDR.alignment;
}
