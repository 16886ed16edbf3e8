/** A socket at a descriptor over node:net that asks the kernel whether its peer is there. */

import { builtin } from "../base/node.ts";
import { FdSocket } from "../descriptor/fd_socket.ts";
import { MSG_DONTWAIT, MSG_NOSIGNAL } from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";

/** A socket for which a write of no bytes is one, as it is not in node:net. */
export class AskingSocket extends FdSocket {
  readonly #libc: Libc;

  /** @param fd The descriptor of a stream socket, which it owns from here on. */
  constructor(libc: Libc, fd: number) {
    const { Socket } = builtin("node:net");
    super((onread) => new Socket({ fd, allowHalfOpen: true, onread }));
    this.#libc = libc;
  }

  override write(data: Uint8Array): Promise<number> {
    const { fd } = this;
    if (data.length > 0 || fd === undefined) return super.write(data);
    const sent = this.#libc.send(fd, data, 0n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? Promise.reject(lastFailure(this.#libc)) : Promise.resolve(0);
  }
}
