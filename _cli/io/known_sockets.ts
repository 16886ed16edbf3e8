/** The sockets that the kernel lists, and their processes. */

import { ALL_PERMISSIONS } from "../../_internal/base/deno_permissions.ts";
import type { NamedSocket } from "../../_internal/libc/unix_diag.ts";
import type { Needs } from "../parse/command.ts";
import type { SocketType } from "../parse/parameters.ts";
import { mayReadProc } from "./proc.ts";

/** What it takes to list them: Deno shows `/proc` only to a process with all permissions. */
export const TABLE_NEEDS: Needs = ALL_PERMISSIONS;

/** A socket with a name that clients can use. */
export interface ListedSocket extends Pick<NamedSocket, "inode" | "file"> {
  /** The path that it was bound to. An abstract name begins with `@`. */
  readonly path: string;
  readonly type: SocketType;
}

/** By the numbers of Linux: linux/net.h of include/. */
const SOCKET_TYPES: Readonly<Record<number, SocketType>> = {
  1: "stream",
  2: "dgram",
  5: "seqpacket",
};

/**
 * Returns the sockets of this network namespace that clients can use: those that listen, and
 * datagram sockets with a name. Returns `undefined` if this process cannot list them.
 */
export async function listedSockets(): Promise<ListedSocket[] | undefined> {
  if (!mayReadProc()) return undefined;
  const { libcIfGranted } = await import("../../_internal/libc/library.ts");
  const { namedSockets } = await import("../../_internal/libc/unix_diag.ts");
  const libc = libcIfGranted();
  return libc && namedSockets(libc)?.flatMap((socket): ListedSocket[] => {
    const type = SOCKET_TYPES[socket.type];
    if (type === undefined || type !== "dgram" && !socket.isListening) return [];
    return [{ ...socket, type, path: shownName(socket.name) }];
  });
}

/** Shows a name as `/proc/net/unix` does: with `@` for each zero byte. */
function shownName(name: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(name).replaceAll("\0", "@");
}

/**
 * Returns the process that has each socket open, by inode: the oldest one, if several have it. The
 * system shows those of other users to root only.
 */
export function processesOf(inodes: ReadonlySet<number>): Map<number, number> {
  const found = new Map<number, number>();
  const pids = namesIn("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids.sort((a, b) => a - b)) {
    for (const fd of namesIn(`/proc/${pid}/fd`)) {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`)) ?? [];
      const number = Number(inode);
      if (inodes.has(number) && !found.has(number)) found.set(number, pid);
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
