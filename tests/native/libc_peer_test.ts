import { assertEquals } from "@std/assert";
import {
  F_SETFD,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  SCM_RIGHTS,
  SOCK_SEQPACKET,
  SOL_SOCKET,
} from "../../_internal/libc/constants.ts";
import { lastFailure } from "../../_internal/libc/failure.ts";
import { CMSGHDR, IOVEC, MSGHDR } from "../../_internal/libc/layouts.ts";
import { addressOf, fixedMemory } from "../../_internal/libc/memory.ts";
import { readiness } from "../../_internal/libc/readiness.ts";
import { socketCookie } from "../../_internal/libc/socket_option.ts";
import { fixturePath, Program, run, TempDir, test } from "../_helpers.ts";
import { libc, Sockets } from "./_libc.ts";

/** The most descriptors of one message. The `sendmsg` of musl 1.2.3 has room for one less. */
const MOST = 253;
const COMPILERS = { gcc: MOST, "musl-gcc": MOST - 1 };

/** A message of one packet and descriptors, in memory that stays. */
class Message {
  readonly data = fixedMemory(4096);
  readonly #iovec = fixedMemory(IOVEC.bytes);
  readonly #control = fixedMemory(CMSGHDR.data + 4 * MOST + CMSGHDR.alignment);
  readonly #header = fixedMemory(MSGHDR.bytes);

  #prepare(bytes: number, control: number): DataView {
    const [iovec, header] = [new DataView(this.#iovec.buffer), new DataView(this.#header.buffer)];
    iovec.setBigUint64(IOVEC.iov_base, addressOf(libc, this.data), true);
    iovec.setBigUint64(IOVEC.iov_len, BigInt(bytes), true);
    header.setBigUint64(MSGHDR.msg_iov, addressOf(libc, this.#iovec), true);
    header.setUint32(MSGHDR.msg_iovlen, 1, true);
    header.setBigUint64(MSGHDR.msg_control, addressOf(libc, this.#control), true);
    header.setUint32(MSGHDR.msg_controllen, control, true);
    return header;
  }

  send(fd: number, bytes: number, fds: number[]): void {
    const length = CMSGHDR.data + 4 * fds.length;
    const control = new DataView(this.#control.buffer);
    control.setUint32(CMSGHDR.cmsg_len, length, true);
    control.setInt32(CMSGHDR.cmsg_level, SOL_SOCKET, true);
    control.setInt32(CMSGHDR.cmsg_type, SCM_RIGHTS, true);
    fds.forEach((fd, i) => control.setInt32(CMSGHDR.data + 4 * i, fd, true));
    const { alignment } = CMSGHDR;
    this.#prepare(bytes, Math.ceil(length / alignment) * alignment);
    if (libc.sendmsg(fd, this.#header, MSG_DONTWAIT) !== bytes) throw lastFailure(libc);
  }

  async receive(fd: number): Promise<{ bytes: number; fds: number[] }> {
    await readiness(libc).wait(fd, "read");
    const header = this.#prepare(this.data.length, this.#control.length);
    const bytes = libc.recvmsg(fd, this.#header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (bytes < 0) throw lastFailure(libc);
    const control = new DataView(this.#control.buffer);
    const end = header.getUint32(MSGHDR.msg_controllen, true) === 0
      ? 0
      : control.getUint32(CMSGHDR.cmsg_len, true);
    const fds = [];
    for (let at = CMSGHDR.data; at < end; at += 4) fds.push(control.getInt32(at, true));
    return { bytes, fds };
  }
}

for (const [compiler, most] of Object.entries(COMPILERS)) {
  test(`packets and descriptors go to a peer of ${compiler} and back`, async () => {
    await using dir = new TempDir();
    const program = dir.file("echo");
    const made = await run(compiler, ["-o", program, fixturePath("native_echo.c")]);
    assertEquals(made.stderr, "");
    using sockets = new Sockets(SOCK_SEQPACKET);
    libc.fcntl(sockets.b, F_SETFD, 0);
    await using peer = new Program(program, [String(sockets.b)]);
    sockets.close(sockets.b);
    const message = new Message();
    for (const [bytes, count] of [[1, 0], [4096, 1], [77, 3], [5, most]] as const) {
      message.data.fill(count);
      const others = Array.from({ length: count }, () => new Sockets());
      message.send(sockets.a, bytes, others.map(({ a }) => a));
      message.data.fill(255);
      const came = await message.receive(sockets.a);
      assertEquals([came.bytes, message.data[bytes - 1], came.fds.length], [bytes, count, count]);
      const cookies = (fds: number[]) => fds.map((fd) => socketCookie(libc, fd));
      assertEquals(cookies(came.fds), cookies(others.map(({ a }) => a)));
      for (const fd of came.fds) libc.close(fd);
      for (const other of others) other[Symbol.dispose]();
    }
    readiness(libc).forget(sockets.a, new Error());
    sockets.close(sockets.a);
    assertEquals((await peer.status).code, 0);
  }, { needs: [compiler] });
}
