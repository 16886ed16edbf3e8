/**
 * Services of systemd: sockets that the manager has opened, and what it is told about the service.
 *
 * - {@linkcode listenFds} returns the sockets of the manager. `serve({ fd })` serves one.
 * - {@linkcode notify} reports that the service is ready, reloads or stops.
 * - {@linkcode watchdog} reports at regular times that it works.
 *
 * Without a manager, nothing happens: the same program also runs in a terminal. Other managers and
 * `systemd-socket-activate` use the same variables.
 *
 * @example A service, with or without a socket of the manager
 * ```ts
 * import { connect, serve, shutdownOnSignal } from "@uds/uds";
 * import { listenFds, notify, watchdog } from "@uds/uds/systemd";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/echo.sock`;
 * const given = listenFds().find(({ name }) => name === "app");
 * const place = given === undefined ? { path } : { fd: given.fd };
 * await using server = await serve(place, (conn) => conn.readable.pipeTo(conn.writable));
 * using _signals = shutdownOnSignal(server);
 * using _watchdog = watchdog();
 * await notify({ ready: true, status: "serving" });
 *
 * await using conn = await connect(path);
 * await conn.writeText("hello");
 * await conn.closeWrite();
 * assertEquals(await new Response(conn.readable).text(), "hello");
 * await notify({ stopping: true });
 * ```
 *
 * @module
 */

import { checked, seenFrom } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkBoolean,
  checkFunction,
  checkInteger,
  checkOptions,
  type Checks,
  integer,
  show,
} from "./_internal/base/check.ts";
import { checkPathLength } from "./_internal/base/socket_path.ts";
import { Reporter } from "./_internal/server/reporter.ts";
import { invalid, readVariables, wholeNumber } from "./_internal/systemd/environment.ts";
import { NotifySocket } from "./_internal/systemd/notify_socket.ts";

/**
 * A descriptor of the manager.
 *
 * @category systemd
 */
export interface ListenFd {
  /** Its number: for `serve({ fd })`, or with `Accept=yes` for `inherited({ fd })`. */
  readonly fd: number;
  /**
   * Its name: `FileDescriptorName=` of the socket unit, by default the name of that unit. With
   * `Accept=yes` it is `"connection"`, and without names `"unknown"`.
   */
  readonly name: string;
}

/** The first descriptor of the manager: `SD_LISTEN_FDS_START`. */
const FIRST_FD = 3;
/** The most descriptors that Linux allows a process, unless `fs.nr_open` is raised. */
const MOST_FDS = 2 ** 20;
/** The most descriptors of one message: `SCM_MAX_FD` of Linux. */
const MAX_DESCRIPTORS = 253;
const LISTEN_VARIABLES = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] as const;

/** The descriptors, once their variables are removed. */
let given: ListenFd[] | undefined;

/**
 * Returns the sockets that a service manager has opened for this process.
 *
 * - They are in the order of the unit, and an empty list without a manager. They are another
 *   process's if `LISTEN_PID` is another one: then the list is empty, too. A launcher that starts
 *   Deno as its child, such as `npx deno`, is another process: start `deno` itself.
 * - The three variables are removed from the environment, so a child does not take the sockets for
 *   its own. Each call returns the same list.
 * - Pass each descriptor on once. Those that you do not use stay open, and programs that this
 *   process starts inherit all of them.
 * - With `Accept=yes` there is one connection, which `inherited({ fd })` takes over.
 *
 * **Permissions**: `--allow-env=LISTEN_PID,LISTEN_FDS,LISTEN_FDNAMES`.
 *
 * @returns The descriptors, with their names.
 * @throws {Deno.errors.InvalidData} when a variable is not what a manager would set.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Usage
 * ```ts
 * import { listenFds } from "@uds/uds/systemd";
 * import { assertEquals } from "@std/assert";
 *
 * const control = listenFds().find(({ name }) => name === "control");
 * // No manager has started this example.
 * assertEquals(control, undefined);
 * ```
 *
 * @category systemd
 */
export function listenFds(): ListenFd[] {
  return checked(listenFds, () => {
    checkArguments("listenFds", arguments, 0, "listenFds()");
    return [...given ?? takeListenFds()];
  });
}

function takeListenFds(): ListenFd[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = readVariables("listenFds", LISTEN_VARIABLES);
  const pid = wholeNumber("listenFds", "LISTEN_PID", LISTEN_PID);
  const count = wholeNumber("listenFds", "LISTEN_FDS", LISTEN_FDS, 0, MOST_FDS) ?? 0;
  const names = LISTEN_FDNAMES?.split(":");
  if (pid !== Deno.pid) return [];
  if (names !== undefined && names.length !== count) {
    throw invalid("listenFds", `LISTEN_FDNAMES has ${names.length} names for ${count} descriptors`);
  }
  for (const name of LISTEN_VARIABLES) Deno.env.delete(name);
  return given = Array.from({ length: count }, (_, i) => ({
    fd: FIRST_FD + i,
    name: names?.[i] ?? "unknown",
  }));
}

/**
 * What {@linkcode notify} reports.
 *
 * @category systemd
 */
export interface NotifyOptions {
  /**
   * Whether the service has started, or has finished reloading.
   *
   * @default {false}
   */
  ready?: boolean | undefined;
  /**
   * Whether the service reloads its configuration. Report `ready` when it has. With
   * `Type=notify-reload` the manager needs the time, which not every way of sending has.
   *
   * @default {false}
   */
  reloading?: boolean | undefined;
  /**
   * Whether the service is stopping.
   *
   * @default {false}
   */
  stopping?: boolean | undefined;
  /**
   * Whether the service works: see {@linkcode watchdog}.
   *
   * @default {false}
   */
  watchdog?: boolean | undefined;
  /** One line about the state of the service, which `systemctl status` shows. */
  status?: string | undefined;
  /**
   * The process that is the service from now on, if it is another one.
   *
   * @default {the one that the manager knows}
   */
  mainPid?: number | undefined;
  /**
   * Descriptors that the manager keeps while the service restarts: `FDSTORE=1`. The next process of
   * the service finds them in {@linkcode listenFds}, behind its sockets.
   *
   * - The unit needs `FileDescriptorStoreMax=`, which is 0 by default. Without it the manager
   *   closes them, and reports nothing.
   * - They stay open here. The manager drops a socket when its peer has closed.
   */
  storeFds?: StoreFds | undefined;
  /**
   * The name of stored descriptors that the manager closes: `FDSTOREREMOVE=1`. Not together with
   * `storeFds`.
   */
  removeFds?: string | undefined;
}

/**
 * Descriptors for the manager to keep.
 *
 * @category systemd
 */
export interface StoreFds {
  /** The numbers of 1 to 253 descriptors. */
  fds: readonly number[];
  /**
   * Their name in `listenFds()`: up to 255 visible ASCII characters or spaces, and no colon.
   *
   * @default {"stored"}
   */
  name?: string | undefined;
}

const STORE_CHECKS: Checks<StoreFds> = { fds: checkFds, name: checkFdName };

const NOTIFY_CHECKS: Checks<NotifyOptions> = {
  ready: checkBoolean,
  reloading: checkBoolean,
  stopping: checkBoolean,
  watchdog: checkBoolean,
  status: checkLine,
  mainPid: integer(1, 0x7fff_ffff),
  storeFds: (_, value) => checkOptions("storeFds", value as StoreFds, STORE_CHECKS),
  removeFds: checkFdName,
};

/** The notification before this one: each waits for it, so that the order stays. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Reports the state of this service to its manager.
 *
 * - It resolves to `false` without a manager, which is when `$NOTIFY_SOCKET` is not set. Otherwise
 *   it resolves to `true` when the manager has the report.
 * - Reports arrive in the order of the calls.
 * - Deno cannot send a datagram by itself. So the first of these ways is used that is granted: a
 *   call of libc (0.2 ms), a datagram of Deno's, the program `systemd-notify` (5 ms or more).
 * - With `systemd-notify`, and not as root, the report comes from another process. The unit then
 *   needs `NotifyAccess=all`.
 * - Only libc can send descriptors (`storeFds`).
 *
 * **Permissions**: `--allow-env=NOTIFY_SOCKET`, and if it is set, one of these:
 * - `--allow-run=systemd-notify`. For `reloading`, its version must be 253 or later.
 * - `--unstable-net`, with write for the path of `$NOTIFY_SOCKET` and `--allow-net=unix:<path>`;
 *   for an abstract name with `--allow-net`. It cannot report `reloading`.
 * - `--allow-ffi=<path of libc>`, for example `/lib/x86_64-linux-gnu/libc.so.6`.
 *
 * @param options What to report.
 * @returns Whether there is a manager, which has been told.
 * @throws {TypeError} when an argument has the wrong type, or nothing is reported.
 * @throws {RangeError} when `mainPid` is out of range, or `$NOTIFY_SOCKET` is too long for a
 * socket.
 * @throws {Deno.errors.InvalidData} when `$NOTIFY_SOCKET` is neither a path nor an abstract name.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 * @throws {SocketError} when the report cannot be sent.
 *
 * @example Usage
 * ```ts
 * import { notify } from "@uds/uds/systemd";
 * import { assertEquals } from "@std/assert";
 *
 * // No manager has started this example.
 * assertEquals(await notify({ ready: true, status: "3 clients" }), false);
 * ```
 *
 * @category systemd
 */
export async function notify(options: NotifyOptions): Promise<boolean> {
  try {
    checkArguments("notify", arguments, 1, "notify({ ready: true })");
    checkOptions("notify", options, NOTIFY_CHECKS);
    const lines = linesOf(options);
    if (lines.length === 0) throw new TypeError("Invalid options of notify(): nothing is reported");
    if (options.storeFds !== undefined && options.removeFds !== undefined) {
      // A message has one FDNAME.
      throw new TypeError("Invalid removeFds: it needs a separate call, without storeFds");
    }
    const { NOTIFY_SOCKET } = readVariables("notify", ["NOTIFY_SOCKET"]);
    if (NOTIFY_SOCKET === undefined) return false;
    if (!/^[/@]./s.test(NOTIFY_SOCKET)) {
      const state = `NOTIFY_SOCKET must be an absolute path or @name, and is ${
        show(NOTIFY_SOCKET)
      }`;
      throw invalid("notify", state);
    }
    const path = NOTIFY_SOCKET.replace(/^@/, "\0");
    const socket = new NotifySocket(checkPathLength(path, "The variable NOTIFY_SOCKET names it"));
    const fds = [...options.storeFds?.fds ?? []];
    const sent = last.then(() => socket.send(lines, options.reloading === true, fds));
    last = sent.catch(() => {});
    await sent;
    return true;
  } catch (error) {
    throw seenFrom(notify, error);
  }
}

/** Returns the assignments of sd_notify(3). */
function linesOf(options: NotifyOptions): string[] {
  const { ready, reloading, stopping, watchdog, status, mainPid, storeFds, removeFds } = options;
  return [
    reloading && "RELOADING=1",
    ready && "READY=1",
    stopping && "STOPPING=1",
    watchdog && "WATCHDOG=1",
    status !== undefined && `STATUS=${status}`,
    mainPid !== undefined && `MAINPID=${mainPid}`,
    storeFds !== undefined && `FDSTORE=1\nFDNAME=${storeFds.name ?? "stored"}`,
    removeFds !== undefined && `FDSTOREREMOVE=1\nFDNAME=${removeFds}`,
  ].filter((line) => typeof line === "string");
}

/** Throws unless the value is one line: a second one would be another assignment. */
function checkLine(name: string, value: unknown): void {
  if (typeof value !== "string" || /[\n\0]/.test(value) || !value.isWellFormed()) {
    throw new TypeError(`Invalid ${name}: expected one line of text, got ${show(value)}`);
  }
}

function checkFds(name: string, value: unknown): void {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_DESCRIPTORS) {
    const expected = `an array of 1 to ${MAX_DESCRIPTORS} descriptors`;
    const got = Array.isArray(value) ? `${value.length} of them` : show(value);
    throw new TypeError(`Invalid ${name} of storeFds: expected ${expected}, got ${got}`);
  }
  value.forEach((fd, i) => checkInteger(`${name}[${i}]`, fd, 0, 0x7fff_ffff));
}

/** Throws unless the value is a name by sd_pid_notify_with_fds(3). */
function checkFdName(name: string, value: unknown): void {
  if (typeof value !== "string" || !/^[ -9;-~]{1,255}$/.test(value)) {
    const expected = "1 to 255 visible ASCII characters or spaces, and no colon";
    throw new TypeError(`Invalid ${name}: expected ${expected}, got ${show(value)}`);
  }
}

/**
 * Options of {@linkcode watchdog}.
 *
 * @category systemd
 */
export interface WatchdogOptions {
  /**
   * Reports whether the service works. While it returns `false` or a promise of it, or throws, the
   * manager is told nothing, and restarts the service in the end.
   *
   * @default {the service works as long as its event loop does}
   */
  isHealthy?: (() => boolean | Promise<boolean>) | undefined;
  /**
   * Called with each failure of `isHealthy`, or to report.
   *
   * @default {prints a line on standard error, at most one a second of each kind}
   */
  onError?: ((error: unknown) => void) | undefined;
}

const WATCHDOG_CHECKS: Checks<WatchdogOptions> = {
  isHealthy: checkFunction,
  onError: checkFunction,
};

/** Deno takes a longer timer for one of 1 ms. */
const LONGEST_TIMER_MS = 0x7fff_ffff;

/**
 * A running watchdog. Dispose of it before the service does something that blocks it for long.
 *
 * @category systemd
 */
export interface Watchdog extends Disposable {
  /**
   * How often, in milliseconds, it reports: half of `WatchdogSec=`, from 1 ms to 24 days. `null` if
   * none is wanted.
   */
  readonly interval: number | null;
}

/**
 * Reports to the manager that this service works, at half of the interval of `WatchdogSec=`.
 *
 * - It begins at once. It does nothing if no watchdog is set, or if it is another process's.
 * - Its timer does not keep the process running, and stops when it is disposed of. The manager then
 *   restarts the service when the interval ends, unless it stops before.
 *
 * **Permissions**: `--allow-env=WATCHDOG_USEC,WATCHDOG_PID`, and if they are set those of
 * {@linkcode notify}.
 *
 * @param options What decides whether the service works.
 * @returns Dispose of it to stop.
 * @throws {TypeError} when an argument has the wrong type.
 * @throws {Deno.errors.InvalidData} when a variable is not what a manager would set.
 * @throws {Deno.errors.NotCapable} when a Deno permission for the environment is missing.
 *
 * @example Usage
 * ```ts
 * import { watchdog } from "@uds/uds/systemd";
 * import { assertEquals } from "@std/assert";
 *
 * const queue: string[] = [];
 * using running = watchdog({ isHealthy: () => queue.length < 1000 });
 * // No manager has started this example.
 * assertEquals(running.interval, null);
 * ```
 *
 * @category systemd
 */
export function watchdog(options: WatchdogOptions = {}): Watchdog {
  return checked(watchdog, () => {
    checkArguments("watchdog", arguments, 1, "watchdog({ isHealthy })");
    checkOptions("watchdog", options, WATCHDOG_CHECKS);
    return startWatchdog(options);
  });
}

function startWatchdog({ isHealthy = () => true, onError }: WatchdogOptions): Watchdog {
  const names = ["WATCHDOG_USEC", "WATCHDOG_PID"] as const;
  const { WATCHDOG_USEC, WATCHDOG_PID } = readVariables("watchdog", names);
  const microseconds = wholeNumber("watchdog", "WATCHDOG_USEC", WATCHDOG_USEC, 1);
  const pid = wholeNumber("watchdog", "WATCHDOG_PID", WATCHDOG_PID) ?? Deno.pid;
  if (microseconds === undefined || pid !== Deno.pid) {
    return { interval: null, [Symbol.dispose]() {} };
  }
  const reporter = new Reporter(onError && { onError });
  const report = async () => {
    try {
      if (await isHealthy()) await notify({ watchdog: true });
    } catch (error) {
      reporter.report(error);
    }
  };
  const interval = Math.min(Math.max(1, Math.floor(microseconds / 2000)), LONGEST_TIMER_MS);
  const timer = setInterval(report, interval);
  Deno.unrefTimer(timer);
  report();
  return {
    interval,
    [Symbol.dispose]() {
      clearInterval(timer);
      reporter.flush();
    },
  };
}
