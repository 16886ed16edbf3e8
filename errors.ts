/**
 * The errors of this package.
 *
 * - A system failure is an instance of the matching `Deno.errors.*` class, so `instanceof` checks
 *   written for Deno keep working; conditions that callers tell apart have a subclass here.
 * - Every one of them has the shape {@linkcode SocketError}: what was tried (`operation`), where
 *   (`path`), the system's `code`, and the original error as `cause`.
 * - A wrong argument is a plain `TypeError` or `RangeError`, thrown before the system is asked.
 * - A missing Deno permission stays `Deno.errors.NotCapable`; its message names the flags to add.
 * - An aborted `signal` rejects with the signal's own reason.
 *
 * @example Telling refusals apart
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

/** The shape of every error that this package throws for a failure of the system. */
export interface SocketError extends Error {
  /** What was tried: `"connect"`, `"listen"`, `"claim"`, `"accept"`, `"read"`, `"write"` … */
  readonly operation: string;
  /** The absolute path of the socket, `"\0name"` for an abstract one, `null` where it has none. */
  readonly path: string | null;
  /** The system's error code, such as `"ECONNREFUSED"`, where there is one. */
  readonly code?: string;
  /** Of a failed start whose files could not all be removed: why not. */
  readonly cleanupError?: unknown;
  /** Of a failed write or send: the bytes that were not handed to the kernel. */
  readonly unsent?: Uint8Array;
  /** Of a failed relay: the bytes that had been passed on from `a` to `b`. */
  readonly aToB?: number;
  /** Of a failed relay: the bytes that had been passed on from `b` to `a`. */
  readonly bToA?: number;
}

/** The fields that an error of this package is made of, beside its message. */
export interface SocketErrorFields {
  /** What was tried. */
  operation: string;
  /** The path of the socket, `null` where it has none. */
  path: string | null;
  /**
   * The system's error code.
   *
   * @default {the code of `cause`, else the one that the class stands for}
   */
  code?: string | undefined;
  /** The error that led to this one. */
  cause?: unknown;
}

/**
 * Tells whether `error` has the shape of {@linkcode SocketError}.
 *
 * @param error What was caught.
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
 */
export function isSocketError(error: unknown): error is SocketError {
  return error instanceof Error && "operation" in error && "path" in error;
}

/** Sets the common fields; the base class of Deno's errors makes `name` an own property. */
function setFields(
  error: Error,
  name: string,
  fields: SocketErrorFields,
  code?: string,
): void {
  const found = fields.code ?? (fields.cause as { code?: string } | undefined)?.code ?? code;
  Object.assign(error, { name, operation: fields.operation, path: fields.path });
  if (found !== undefined) Object.assign(error, { code: found });
}

/** Sets a property that is not shown where the error is printed: a log is no place for data. */
function hide(error: Error, name: string, value: unknown): void {
  Object.defineProperty(error, name, { value, enumerable: false, configurable: true });
}

/** For an error that is made anew of its class and message, as Deno does where a body's stream fails. */
const UNKNOWN: SocketErrorFields = { operation: "unknown", path: null };

/** Turns the fields into the options of an `Error`, without an empty `cause`. */
function causeOf(fields: SocketErrorFields): ErrorOptions {
  return fields.cause === undefined ? {} : { cause: fields.cause };
}

/** The path belongs to another server that is alive, or may be. */
export class SocketInUse extends Deno.errors.AddrInUse implements SocketError {
  /** What was tried. */
  declare readonly operation: string;
  /** The absolute path of the socket. */
  declare readonly path: string;
  /** The code of the cause, else `"EADDRINUSE"`. */
  declare readonly code: string;
  /** The process that holds the path's lock, where that is known. */
  readonly holder: number | undefined;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong, and the `holder` of the lock.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & { holder?: number | undefined } = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    setFields(this, "SocketInUse", fields, "EADDRINUSE");
    this.holder = fields.holder;
  }
}

/** What is at the path is no stream socket: it is left untouched. */
export class NotASocket extends Error implements SocketError {
  /** What was tried. */
  declare readonly operation: string;
  /** The absolute path. */
  declare readonly path: string;
  /** The code of the cause, else `"ENOTSOCK"`. */
  declare readonly code: string;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "NotASocket", fields, "ENOTSOCK");
  }
}

/** There is a socket file, but nobody listens on it. */
export class NothingListening extends Deno.errors.ConnectionRefused implements SocketError {
  /** What was tried. */
  declare readonly operation: string;
  /** The absolute path of the socket. */
  declare readonly path: string;
  /** The code of the cause, else `"ECONNREFUSED"`. */
  declare readonly code: string;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "NothingListening", fields, "ECONNREFUSED");
  }
}

/** There is nothing at the path. */
export class SocketNotFound extends Deno.errors.NotFound implements SocketError {
  /** What was tried. */
  declare readonly operation: string;
  /** The absolute path of the socket. */
  declare readonly path: string;
  /** The code of the cause, else `"ENOENT"`. */
  declare readonly code: string;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "SocketNotFound", fields, "ENOENT");
  }
}

/** The file system does not let this process connect. */
export class ConnectDenied extends Deno.errors.PermissionDenied implements SocketError {
  /** What was tried. */
  declare readonly operation: string;
  /** The absolute path of the socket. */
  declare readonly path: string;
  /** The code of the cause, else `"EACCES"`. */
  declare readonly code: string;
  /** The permission bits of the socket file, where they could be read. */
  readonly mode: number | undefined;
  /** The user who owns the socket file, where that could be read. */
  readonly uid: number | undefined;
  /** The group of the socket file, where that could be read. */
  readonly gid: number | undefined;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong, and the `mode`, `uid` and `gid` that refused.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & {
      mode?: number | undefined;
      uid?: number | undefined;
      gid?: number | undefined;
    } = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    setFields(this, "ConnectDenied", fields, "EACCES");
    this.mode = fields.mode;
    this.uid = fields.uid;
    this.gid = fields.gid;
  }
}

/** No connection within the time allowed; the last refusal is the `cause`. */
export class ConnectTimeout extends Deno.errors.TimedOut implements SocketError {
  /** What was tried. */
  declare readonly operation: string;
  /** The absolute path of the socket. */
  declare readonly path: string;
  /** `"ETIMEDOUT"`. */
  declare readonly code: string;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong; `cause` is the last refusal.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "ConnectTimeout", { ...fields, code: "ETIMEDOUT" });
  }
}

/** A file or a directory is not safe to rely on: somebody else could take the path over. */
export class InsecurePath extends Deno.errors.PermissionDenied implements SocketError {
  /** What was tried. */
  declare readonly operation: string;
  /** The absolute path of what is not safe. */
  declare readonly path: string;
  /** The code of the cause, else `"EPERM"`. */
  declare readonly code: string;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong.
   */
  constructor(message: string, fields: SocketErrorFields = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "InsecurePath", fields, "EPERM");
  }
}

/** A message is larger than its codec allows, or its length says that it will be. */
export class MessageTooLarge extends RangeError implements SocketError {
  /** What was tried: `"encode"` or `"decode"`. */
  declare readonly operation: string;
  /** The path of the socket, `null` where it has none or it is not known. */
  declare readonly path: string | null;
  /** The code of the cause, else `"EMSGSIZE"`. */
  declare readonly code: string;
  /** Bytes of the message; where its end was not seen, of as much of it as there was. */
  readonly size: number;
  /** The most bytes that it may have: `maxBytes` of the codec. */
  readonly limit: number;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong, the `size` of the message, and the `limit`.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & { size?: number; limit?: number } = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    setFields(this, "MessageTooLarge", fields, "EMSGSIZE");
    this.size = fields.size ?? NaN;
    this.limit = fields.limit ?? NaN;
  }
}

/** The peer's end of file came within a message. */
export class TruncatedMessage extends Deno.errors.UnexpectedEof implements SocketError {
  /** What was tried: `"decode"`. */
  declare readonly operation: string;
  /** The path of the socket, `null` where it has none or it is not known. */
  declare readonly path: string | null;
  /** The code of the cause, where there is one. */
  declare readonly code?: string;
  /** What there is of the message, with its framing. */
  declare readonly rest: Uint8Array;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong, and the `rest` of the bytes.
   */
  constructor(message: string, fields: SocketErrorFields & { rest?: Uint8Array } = UNKNOWN) {
    super(message, causeOf(fields));
    setFields(this, "TruncatedMessage", fields);
    hide(this, "rest", fields.rest ?? new Uint8Array(0));
  }
}

/** The connection was closed on this side, by `close()`, `closeWrite()` or a disposal. */
export class ConnectionClosed extends Deno.errors.BadResource implements SocketError {
  /** What was tried: `"read"`, `"write"`, `"closeWrite"`, `"send"` or `"receive"`. */
  declare readonly operation: string;
  /** The path of the socket, `null` where it has none. */
  declare readonly path: string | null;
  /** The code of the cause, where there is one. */
  declare readonly code?: string;
  /** Of a write: the bytes that were not handed to the kernel. */
  declare readonly unsent?: Uint8Array;

  /**
   * Makes the error.
   *
   * @param message What is wrong, and the way out.
   * @param fields Where it went wrong, and what was not sent.
   */
  constructor(
    message: string,
    fields: SocketErrorFields & { unsent?: Uint8Array | undefined } = UNKNOWN,
  ) {
    super(message, causeOf(fields));
    setFields(this, "ConnectionClosed", fields);
    if (fields.unsent !== undefined) hide(this, "unsent", fields.unsent);
  }
}
