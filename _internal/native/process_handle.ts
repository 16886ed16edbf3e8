/** A process at a pidfd: `SO_PEERPIDFD` (Linux 6.5) and pidfd_send_signal(2). */

import { show } from "../base/check.ts";
import { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";
import { builtin } from "../base/node.ts";
import { handled } from "../base/rejection.ts";
import { POLLIN, SO_PEERPIDFD, SYS_pidfd_send_signal } from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { readiness } from "../libc/readiness.ts";
import { ownName, peerName } from "../libc/socket_name.ts";
import { readOption } from "../libc/socket_option.ts";
import { readCredentials } from "./credentials.ts";

/**
 * A process that is held by a descriptor. Disposing it closes the descriptor.
 *
 * @category Identity
 */
export interface PeerProcess extends Disposable {
  /** The number of the process; `null` if it is in a namespace that this process cannot see. */
  readonly pid: number | null;
  /**
   * Resolves when the process has exited, also if another process still has the connection. It
   * keeps this process running once it was used. Rejects with `BadResource` after disposal.
   */
  readonly exited: Promise<void>;
  /**
   * Sends a signal to exactly this process. Does nothing after it has exited.
   *
   * @param signal The signal, SIGTERM by default.
   * @throws {TypeError} when the system does not have the signal.
   * @throws {Deno.errors.PermissionDenied} when the system refuses to send it.
   * @throws {Deno.errors.BadResource} when this was disposed.
   */
  kill(signal?: Deno.Signal): void;
}

type Context = ErrorContext<string | null>;

/** The codes of a process that was reaped: of Linux 6.5, and of newer ones. */
const GONE = ["ESRCH", "EINVAL", "ENODATA"];

/** Opens the process at the other end of a socket. */
export function openProcess(context: Context, libc: Libc, fd: number): PeerProcess {
  if (ownName(libc, fd) === "" && peerName(libc, fd) === "") {
    const state = "the kernel notes which process made a socket pair, not which one has the " +
      "other end. Use the pid of the child";
    throw context.error(Deno.errors.NotSupported, state);
  }
  try {
    const { pid } = readCredentials(libc, fd);
    const [pidfd] = new Int32Array(readOption(libc, fd, SO_PEERPIDFD, 4).slice().buffer);
    return new ProcessHandle(libc, pid, pidfd!);
  } catch (cause) {
    const code = codeOf(cause) ?? "";
    if (code === "ENOPROTOOPT") {
      const state = "this system does not have SO_PEERPIDFD. It needs Linux 6.5";
      throw context.error(Deno.errors.NotSupported, state, { cause } as never);
    }
    if (GONE.includes(code)) {
      throw context.error(Deno.errors.NotFound, "it has exited", { cause } as never);
    }
    throw context.fail(cause);
  }
}

/** A process at a pidfd, which it owns. */
class ProcessHandle implements PeerProcess {
  readonly pid: number | null;
  readonly #libc: Libc;
  readonly #fd: number;
  #exited: Promise<void> | undefined;
  #isOpen = true;

  constructor(libc: Libc, pid: number | null, fd: number) {
    this.#libc = libc;
    this.pid = pid;
    this.#fd = fd;
  }

  get exited(): Promise<void> {
    return this.#exited ??= handled(this.#waitForExit());
  }

  kill(signal: Deno.Signal = "SIGTERM"): void {
    const { signals } = builtin("node:os").constants;
    if (typeof signal !== "string" || !Object.hasOwn(signals, signal)) {
      throw new TypeError(`Invalid signal: expected a name such as "SIGTERM", got ${show(signal)}`);
    }
    if (!this.#isOpen) throw this.#disposed(`send ${signal} to`);
    const call = BigInt(SYS_pidfd_send_signal);
    const number = signals[signal as NodeJS.Signals];
    if (this.#libc.pidfd_send_signal!(call, this.#fd, number, null, 0) === 0) return;
    const cause = lastFailure(this.#libc);
    if (codeOf(cause) === "ESRCH") return;
    throw this.#context(`send ${signal} to`).fail(cause);
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#exited !== undefined) readiness(this.#libc).forget(this.#fd, this.#disposed("await"));
    this.#libc.close(this.#fd);
  }

  async #waitForExit(): Promise<void> {
    for (;;) {
      if (!this.#isOpen) throw this.#disposed("await");
      if (this.#hasExited()) return;
      await readiness(this.#libc).wait(this.#fd, "read");
    }
  }

  /** A pidfd can be read when its process has exited. */
  #hasExited(): boolean {
    return this.#libc.poll(new Int32Array([this.#fd, POLLIN]), 1n, 0) === 1;
  }

  #disposed(verb: string): Error {
    return this.#context(verb).error(Deno.errors.BadResource, "it was disposed");
  }

  #context(verb: string): ErrorContext<null> {
    return new ErrorContext("peerProcess", null, `Cannot ${verb} process ${this.pid}`);
  }
}
