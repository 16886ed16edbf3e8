/**
 * Error classes.
 *
 * - A system failure is an instance of the matching `Deno.errors.*` class, so `instanceof` checks
 *   written for Deno keep working. Conditions that callers distinguish have a subclass here.
 * - Each of them has the shape {@linkcode SocketError}: the `operation`, the `path`, the system's
 *   `code`, and the original error as `cause`.
 * - A wrong argument is a plain `TypeError` or `RangeError`, thrown before any system call.
 * - A missing Deno permission stays `Deno.errors.NotCapable`. Its message names the flags to add.
 * - An aborted `signal` rejects with the signal's own reason.
 *
 * @example Handle one kind of refusal
 * ```ts
 * import { connect, SocketNotFound } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const directory = await Deno.makeTempDir();
 * try {
 *   await connect(`${directory}/absent.sock`);
 * } catch (error) {
 *   if (!(error instanceof SocketNotFound)) throw error;
 *   assertEquals(error.operation, "connect");
 *   assertEquals(error.code, "ENOENT");
 * }
 * await Deno.remove(directory);
 * ```
 *
 * @module
 */

import { causeOf, readThrown } from "./_internal/base/thrown.ts";

/**
 * The shape of every error that this package throws for a failure of the system.
 *
 * @category Errors
 */
export interface SocketError extends Error {
  /**
   * The operation that failed: `"connect"`, `"listen"`, `"claim"`, `"accept"`, `"read"`, `"write"`
   * …
   */
  readonly operation: string;
  /** The absolute path of the socket, `"\0name"` for an abstract one, `null` without a path. */
  readonly path: string | null;
  /** The system's error code, such as `"ECONNREFUSED"`, if there is one. */
  readonly code?: string;
  /** After a failed start: the reason why not all files could be removed. */
  readonly cleanupError?: unknown;
  /** After a failed write or send: the bytes that the kernel did not take. */
  readonly unsent?: Uint8Array;
  /** After a failed relay: how many bytes were passed on from `a` to `b`. */
  readonly aToB?: number;
  /** After a failed relay: how many bytes were passed on from `b` to `a`. */
  readonly bToA?: number;
}

/**
 * The fields that an error of this package is made of, besides its message.
 *
 * @category Errors
 */
export interface SocketErrorFields {
  /** The operation that failed. */
  operation: string;
  /** The path of the socket, `null` without one. */
  path: string | null;
  /**
   * The system's error code.
   *
   * @default {the code of `cause`, else the one of the class}
   */
  code?: string | undefined;
  /** The error that led to this one. */
  cause?: unknown;
}

/**
 * Reports whether `error` has the shape of {@linkcode SocketError}.
 *
 * @param error The value that was caught.
 * @returns Whether it is an `Error` with an `operation` and a `path`.
 *
 * @example Usage
 * ```ts
 * import { connect, isSocketError } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const error = await connect("/nowhere/app.sock").catch((error) => error);
 * if (!isSocketError(error)) throw error;
 * assertEquals(error.operation, "connect");
 * assertEquals(error.path, "/nowhere/app.sock");
 * ```
 *
 * @category Errors
 */
export function isSocketError(error: unknown): error is SocketError {
  const hasShape = () => error instanceof Error && "operation" in error && "path" in error;
  return readThrown(hasShape, false);
}

/**
 * The shape of the errors about the path of a socket.
 *
 * @category Errors
 */
export interface SocketPathError extends SocketError {
  /** The absolute path of the socket, or of what is wrong with it. */
  readonly path: string;
  /** The code of the cause, else the one that the class stands for. */
  readonly code: string;
}

/**
 * For an error that is made again from its class and message, as Deno does when a body's stream
 * fails.
 */
const UNKNOWN: SocketErrorFields = { operation: "unknown", path: null };

/** Sets the fields. The base class of Deno's errors makes `name` an own property. */
function setFields(error: Error, name: string, fields: SocketErrorFields, code?: string): void {
  const { cause, code: given, ...others } = fields;
  const ofCause = () => (cause as { code?: string } | null | undefined)?.code;
  const found = given ?? readThrown(ofCause, undefined) ?? code;
  Object.assign(error, { name, ...others }, found === undefined ? {} : { code: found });
}

/** Sets a property that is not printed with the error, because data does not belong in a log. */
function hide(error: Error, name: string, value: unknown): void {
  Object.defineProperty(error, name, { value, enumerable: false, configurable: true });
}

/**
 * The path belongs to another server that runs, or may run. The default code is `"EADDRINUSE"`.
 *
 * @category Errors
 */
export interface SocketInUse extends SocketPathError {
  /** The process that holds the lock of the path, if known. */
  readonly holder: number | undefined;
}

/**
 * The path belongs to another server that runs, or may run. The default code is `"EADDRINUSE"`.
 *
 * @category Errors
 */
export class SocketInUse extends Deno.errors.AddrInUse {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong, and the `holder` of the lock.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & { holder?: number | undefined } = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    setFields(this, "SocketInUse", fields, "EADDRINUSE");
  }
}

/**
 * The file at the path is not a socket of the type that is needed, which is a stream socket except
 * in `@uds/uds/native`. It is left untouched. The default code is `"ENOTSOCK"`.
 *
 * @category Errors
 */
export interface NotASocket extends SocketPathError {}

/**
 * The file at the path is not a socket of the type that is needed, which is a stream socket except
 * in `@uds/uds/native`. It is left untouched. The default code is `"ENOTSOCK"`.
 *
 * @category Errors
 */
export class NotASocket extends Error {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "NotASocket", fields, "ENOTSOCK");
  }
}

/**
 * A socket file exists, but nothing listens on it. The default code is `"ECONNREFUSED"`.
 *
 * @category Errors
 */
export interface NothingListening extends SocketPathError {}

/**
 * A socket file exists, but nothing listens on it. The default code is `"ECONNREFUSED"`.
 *
 * @category Errors
 */
export class NothingListening extends Deno.errors.ConnectionRefused {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "NothingListening", fields, "ECONNREFUSED");
  }
}

/**
 * The path does not exist. The default code is `"ENOENT"`.
 *
 * @category Errors
 */
export interface SocketNotFound extends SocketPathError {}

/**
 * The path does not exist. The default code is `"ENOENT"`.
 *
 * @category Errors
 */
export class SocketNotFound extends Deno.errors.NotFound {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "SocketNotFound", fields, "ENOENT");
  }
}

/**
 * The file system does not allow this process to connect. The default code is `"EACCES"`.
 *
 * @category Errors
 */
export interface ConnectDenied extends SocketPathError {
  /** The permission bits of the socket file, if they could be read. */
  readonly mode: number | undefined;
  /** The user that owns the socket file, if it could be read. */
  readonly uid: number | undefined;
  /** The group of the socket file, if it could be read. */
  readonly gid: number | undefined;
}

/**
 * The file system does not allow this process to connect. The default code is `"EACCES"`.
 *
 * @category Errors
 */
export class ConnectDenied extends Deno.errors.PermissionDenied {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong, and the `mode`, `uid` and `gid` that refused.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & Partial<Pick<ConnectDenied, "mode" | "uid" | "gid">> = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    setFields(this, "ConnectDenied", fields, "EACCES");
  }
}

/**
 * Connecting took too long. The last refusal is the `cause`, and the code is `"ETIMEDOUT"`.
 *
 * @category Errors
 */
export interface ConnectTimeout extends SocketPathError {}

/**
 * Connecting took too long. The last refusal is the `cause`, and the code is `"ETIMEDOUT"`.
 *
 * @category Errors
 */
export class ConnectTimeout extends Deno.errors.TimedOut {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong; `cause` is the last refusal.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "ConnectTimeout", { ...fields, code: "ETIMEDOUT" });
  }
}

/**
 * A path is not safe to rely on: another user could take it over. The default code is `"EPERM"`.
 *
 * @category Errors
 */
export interface InsecurePath extends SocketPathError {}

/**
 * A path is not safe to rely on: another user could take it over. The default code is `"EPERM"`.
 *
 * @category Errors
 */
export class InsecurePath extends Deno.errors.PermissionDenied {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "InsecurePath", fields, "EPERM");
  }
}

/**
 * A message is larger than its codec allows, or announces that it will be.
 *
 * @category Errors
 */
export interface MessageTooLarge extends SocketError {
  /** The code of the cause, else `"EMSGSIZE"`. */
  readonly code: string;
  /** The number of bytes that the message announces. Without a length, the number that has come. */
  readonly size: number;
  /** The maximum number of bytes: `maxBytes` of the codec. */
  readonly limit: number;
}

/**
 * A message is larger than its codec allows, or announces that it will be.
 *
 * @category Errors
 */
export class MessageTooLarge extends RangeError {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong, the `size` of the message, and the `limit`.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & { size?: number; limit?: number } = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    setFields(
      this,
      "MessageTooLarge",
      { size: NaN, limit: NaN, ...fields } as SocketErrorFields,
      "EMSGSIZE",
    );
  }
}

/**
 * The peer's end of file came within a message.
 *
 * @category Errors
 */
export interface TruncatedMessage extends SocketError {
  /** The bytes of the message that came, with its framing. */
  readonly rest: Uint8Array;
}

/**
 * The peer's end of file came within a message.
 *
 * @category Errors
 */
export class TruncatedMessage extends Deno.errors.UnexpectedEof {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong, and the `rest` of the bytes.
   */
  constructor(message: string, fields: SocketErrorFields & { rest?: Uint8Array } = UNKNOWN) {
    super(message, causeOf(fields));
    const { rest = new Uint8Array(0), ...others } = fields;
    setFields(this, "TruncatedMessage", others);
    hide(this, "rest", rest);
  }
}

/**
 * This side has closed the connection: `close()`, `closeWrite()` or disposal.
 *
 * @category Errors
 */
export interface ConnectionClosed extends SocketError {}

/**
 * This side has closed the connection: `close()`, `closeWrite()` or disposal.
 *
 * @category Errors
 */
export class ConnectionClosed extends Deno.errors.BadResource {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong, and the bytes that were not sent.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & { unsent?: Uint8Array | undefined } = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    const { unsent, ...others } = fields;
    setFields(this, "ConnectionClosed", others);
    if (unsent !== undefined) hide(this, "unsent", unsent);
  }
}

/**
 * The answer of the peer to a call is an error, or the error that a method answers with. It has the
 * `operation` `"call"` if {@linkcode RpcPeer.call} has thrown it.
 *
 * @category Errors
 */
export class RpcError extends Error {
  /** The code: one of {@linkcode RPC_CODES}, or one of your own. */
  readonly code: number;
  /** More about the error: any JSON value. */
  readonly data?: unknown;
  /** `"call"` in an error that a call has rejected with. */
  readonly operation?: string;
  /** The path of the peer's socket, `null` without one. */
  readonly path?: string | null;
  /** The method that was called. */
  readonly method?: string;

  /**
   * Creates the error.
   *
   * @param message What is wrong. The peer gets it.
   * @param fields The code, the data that the peer gets, and the cause, which it does not get.
   */
  constructor(
    message: string,
    fields: { code?: number; data?: unknown; cause?: unknown } = {},
  ) {
    super(message, causeOf(fields));
    this.name = "RpcError";
    this.code = fields.code ?? -32000;
    if (fields.data !== undefined) this.data = fields.data;
  }
}

/**
 * The connection has ended before the answer to a call came.
 *
 * @category Errors
 */
export interface CallInterrupted extends SocketError {
  /** The method that was called. */
  readonly method: string;
  /**
   * `false` if no byte of the call was sent: then it is safe to call again. `true` if the peer may
   * have received it, and may have run its method.
   */
  readonly sent: boolean;
  /** The exit status of the child, if it was one of a `pool()`. */
  readonly status?: Deno.CommandStatus;
}

/**
 * The connection has ended before the answer to a call came.
 *
 * @category Errors
 */
export class CallInterrupted extends Deno.errors.ConnectionAborted {
  /**
   * Creates the error.
   *
   * @param message What is wrong, and the remedy.
   * @param fields Where it went wrong, the `method`, and whether the call was `sent`.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & { method?: string; sent?: boolean } = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    setFields(this, "CallInterrupted", { method: "", sent: true, ...fields } as SocketErrorFields);
  }
}
