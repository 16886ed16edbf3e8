/**
 * The words and the shape of a system failure: the operation, the path, the state and the remedy.
 */

import type { SocketError } from "../../errors.ts";
import { directoryOf } from "./path.ts";
import { modeAllows, POLICY, TO_MAKE_A_FILE } from "./denial.ts";
import { isGranted } from "./deno_permissions.ts";
import { quoteAddress } from "./shown_address.ts";
import { causeOf, readThrown } from "./thrown.ts";

/** The verb phrase of each operation. */
const PHRASES: Record<string, string> = {
  accept: "accept on",
  authorize: "authorize a client of",
  bindLongPath: "bind",
  bindPackets: "bind",
  claim: "claim",
  connect: "connect to",
  connectLongPath: "connect to",
  connectPackets: "connect to",
  listen: "listen on",
  listenPackets: "listen on",
  ls: "list",
  probe: "probe",
  refuse: "refuse a client of",
  rm: "remove",
  runtimePath: "use the runtime directory",
  serve: "serve on",
};

/** The meaning of a code in plain words, for codes that Deno does not explain. */
const STATES: Record<string, string> = {
  EACCES: "the file system denies it",
  EDQUOT: "the disk quota is used up",
  EBUSY: "it is in use by the system",
  ECONNRESET: "the peer closed it before reading everything that was sent",
  EMFILE: "this process has too many open files. Raise its limit (ulimit -n)",
  ENFILE: "the system has too many open files",
  ENOENT: "its directory does not exist",
  ENOTDIR: "a part of the path is not a directory",
  ELOOP: "the path has too many symbolic links, or one on a file system that follows none",
  EPIPE: "the peer has closed the connection",
  EROFS: "the file system is read-only",
};

/** Returns the beginning of a message: `Cannot connect to "/run/app.sock"`. */
export function attempt(operation: string, target: string | number): string {
  const shown = typeof target === "number" ? `descriptor ${target}` : quoteAddress(target);
  return `Cannot ${PHRASES[operation] ?? operation} ${shown}`;
}

/** The codes that Deno 2.9.6 leaves out: it has only the number, in the text. Linux, then macOS. */
const CODES: Record<string, [linux: number, darwin: number]> = {
  EDQUOT: [122, 69],
  EFBIG: [27, 27],
  EHOSTDOWN: [112, 64],
  EMLINK: [31, 31],
  ENETDOWN: [100, 50],
  ENFILE: [23, 23],
  ENODEV: [19, 19],
  ENOLCK: [37, 77],
  ENOSYS: [38, 78],
  ENXIO: [6, 6],
  EOVERFLOW: [75, 84],
  EPROTO: [71, 100],
  EPROTOTYPE: [91, 41],
  ESHUTDOWN: [108, 58],
  ESTALE: [116, 70],
};

/** Returns the system's code of an error, such as `"ENOENT"`. */
export function codeOf(error: unknown): string | undefined {
  const code = readThrown(() => (error as { code?: unknown } | null | undefined)?.code, undefined);
  if (typeof code === "string") return code;
  const number = numberOf(error);
  if (number === undefined) return undefined;
  const column = Deno.build.os === "darwin" ? 1 : 0;
  return Object.keys(CODES).find((name) => CODES[name]?.[column] === number);
}

/** Returns the system's number of an error, which Deno appends to its text. */
function numberOf(error: unknown): number | undefined {
  const digits = readThrown(
    () => error instanceof Error && / \(os error (\d+)\)/.exec(error.message)?.[1],
    undefined,
  );
  return digits ? Number(digits) : undefined;
}

/** Reports whether an error is a system failure. Deno sets the code of most of them, not of all. */
export function isSystemFailure(error: unknown): error is Error {
  const classes: unknown[] = Object.values(Deno.errors);
  return error instanceof Error && !(error instanceof DOMException) &&
    (codeOf(error) !== undefined || numberOf(error) !== undefined ||
      classes.includes(error.constructor));
}

/** Returns the message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return readThrown(
    () => String(error instanceof Error ? error.message : error),
    "a thrown value without a text",
  );
}

/** Describes an error by its code if it is known, otherwise by the words of the system. */
export function stateOf(error: unknown): string {
  const known = STATES[codeOf(error) ?? ""];
  if (known !== undefined) return known;
  return messageOf(error).replace(/ \(os error \d+\).*$/s, "").replace(
    /^[A-Z](?=[a-z])/,
    (c) => c.toLowerCase(),
  );
}

/**
 * Returns an error of the same class as `cause`, in the shape of this package's errors.
 *
 * @param start The beginning of the message, from {@linkcode attempt}.
 * @param cause What Deno threw.
 * @param fields The fields of the error, with `unsent` and the counts of a relay if there are any.
 * @param state What went wrong, unless the cause describes it well.
 */
export function systemError(
  start: string,
  cause: unknown,
  fields: Pick<SocketError, "operation" | "path" | "unsent" | "aToB" | "bToA">,
  state: string = stateOf(cause),
): SocketError {
  const Class = readThrown(
    () => cause instanceof Error ? cause.constructor : Error,
    Error,
  ) as ErrorConstructor;
  const error = new Class(`${start}: ${state}`, causeOf({ cause }));
  const code = codeOf(cause);
  const { unsent, ...shown } = fields;
  // Not enumerable: a printed error must not show data.
  if (unsent) Object.defineProperty(error, "unsent", { value: unsent, configurable: true });
  return Object.assign(error, shown, code === undefined ? {} : { code });
}

/** Returns the cause of a failure after a time limit of ours. */
export function timedOut(state: string): Error {
  return Object.assign(new Deno.errors.TimedOut(state), { code: "ETIMEDOUT" });
}

/** The remedy for a path that cannot be owned, by the code of the failure. */
const REMEDIES: Record<string, string> = {
  EACCES: "Choose a directory that this process may write to",
  EDQUOT: "Free some space, or choose a directory on another file system",
  ENOENT: "Make it first",
  ENOSPC: "Free some space, or choose a directory on another file system",
  ENOTSUP: "Choose a directory on a file system that can hold a socket",
  EPERM:
    "Choose a directory on a file system that can hold a socket, and where no security policy " +
    "denies it",
  EROFS: "Choose a directory on another file system",
};

/**
 * Returns an error of {@linkcode systemError} for a path that could not be owned, with the remedy
 * if it is known.
 *
 * @param wanted What was tried, and the path.
 * @param cause What Deno threw.
 */
export function failureToOwn(
  { operation, path }: { operation: string; path: string },
  cause: unknown,
): SocketError {
  const remedy = REMEDIES[codeOf(cause) ?? ""];
  let state = stateOf(cause) + (remedy === undefined ? "" : `. ${remedy}`);
  if (codeOf(cause) === "EACCES" && directoryAllows(path)) {
    state = `its directory would let this process make a file, but ${POLICY}`;
  } else if (codeOf(cause) === "EPERM" && path.startsWith("\0")) {
    state = POLICY;
  }
  return systemError(attempt(operation, path), cause, { operation, path }, state);
}

/**
 * Reports whether the mode of a path's directory allows a new file, if this process may look at it.
 */
function directoryAllows(path: string): boolean {
  const directory = directoryOf(path);
  try {
    return isGranted("read", directory) && modeAllows(Deno.statSync(directory), TO_MAKE_A_FILE);
  } catch {
    return false;
  }
}
