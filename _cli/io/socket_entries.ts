/** The sockets that `uds ls` lists. */

import { ErrorContext } from "../../_internal/base/error_context.ts";
import { isSameFile, lstat, octal } from "../../_internal/base/file.ts";
import { probe, type ProbeResult } from "../../probe.ts";
import type { SocketType } from "../parse/parameters.ts";
import { type ListedSocket, listedSockets, processesOf } from "./known_sockets.ts";

/** A socket. */
export interface Entry {
  readonly path: string;
  readonly state: ProbeResult["state"] | "listening" | "bound" | "unknown";
  /** With `--all` only. */
  readonly type?: SocketType;
  /** Without a file, as its owner. */
  readonly mode: string | null;
  readonly uid: number | null;
  readonly gid: number | null;
  readonly holder?: number;
  /** The process of a socket that no lock names a process for. */
  readonly listener?: number;
}

/**
 * Adds what the kernel lists, if this process may ask it.
 *
 * @param files The file of each socket, by its path.
 */
export async function withTable(
  entries: readonly Entry[],
  files: ReadonlyMap<string, Deno.FileInfo>,
): Promise<readonly Entry[]> {
  const open = entries.filter(({ holder, listener }) => (holder ?? listener) === undefined);
  const listed = open.length === 0 ? undefined : await listedSockets();
  if (listed === undefined) return entries;
  const sockets = new Map(open.flatMap((entry): [Entry, ListedSocket][] => {
    const info = files.get(entry.path);
    const socket = info && listed.find((socket) => isBoundTo(socket, info));
    return socket === undefined ? [] : [[entry, socket]];
  }));
  const processes = processesOf(new Set([...sockets.values()].map(({ inode }) => inode)));
  return entries.map((entry) => {
    const socket = sockets.get(entry);
    if (socket === undefined) return entry;
    const listener = processes.get(socket.inode);
    const isNew = entry.state === "unknown" || entry.state === "stale";
    const state = isNew ? stateOf(socket) : entry.state;
    return { ...entry, state, ...(listener !== undefined && { listener }) };
  });
}

/** Returns the sockets of the whole system, by path. */
export async function systemEntries(): Promise<Entry[]> {
  const listed = await listedSockets();
  if (listed === undefined) {
    throw new ErrorContext("ls", null, "Cannot list all sockets").error(
      Deno.errors.NotSupported,
      "the kernel does not list them. Name a directory instead",
    );
  }
  const processes = processesOf(new Set(listed.map(({ inode }) => inode)));
  const entries = await Promise.all(listed.map(async (socket): Promise<Entry> => {
    const { path, info } = fileOf(socket) ?? { path: socket.path, info: null };
    const holder = info === null ? undefined : await holderOf(path);
    const listener = processes.get(socket.inode);
    return {
      path,
      state: stateOf(socket),
      type: socket.type,
      mode: info && octal(info.mode ?? 0),
      uid: info && info.uid,
      gid: info && info.gid,
      ...(holder !== undefined ? { holder } : listener !== undefined && { listener }),
    };
  }));
  return entries.sort((a, b) => a.path < b.path ? -1 : 1);
}

/** Reports whether a socket was bound to a file. The file may have other names since. */
function isBoundTo(socket: ListedSocket, info: Deno.FileInfo): boolean {
  if (!hasInode(socket, info)) return false;
  return socket.file?.device === info.dev || isSameFile(info, fileOf(socket)?.info ?? null);
}

/** Returns the file of a socket, at its name or where `publish: "rename"` has moved it. */
function fileOf(socket: ListedSocket): { path: string; info: Deno.FileInfo } | undefined {
  for (const path of [socket.path, socket.path.replace(/\.new$/, "")]) {
    const info = lstatIfPossible(path);
    if (info !== null && hasInode(socket, info)) return { path, info };
  }
  return undefined;
}

function hasInode({ file }: ListedSocket, { isSocket, ino }: Deno.FileInfo): boolean {
  return file !== undefined && isSocket === true && ino !== null && ino % 2 ** 32 === file.inode;
}

/** Any user can choose a name that leads to no file here, or to one that is not accessible. */
function lstatIfPossible(path: string): Deno.FileInfo | null {
  try {
    return lstat(path);
  } catch {
    return null;
  }
}

/** Returns the process that holds the lock of a path. */
async function holderOf(path: string): Promise<number | undefined> {
  try {
    return (await probe(path, { connect: false })).holder;
  } catch {
    // Its lock is free, or the path is too long or gone by now.
    return undefined;
  }
}

/** Datagram sockets do not listen. */
function stateOf({ type }: ListedSocket): Entry["state"] {
  return type === "dgram" ? "bound" : "listening";
}
