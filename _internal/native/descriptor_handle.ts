/** A descriptor that came over a socket, and what it becomes. */

import type { Connection } from "../../connection.ts";
import { NotASocket } from "../../errors.ts";
import { ErrorContext } from "../base/error_context.ts";
import { SocketConnection } from "../connection/socket_connection.ts";
import type { Libc } from "../libc/library.ts";
import { ownName, peerName } from "../libc/socket_name.ts";
import { fileOver } from "./descriptor_file.ts";
import { isConnection, own } from "./descriptor_openings.ts";

/**
 * A descriptor that this process has received: a number for an open file, pipe or socket.
 *
 * - **Ownership**: it is open until you dispose of it, or until it becomes something else, which
 *   then owns it. Programs that this process starts do not inherit it.
 * - **Shared state**: the sender may still have the same open file. Both then share its position
 *   and flags such as `O_NONBLOCK`.
 *
 * @category Descriptors
 */
export interface Descriptor extends Disposable {
  /**
   * The number, for calls that do not take ownership: `sendDescriptors()`, or `stdio` of
   * node:child_process, which passes a duplicate to a child.
   *
   * @throws {Deno.errors.BadResource} when it was closed, or has become something else.
   */
  readonly fd: number;
  /**
   * Makes a connection of a Unix stream socket. It can send and receive descriptors. Closing it
   * closes the descriptor, and leaves the connection of other holders as it is.
   *
   * @returns The connection, which owns the descriptor.
   * @throws {NotASocket} when it is something else. The descriptor stays open.
   * @throws {Deno.errors.BadResource} when it was closed, or has become something else.
   */
  toConnection(): Connection;
  /**
   * Makes a file of Deno's: for a file, a pipe, a terminal, a device or a memfd.
   *
   * **Permissions**: `--allow-read=/dev/null`, because Deno opens that file to be replaced.
   *
   * @returns The file, which owns the descriptor.
   * @throws {Deno.errors.BadResource} when it was closed, or has become something else.
   * @throws {Deno.errors.NotCapable} when the permission is missing.
   */
  toFile(): Deno.FsFile;
  /**
   * Releases ownership, for a function that takes it: `inherited({ fd })`, or `listen({ fd })` of
   * node:net.
   *
   * @returns The number. Its new owner must close it.
   * @throws {Deno.errors.BadResource} when it was closed, or has become something else.
   */
  detach(): number;
  /** Closes it, unless it has become something else. Idempotent; so is disposal. */
  close(): void;
}

/** A descriptor of this process. */
export class OwnedDescriptor implements Descriptor {
  readonly #libc: Libc;
  readonly #number: number;
  /** What has become of it. */
  #end: string | undefined;

  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#number = fd;
  }

  get fd(): number {
    return this.#use("use");
  }

  toConnection(): Connection {
    const libc = this.#libc;
    const fd = this.#use("make a connection of");
    if (!isConnection(libc, fd)) {
      const state = "it is not a connected Unix stream socket";
      throw this.#context("make a connection of").error(NotASocket, state, { code: "ENOTSOCK" });
    }
    const addr = (path: string | undefined) => ({ transport: "unix" as const, path: path || null });
    const localAddr = addr(ownName(libc, fd));
    const remoteAddr = addr(peerName(libc, fd));
    this.#end = "it has become a connection";
    return new SocketConnection(own(libc, fd), { localAddr, remoteAddr });
  }

  toFile(): Deno.FsFile {
    const verb = "make a file of";
    const file = fileOver(this.#context(verb), this.#libc, this.#use(verb));
    this.close();
    this.#end = "it has become a file";
    return file;
  }

  detach(): number {
    const fd = this.#use("detach");
    this.#end = "it was detached";
    return fd;
  }

  close(): void {
    if (this.#end !== undefined) return;
    this.#end = "it was closed";
    this.#libc.close(this.#number);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Returns the number. Throws if it is not this process's, or not this object's any more. */
  #use(verb: string): number {
    if (this.#end === undefined) return this.#number;
    throw this.#context(verb).error(Deno.errors.BadResource, this.#end);
  }

  #context(verb: string): ErrorContext<null> {
    return new ErrorContext("descriptor", null, `Cannot ${verb} descriptor ${this.#number}`);
  }
}
