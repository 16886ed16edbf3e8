/** `uds ls [DIR…]`: the sockets in directories, and who has them. */

import { probe, type ProbeResult } from "../../probe.ts";
import { NotASocket, SocketNotFound } from "../../errors.ts";
import { OK } from "../exit_codes.ts";
import { isGranted, requireGrants } from "../parse/deno_permissions.ts";
import { octal } from "../parse/parameters.ts";
import { print } from "../io/output.ts";
import { json } from "../text/printable.ts";
import { table } from "../text/columns.ts";
import { type CommonFlags, Talk } from "../io/reporter.ts";

/** Its options. */
export type LsFlags = CommonFlags & {
  readonly probe?: boolean;
  readonly recursive?: boolean;
};

/** A socket file. */
interface Entry {
  readonly path: string;
  readonly mode: string;
  readonly uid: number | null;
  readonly gid: number | null;
  readonly state: ProbeResult["state"] | "unknown";
  readonly holder?: number;
}

type Files = Map<string, Deno.FileInfo>;

/** What the directories of {@linkcode defaultDirectories} depend on. */
const DEFAULTS: Deno.PermissionOptionsObject = {
  env: ["XDG_RUNTIME_DIR", "TMPDIR"],
  sys: ["uid"],
};

/** How many are looked at together: one that nobody listens on takes a tenth of a second. */
const BATCH = 64;

/** The command. */
export async function ls(flags: LsFlags, ...directories: string[]): Promise<number> {
  const isDefault = directories.length === 0;
  if (isDefault) requireGrants("Cannot list the usual directories", needs(flags, []));
  const places = isDefault ? defaultDirectories() : directories;
  requireGrants(`Cannot list ${places.join(" and ")}`, needs(flags, places));

  const talk = new Talk(flags);
  const files: Files = new Map();
  let code = OK;
  const report = (error: unknown) => {
    const failure = talk.fail(error);
    if (code === OK && !isDefault) code = failure;
  };
  for (const place of places) {
    find(place, isDefault || flags.recursive === true, files, (error) => {
      // Of what nobody has asked for by name, what is not there or not for us is no failure.
      if (!isDefault || error instanceof Deno.errors.InvalidData) report(error);
    });
  }

  const entries: Entry[] = [];
  const found = [...files].sort(([a], [b]) => a < b ? -1 : 1);
  while (found.length > 0) {
    const looks = found.splice(0, BATCH).map(([path, info]) =>
      look(path, info, flags.probe, report)
    );
    entries.push(...await Promise.all(looks));
  }
  if (flags.json) await print(`${json(entries)}\n`);
  else if (entries.length > 0) await print(show(entries));
  else if (code === OK) talk.say(`no sockets in ${places.join(" and ")}`, {});
  return code;
}

/** The permissions that it takes; none of the directories stands for the usual ones. */
export function needs(
  flags: LsFlags,
  directories: readonly string[],
): Deno.PermissionOptionsObject {
  const isDefault = directories.length === 0;
  return {
    ...(isDefault ? { ...DEFAULTS, read: true } : {
      // A socket has its lock beside it.
      read: directories.flatMap((place) => isSocket(place) ? [place, `${place}.lock`] : [place]),
    }),
    // Deno grants connecting to one path, or to all.
    ...(flags.probe && { write: isDefault ? true : [...directories], net: true }),
  };
}

/** Whether it is the name of a socket, where this process may look. */
function isSocket(place: string): boolean {
  try {
    return isGranted("read", place) && Deno.statSync(place).isSocket === true;
  } catch {
    return false;
  }
}

/** Where programs of this user and of the system have their sockets. */
function defaultDirectories(): string[] {
  const given = Deno.env.get("XDG_RUNTIME_DIR");
  const own = given?.startsWith("/")
    ? given
    : `${Deno.env.get("TMPDIR") || "/tmp"}/uds-${Deno.uid()}`;
  return [own, "/run"];
}

/** Adds the socket of that name, or those in that directory, also below it if it is to go deep. */
function find(place: string, deep: boolean, files: Files, onError: (error: Error) => void): void {
  try {
    const info = Deno.statSync(place);
    if (info.isSocket) files.set(place, info);
    else if (info.isDirectory) walk(place.replace(/(?<=.)\/+$/, ""), info.dev);
    else throw new NotASocket("it is neither a directory nor a socket");
  } catch (error) {
    onError(explain(place, error as Error));
  }

  function walk(directory: string, device: number): void {
    for (const { name, isDirectory, isFile, isSymlink } of readDirectory(directory)) {
      if (isFile || isSymlink || isDirectory && !deep) continue;
      const path = `${directory === "/" ? "" : directory}/${name}`;
      try {
        const info = Deno.lstatSync(path);
        if (info.isSocket) files.set(path, info);
        // Another file system may be one that does not answer.
        else if (info.isDirectory && info.dev === device) walk(path, device);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound && name.includes("\ufffd")) {
          onError(leftOut(path));
          continue;
        }
        // It may have gone since; and Deno shows /dev, /proc and /sys only to who may do everything.
        const isNothing = error instanceof Deno.errors.NotFound ||
          error instanceof Deno.errors.NotCapable;
        if (!isNothing) onError(explain(path, error as Error));
      }
    }
  }
}

/** The entries of a directory, all of them at once: errors come here, not in the middle. */
function readDirectory(directory: string): Deno.DirEntry[] {
  return [...Deno.readDirSync(directory)];
}

/** Deno puts U+FFFD in the place of bytes that are not UTF-8, and does not find the file by that name. */
function leftOut(path: string): Error {
  return new Deno.errors.InvalidData(
    `Cannot list ${JSON.stringify(path)}: its name is not UTF-8, and Deno cannot name it. ` +
      `It may be a socket`,
  );
}

/** An error of the same class that says which file it is about. */
function explain(path: string, error: Error): Error {
  const start = `Cannot list ${JSON.stringify(path)}`;
  if (error instanceof Deno.errors.NotFound) {
    return new SocketNotFound(`${start}: there is no such directory`, { operation: "ls", path });
  }
  if (error instanceof NotASocket) {
    return new NotASocket(`${start}: ${error.message}`, { operation: "ls", path });
  }
  const state = error instanceof Deno.errors.PermissionDenied
    ? "the file system denies it"
    : error.message;
  return new (error.constructor as ErrorConstructor)(`${start}: ${state}`, { cause: error });
}

/**
 * What can be seen of a socket; without connecting, what its lock tells.
 *
 * @param report Called with the failure of a look, which concerns this socket alone.
 */
async function look(
  path: string,
  info: Deno.FileInfo,
  connect: boolean | undefined,
  report: (error: unknown) => void,
): Promise<Entry> {
  const { state, holder } = await stateOf(path, connect === true, report);
  const { mode, uid, gid } = info;
  return {
    path,
    state,
    mode: octal((mode ?? 0) & 0o777),
    uid,
    gid,
    ...(holder !== undefined && { holder }),
  };
}

async function stateOf(
  path: string,
  connect: boolean,
  report: (error: unknown) => void,
): Promise<Pick<Entry, "state" | "holder">> {
  try {
    return await probe(path, { connect });
  } catch (error) {
    // Only a connection could tell; or the path is too long for one.
    const isUnknown = error instanceof Deno.errors.NotSupported || error instanceof RangeError;
    if (!isUnknown) report(error);
    return { state: "unknown" };
  }
}

/** The entries as a table. */
function show(entries: Entry[]): string {
  const users = names("/etc/passwd");
  const groups = names("/etc/group");
  return table(
    ["STATE", "MODE", "OWNER", "PID", "PATH"],
    entries.map(({ state, mode, uid, gid, holder, path }) => [
      state,
      mode,
      `${users.get(String(uid)) ?? uid}:${groups.get(String(gid)) ?? gid}`,
      String(holder ?? "-"),
      path,
    ]),
  );
}

/** The names of users or groups by their numbers, where this process may read them. */
function names(file: string): Map<string, string> {
  if (!isGranted("read", file)) return new Map();
  try {
    const lines = Deno.readTextFileSync(file).split("\n").map((line) => line.split(":"));
    return new Map(lines.map(([name = "", , id = ""]) => [id, name]));
  } catch {
    return new Map();
  }
}
