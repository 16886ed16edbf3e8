/** The sockets that `uds ls` lists. */

import { ErrorContext } from "../../_internal/base/error_context.ts";
import { lstat, octal } from "../../_internal/base/file.ts";
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

/** Adds what the table of the kernel shows, if this process may read it. */
export function withTable(entries: readonly Entry[]): readonly Entry[] {
  const open = entries.filter(({ holder, listener }) => (holder ?? listener) === undefined);
  const listed = open.length === 0 ? undefined : listedSockets();
  if (listed === undefined) return entries;
  const sockets = new Map(listed.map((socket) => [socket.path, socket]));
  const processes = processesOf(
    new Set(open.flatMap(({ path }) => sockets.get(path)?.inode ?? [])),
  );
  return entries.map((entry) => {
    const socket = open.includes(entry) ? sockets.get(entry.path) : undefined;
    if (socket === undefined) return entry;
    const listener = processes.get(socket.inode);
    const isNew = entry.state === "unknown" || entry.state === "stale";
    const state = isNew ? stateOf(socket) : entry.state;
    return { ...entry, state, ...(listener !== undefined && { listener }) };
  });
}

/** Returns the sockets of the whole system, by path. */
export async function systemEntries(): Promise<Entry[]> {
  const listed = listedSockets();
  if (listed === undefined) {
    throw new ErrorContext("ls", null, "Cannot list all sockets").error(
      Deno.errors.NotSupported,
      "this system has no /proc/net/unix. Name a directory instead",
    );
  }
  const processes = processesOf(new Set(listed.map(({ inode }) => inode)));
  const entries = await Promise.all(listed.map(async (socket): Promise<Entry> => {
    const info = socket.path.startsWith("/") ? lstat(socket.path) : null;
    const holder = info?.isSocket ? await holderOf(socket.path) : undefined;
    const listener = processes.get(socket.inode);
    return {
      path: socket.path,
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
