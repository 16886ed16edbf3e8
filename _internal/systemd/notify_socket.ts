/**
 * The datagrams to a service manager: sd_notify(3). Deno sends one with `--unstable-net` only, so
 * there are three ways, and the first one that is granted is used.
 *
 * 1. libc by FFI, which is loaded here alone.
 * 2. A datagram socket of Deno's.
 * 3. The program `systemd-notify`. It waits until the manager has read the datagram. Unless it runs
 *    as root, the manager sees another process, and the unit needs `NotifyAccess=all`.
 *
 * A descriptor for the manager to keep (`FDSTORE=1`) could go the first way only.
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
   */
  async send(lines: string[], isReload: boolean): Promise<void> {
    const context = this.#context;
    const { libcIfGranted } = await import("../libc/library.ts");
    const libc = libcIfGranted();
    try {
      if (libc !== undefined) {
        const { microseconds, sendDatagram } = await import("./libc_datagram.ts");
        const time = isReload ? [`MONOTONIC_USEC=${microseconds(libc)}`] : [];
        return sendDatagram(libc, context.path, encode([...lines, ...time]));
      }
      const hasDatagrams = (Deno as Datagrams).listenDatagram !== undefined;
      if (!isReload && hasDatagrams && areGranted(this.#ofDatagrams)) {
        return await sendByDeno(context.path, encode(lines));
      }
      if (isGranted("run", PROGRAM)) {
        return await runProgram(isReload ? ["--reloading", ...lines] : lines);
      }
    } catch (cause) {
      throw context.fail(cause, codeOf(cause) === "ENOENT" ? "it does not exist" : undefined);
    }
    throw this.#denied(isReload);
  }

  /** What a datagram of Deno's needs. */
  get #ofDatagrams(): Deno.PermissionOptionsObject {
    const { path } = this.#context;
    return path.startsWith("\0") ? { net: true } : { write: [path], net: [`unix:${path}`] };
  }

  #denied(isReload: boolean): Error {
    const datagrams = ["--unstable-net", ...toFlags(this.#ofDatagrams)].join(" ");
    const ways = [
      `--allow-run=${PROGRAM}${isReload ? " (systemd 253 or later)" : ""}`,
      ...(isReload ? [] : [datagrams]),
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
