/**
 * Learns from the event loop itself that a set of epoll has events, without a thread.
 *
 * The kernel polls the set once (io_submit(2) with `IOCB_CMD_POLL`, since Linux 4.19), and then
 * writes to an eventfd, which a handle of node:net reads. Deno cannot open the set itself that way,
 * because a handle reads what it opens.
 */

import type { Socket, SocketConstructorOpts } from "node:net";
import { builtin } from "../base/node.ts";
import {
  AF_UNIX,
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  IOCB_CMD_POLL,
  IOCB_FLAG_RESFD,
  POLLIN,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SYS_io_destroy,
  SYS_io_getevents,
  SYS_io_setup,
  SYS_io_submit,
} from "./constants.ts";
import type { Alarm } from "./event_set.ts";
import { lastFailure } from "./failure.ts";
import { IO_EVENT, IOCB } from "./layouts.ts";
import type { Libc } from "./library.ts";
import { addressOf, fixedMemory } from "./memory.ts";

const [SETUP, DESTROY, SUBMIT, GET] = [
  SYS_io_setup,
  SYS_io_destroy,
  SYS_io_submit,
  SYS_io_getevents,
].map(BigInt) as [bigint, bigint, bigint, bigint];

/** The handle of a `net.Socket`, which has no public name. */
interface Handle {
  constructor: new (type: number) => Handle;
  open(fd: number): number;
}

/** An alarm by asynchronous I/O of the kernel. */
export class AioAlarm implements Alarm {
  readonly #libc: Libc;
  readonly #context: bigint;
  readonly #socket: Socket;
  /** The request, and the list that has its address. They stay in place as long as this object. */
  readonly #request: Uint8Array<ArrayBuffer> = fixedMemory(IOCB.bytes);
  readonly #list: BigUint64Array<ArrayBuffer> = new BigUint64Array(new ArrayBuffer(8));
  readonly #event: Uint8Array<ArrayBuffer> = fixedMemory(IO_EVENT.bytes);
  /** A `struct timespec` of zero. */
  readonly #atOnce: Uint8Array<ArrayBuffer> = fixedMemory(16);
  #isStarted = false;

  /** Returns an alarm; `undefined` if the system or a security policy does not allow one. */
  static open(libc: Libc, set: number, came: () => void): AioAlarm | undefined {
    const context = new BigUint64Array(new ArrayBuffer(8));
    if (libc.io_setup!(SETUP, 1, context) < 0) return undefined;
    const eventfd = libc.eventfd!(0, EFD_CLOEXEC | EFD_NONBLOCK);
    let alarm: AioAlarm | undefined;
    try {
      alarm = new AioAlarm(libc, set, context[0]!, eventfd, came);
      alarm.start();
      return alarm;
    } catch {
      if (alarm !== undefined) alarm.#socket.destroy();
      else if (eventfd >= 0) libc.close(eventfd);
      libc.io_destroy!(DESTROY, context[0]!);
      return undefined;
    }
  }

  private constructor(
    libc: Libc,
    set: number,
    context: bigint,
    eventfd: number,
    came: () => void,
  ) {
    this.#libc = libc;
    this.#context = context;
    const request = new DataView(this.#request.buffer);
    request.setUint16(IOCB.aio_lio_opcode, IOCB_CMD_POLL, true);
    request.setUint32(IOCB.aio_fildes, set, true);
    request.setBigUint64(IOCB.aio_buf, BigInt(POLLIN), true);
    request.setUint32(IOCB.aio_flags, IOCB_FLAG_RESFD, true);
    request.setUint32(IOCB.aio_resfd, eventfd, true);
    this.#list[0] = addressOf(libc, this.#request);
    const onread = {
      buffer: new Uint8Array(8),
      callback: () => {
        this.#libc.io_getevents!(GET, context, 0n, 1n, this.#event, this.#atOnce);
        this.#isStarted = false;
        came();
        return true;
      },
    };
    const options = { handle: open(libc, eventfd), writable: false, onread };
    this.#socket = new (builtin("node:net").Socket)(options as SocketConstructorOpts);
    this.#socket.unref();
  }

  start(): void {
    if (this.#isStarted) return;
    if (this.#libc.io_submit!(SUBMIT, this.#context, 1n, this.#list) !== 1) {
      throw lastFailure(this.#libc);
    }
    this.#isStarted = true;
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}

/** Opens any descriptor by the class of handles that a `net.Socket` over a Unix socket has. */
function open(libc: Libc, fd: number): Handle {
  const ends = new Int32Array(new ArrayBuffer(8));
  if (libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) throw lastFailure(libc);
  libc.close(ends[1]!);
  const socket = new (builtin("node:net").Socket)({ fd: ends[0]! });
  try {
    const Class = (socket as unknown as { _handle: Handle })._handle.constructor;
    const handle = new Class(0);
    if (handle.open(fd) !== 0) throw new Error("not opened");
    return handle;
  } finally {
    socket.destroy();
  }
}
