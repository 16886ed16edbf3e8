/** `uds ls [DIR…]`: lists the sockets in directories, and the processes that hold them. */

import { isGranted, requireGrants } from "../../_internal/base/deno_permissions.ts";
import { ErrorContext } from "../../_internal/base/error_context.ts";
import { octal } from "../../_internal/base/file.ts";
import { isLeftFor } from "../../_internal/lock/peek_lock.ts";
import { NotASocket, SocketNotFound } from "../../errors.ts";
import { connect } from "../../client.ts";
import { probe } from "../../probe.ts";
import { OK, UsageError } from "../exit_codes.ts";
import { identityNeeds, loadNative, type Native } from "../io/identity.ts";
import { TABLE_NEEDS } from "../io/known_sockets.ts";
import { print } from "../io/output.ts";
import { reporter } from "../io/reporter.ts";
import { type Entry, systemEntries, withTable } from "../io/socket_entries.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import { table } from "../text/columns.ts";
import { json } from "../text/printable.ts";

/** Its options. */
export type LsFlags = CommonFlags & {
  readonly all?: boolean;
  readonly probe?: boolean;
  readonly listeners?: boolean;
  readonly recursive?: boolean;
};

type Files = Map<string, Deno.FileInfo>;

/** How many sockets to probe together: a stale one takes a tenth of a second. */
const PROBES_AT_ONCE = 64;

/** The command. */
export async function run(flags: LsFlags, directories: readonly string[]): Promise<number> {
  if (flags.all) {
    await listAll(flags, directories);
    return OK;
  }
  const isDefault = directories.length === 0;
  const native = flags.listeners
    ? await loadNative("ls", await needs(flags, directories))
    : undefined;
  const requireAll = (places: string, all: readonly string[]) =>
    requireGrants(`Cannot list ${places}`, pathNeeds(flags, all), { operation: "ls", path: null });
  if (isDefault) requireAll("the usual directories", []);
  const places = isDefault ? defaultDirectories() : directories;
  requireAll(places.join(" and "), places);

  const files: Files = new Map();
  let code = OK;
  const report = (error: unknown) => {
    const failure = reporter.fail(error);
    if (!isDefault) code ||= failure;
  };
  for (const place of places) {
    find(place, isDefault || flags.recursive === true, files, (error) => {
      // A usual directory may be missing or closed to this user: that is not a failure.
      if (!isDefault || error instanceof Deno.errors.InvalidData) report(error);
    });
  }

  const entries: Entry[] = [];
  const found = [...files].sort(([a], [b]) => a < b ? -1 : 1);
  while (found.length > 0) {
    const batch = found.splice(0, PROBES_AT_ONCE);
    entries.push(
      ...await Promise.all(batch.map(([path, info]) => look(path, info, flags, native, report))),
    );
  }
  const known = await withTable(entries, files);
  if (flags.json) await print(`${json(known)}\n`);
  else if (known.length > 0) await print(format(known));
  else if (code === OK) reporter.say(`no sockets in ${places.join(" and ")}`, {});
  return code;
}

/** Lists the sockets of the whole system. */
async function listAll(flags: LsFlags, directories: readonly string[]): Promise<void> {
  for (const name of ["probe", "listeners", "recursive"] as const) {
    if (flags[name]) throw new UsageError(`--${name} does not go with --all`);
  }
  if (directories.length > 0) throw new UsageError("DIR does not go with --all");
  requireGrants("Cannot list all sockets", TABLE_NEEDS, { operation: "ls", path: null });
  const entries = await systemEntries();
  await print(flags.json ? `${json(entries)}\n` : format(entries));
}

/** Returns the Deno permissions that it needs. */
export async function needs(flags: LsFlags, directories: readonly string[]): Promise<Needs> {
  if (flags.all) return TABLE_NEEDS;
  return union([pathNeeds(flags, directories), flags.listeners ? await identityNeeds() : {}]);
}

/** Reports whether it connects to the sockets. */
function connects(flags: LsFlags): boolean {
  return flags.probe === true || flags.listeners === true;
}

/** Returns the permissions for the sockets. Without directories these are the usual ones. */
function pathNeeds(flags: LsFlags, directories: readonly string[]): Needs {
  const isDefault = directories.length === 0;
  return {
    ...(isDefault ? { env: ["XDG_RUNTIME_DIR", "TMPDIR"], sys: ["uid"], read: true } : {
      // A socket has its lock beside it.
      read: directories.flatMap((place) => isSocket(place) ? [place, `${place}.lock`] : [place]),
    }),
    // Deno grants connecting to one path, or to all.
    ...(connects(flags) && { write: isDefault ? true : [...directories], net: true }),
  };
}

/** Reports whether a name is known to be that of a socket. */
function isSocket(place: string): boolean {
  try {
    return isGranted("read", place) && Deno.statSync(place).isSocket === true;
  } catch {
    return false;
  }
}

/** Returns where programs of this user and of the system have their sockets. */
function defaultDirectories(): string[] {
  const given = Deno.env.get("XDG_RUNTIME_DIR");
  const own = given?.startsWith("/")
    ? given
    : `${Deno.env.get("TMPDIR") || "/tmp"}/uds-${Deno.uid()}`;
  return [own, "/run"];
}

/** Adds a socket, or those in a directory; with `deep` also those below it. */
function find(place: string, deep: boolean, files: Files, onError: (error: Error) => void): void {
  try {
    const info = Deno.statSync(place);
    if (info.isSocket) files.set(place, info);
    else if (info.isDirectory) walk(place.replace(/(?<=.)\/+$/, ""), info.dev);
    else {
      const state = "it is neither a directory nor a socket";
      onError(new ErrorContext("ls", place).error(NotASocket, state));
    }
  } catch (error) {
    onError(explain(place, error));
  }

  function walk(directory: string, device: number): void {
    // All entries at once: an error of the directory is thrown here, not within the loop.
    for (const { name, isDirectory, isFile, isSymlink } of [...Deno.readDirSync(directory)]) {
      if (isFile || isSymlink || isDirectory && !deep) continue;
      const path = `${directory === "/" ? "" : directory}/${name}`;
      try {
        const info = Deno.lstatSync(path);
        if (info.isSocket) files.set(path, info);
        // Another file system may not respond.
        else if (info.isDirectory && info.dev === device) walk(path, device);
      } catch (error) {
        const isMissing = error instanceof Deno.errors.NotFound;
        if (isMissing && name.includes("\ufffd")) onError(notUtf8(path));
        // It may be gone by now. Deno shows /dev, /proc and /sys only with all permissions.
        else if (!isMissing && !(error instanceof Deno.errors.NotCapable)) {
          onError(explain(path, error));
        }
      }
    }
  }
}

/** Deno replaces bytes that are not UTF-8 by U+FFFD, and does not find the file by that name. */
function notUtf8(path: string): Error {
  return new Deno.errors.InvalidData(
    `Cannot list ${JSON.stringify(path)}: its name is not UTF-8, and Deno cannot name it. ` +
      `It may be a socket`,
  );
}

/** Returns an error of the same class that names the file. */
function explain(path: string, error: unknown): Error {
  const context = new ErrorContext("ls", path);
  if (error instanceof Deno.errors.NotFound) {
    return context.error(SocketNotFound, "there is no such directory");
  }
  return context.fail(error);
}

/**
 * Describes a socket. Without `--probe` the state comes from its lock.
 *
 * @param report Called with a failure, which concerns this socket alone.
 */
async function look(
  path: string,
  info: Deno.FileInfo,
  flags: LsFlags,
  native: Native | undefined,
  report: (error: unknown) => void,
): Promise<Entry> {
  const file = { mode: octal(info.mode ?? 0), uid: info.uid, gid: info.gid };
  try {
    const { state, holder } = await probe(path, { connect: connects(flags) });
    if (holder !== undefined) return { path, state, ...file, holder };
    const listener = native && state === "alive" ? await listenerOf(native, path) : null;
    return { path, state, ...file, ...(listener !== null && { listener }) };
  } catch (error) {
    // Without a connection the state is not known, or the path is too long for one.
    const isUnknown = error instanceof Deno.errors.NotSupported || error instanceof RangeError;
    if (!isUnknown) report(error);
    // Its lock is free. A socket without a lock may be any program's.
    const isStale = error instanceof Deno.errors.NotSupported && await hasLeftLock(path, info);
    return { path, state: isStale ? "stale" : "unknown", ...file };
  }
}

/** Reports whether a server of this package was killed and left its lock for this socket. */
async function hasLeftLock(path: string, info: Deno.FileInfo): Promise<boolean> {
  try {
    return await isLeftFor(path, info);
  } catch {
    return false;
  }
}

/** Returns the process that listens on a path, if the kernel shows it. */
async function listenerOf(native: Native, path: string): Promise<number | null> {
  try {
    using conn = await connect({ path, timeout: 0 });
    return native.peerCredentials(conn).pid;
  } catch {
    // It may have ended since it was probed.
    return null;
  }
}

function format(entries: readonly Entry[]): string {
  const users = namesIn("/etc/passwd");
  const groups = namesIn("/etc/group");
  const ofType = (cell: string | undefined) => cell === undefined ? [] : [cell];
  return table(
    ["STATE", ...ofType(entries[0]?.type && "TYPE"), "MODE", "OWNER", "PID", "PATH"],
    entries.map(({ state, type, mode, uid, gid, holder, listener, path }) => [
      state,
      ...ofType(type),
      mode ?? "-",
      mode === null ? "-" : `${users.get(String(uid)) ?? uid}:${groups.get(String(gid)) ?? gid}`,
      String(holder ?? listener ?? "-"),
      path,
    ]),
  );
}

/** Returns the names of users or groups by their numbers, if this process may read them. */
function namesIn(file: string): Map<string, string> {
  if (!isGranted("read", file)) return new Map();
  try {
    const lines = Deno.readTextFileSync(file).split("\n").map((line) => line.split(":"));
    return new Map(lines.map(([name = "", , id = ""]) => [id, name]));
  } catch {
    return new Map();
  }
}
