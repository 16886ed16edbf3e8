/**
 * The datagrams to a service manager: sd_notify(3). Deno sends one with `--unstable-net` only, so
 * there are three ways, and the first one that is granted is used.
 *
 * 1. libc by FFI, which is loaded here alone.
 * 2. A datagram socket of Deno's.
 * 3. The program `systemd-notify`. It waits until the manager has read the datagram. Unless it runs
 *    as root, the manager sees another process, and the unit needs `NotifyAccess=all`.
 *
 * Descriptors for the manager to keep (`FDSTORE=1`) go the first way only.
 */

import { areGranted, isGranted, toFlags } from "../base/deno_permissions.ts";
import { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";

/** The program that sends a datagram for this process. */
const PROGRAM = "systemd-notify";

/** The usual place of libc, for the error. */
const LIBC = `/lib/${Deno.build.arch}-linux-gnu/libc.so.6`;

/** Deno's own datagrams. Their types need `--unstable-net`, too. */
interface Datagrams {
  listenDatagram?(options: { transport: "unixpacket" }): {
    send(data: Uint8Array, to: { transport: "unixpacket"; path: string }): Promise<number>;
    close(): void;
  };
}

const STATES: Record<string, string> = {
  EBADF: "a descriptor to store is not open",
  ENOENT: "it does not exist",
};

/** The socket of a manager. */
export class NotifySocket {
  readonly #context: ErrorContext;

  /** @param path An absolute path, or an abstract name. */
  constructor(path: string) {
    this.#context = new ErrorContext("notify", path);
  }

  /**
   * Sends assignments.
   *
   * @param lines Assignments, such as `READY=1`.
   * @param isReload Whether to add the time, which distinguishes two reloads.
   * @param fds Descriptors to send.
   */
  async send(lines: string[], isReload: boolean, fds: number[]): Promise<void> {
    const context = this.#context;
    const hasFds = fds.length > 0;
    const { libcIfGranted } = await import("../libc/library.ts");
    const libc = libcIfGranted();
    try {
      if (libc !== undefined) {
        const { microseconds, sendDatagram } = await import("./libc_datagram.ts");
        const time = isReload ? [`MONOTONIC_USEC=${microseconds(libc)}`] : [];
        return sendDatagram(libc, context.path, encode([...lines, ...time]), fds);
      }
      const hasDatagrams = (Deno as Datagrams).listenDatagram !== undefined;
      if (!hasFds && !isReload && hasDatagrams && areGranted(this.#ofDatagrams)) {
        return await sendByDeno(context.path, encode(lines));
      }
      if (!hasFds && isGranted("run", PROGRAM)) {
        return await runProgram(isReload ? ["--reloading", ...lines] : lines);
      }
    } catch (cause) {
      throw context.fail(cause, STATES[codeOf(cause) ?? ""]);
    }
    throw this.#denied(isReload, hasFds);
  }

  /** What a datagram of Deno's needs. */
  get #ofDatagrams(): Deno.PermissionOptionsObject {
    const { path } = this.#context;
    return path.startsWith("\0") ? { net: true } : { write: [path], net: [`unix:${path}`] };
  }

  #denied(isReload: boolean, hasFds: boolean): Error {
    const datagrams = ["--unstable-net", ...toFlags(this.#ofDatagrams)].join(" ");
    const program = `--allow-run=${PROGRAM}${isReload ? " (systemd 253 or later)" : ""}`;
    const ways = [
      ...(hasFds ? [] : [program]),
      ...(hasFds || isReload ? [] : [datagrams]),
      `--allow-ffi=${LIBC}`,
    ];
    const state = `a Deno permission is missing. Run again with ${ways.join(", or with ")}`;
    return this.#context.error(Deno.errors.NotCapable, state);
  }
}

function encode(lines: string[]): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(lines.join("\n"));
}

async function sendByDeno(path: string, data: Uint8Array): Promise<void> {
  const socket = (Deno as Datagrams).listenDatagram!({ transport: "unixpacket" });
  try {
    await socket.send(data, { transport: "unixpacket", path });
  } finally {
    socket.close();
  }
}

async function runProgram(args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(PROGRAM, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  throw new Error(`${PROGRAM} failed: ${new TextDecoder().decode(stderr).trim()}`);
}
