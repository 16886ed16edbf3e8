/** What is known about sockets without connecting: their locks, and the table of the kernel. */

import { ALL_PERMISSIONS } from "../../_internal/base/deno_permissions.ts";
import { readLock } from "../../_internal/lock/peek_lock.ts";
import type { Needs } from "../parse/command.ts";
import type { SocketType } from "../parse/parameters.ts";
import { readProc } from "./proc.ts";

/** What it takes to read the table: Deno shows `/proc` only to a process with all permissions. */
export const TABLE_NEEDS: Needs = ALL_PERMISSIONS;

/** A socket with a name that clients can use, as `/proc/net/unix` lists it. */
export interface ListedSocket {
  /** The path that it was bound to. An abstract name begins with `@`. */
  readonly path: string;
  readonly type: SocketType;
  /** The inode of the socket itself, not that of its file. */
  readonly inode: string;
}

const SOCKET_TYPES: Readonly<Record<string, SocketType>> = {
  "0001": "stream",
  "0002": "dgram",
  "0005": "seqpacket",
};

/** The flag of a socket that listens: `__SO_ACCEPTCON` of Linux. */
const LISTENS = 1 << 16;

/** A line: address, references, protocol, flags, type, state, inode, path. */
const LINE = /^\S+ \S+ \S+ ([0-9A-F]{8}) ([0-9A-F]{4}) \S+ +(\d+) (.+)$/;

/**
 * Returns the sockets of this network namespace that clients can use: those that listen, and
 * datagram sockets with a name. Returns `undefined` if this process cannot read the table.
 */
export function listedSockets(): ListedSocket[] | undefined {
  return readProc("net/unix")?.split("\n").flatMap((line): ListedSocket[] => {
    const [, flags = "", code = "", inode = "", path = ""] = LINE.exec(line) ?? [];
    const type = SOCKET_TYPES[code];
    const isNamed = type === "dgram" || (Number.parseInt(flags, 16) & LISTENS) !== 0;
    return type !== undefined && isNamed ? [{ path, type, inode }] : [];
  });
}

/**
 * Returns the process that has each socket open, by inode: the oldest one, if several have it. The
 * system shows those of other users to root only.
 */
export function processesOf(inodes: ReadonlySet<string>): Map<string, number> {
  const found = new Map<string, number>();
  const pids = namesIn("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids.sort((a, b) => a - b)) {
    for (const fd of namesIn(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode !== undefined && inodes.has(inode) && !found.has(inode)) found.set(inode, pid);
    }
  }
  return found;
}

function namesIn(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].map(({ name }) => name);
  } catch {
    // The process has ended, or belongs to another user.
    return [];
  }
}

function linkOf(file: string): string {
  try {
    return Deno.readLinkSync(file);
  } catch {
    return "";
  }
}

/**
 * Reports whether a server of this package left its lock beside a socket. Call this when the lock
 * is known to be free.
 */
export async function hasLeftLock(path: string): Promise<boolean> {
  try {
    return await readLock(`${path}.lock`) !== undefined;
  } catch {
    return false;
  }
}
