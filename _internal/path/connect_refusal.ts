/** Why a connection was refused, and what helps. */

import { ConnectDenied, NotASocket, NothingListening, SocketNotFound } from "../../errors.ts";
import { modeAllows, POLICY, TO_CONNECT } from "../base/denial.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { kindOf, octal, ownership } from "../base/file.ts";
import { answerOf } from "./try_connect.ts";

/**
 * Returns the error for a refused connection.
 *
 * @param context The call.
 * @param cause What Deno threw.
 */
export function connectRefusal(context: ErrorContext, cause: unknown): Error {
  const { path } = context;
  const info = lookAt(path, Deno.statSync);
  switch (answerOf(cause)) {
    case "absent": {
      const isLink = lookAt(path, Deno.lstatSync)?.isSymlink;
      const state = isLink
        ? "it is a symbolic link that leads to nothing. Start the server there"
        : "there is no such file. Start the server first";
      return context.error(SocketNotFound, state, { cause });
    }
    case "refused": {
      if (info !== undefined && !info.isSocket) {
        const state = `it is ${kindOf(info)}. Choose the path of a socket`;
        return context.error(NotASocket, state, { cause });
      }
      const origin = info && "; the file was left behind by a server that has ended";
      const state = `no server listens on it${origin ?? ""}. Start the server`;
      return context.error(NothingListening, state, { cause });
    }
    case "other-type": {
      const state =
        "it is a datagram or sequenced-packet socket. Use connectPackets() of @uds/uds/native";
      return context.error(NotASocket, state, { cause });
    }
    case "denied":
      return denial(context, cause, info);
    case "alive": {
      const state = "its server is bound to a name that is not UTF-8, which Deno refuses. " +
        "Bind the server to another name";
      return context.fail(cause, state);
    }
    case "full":
      return context.fail(cause, "its backlog is full: the server does not keep up");
    default:
      return context.fail(cause);
  }
}

function denial(context: ErrorContext, cause: unknown, info: Deno.FileInfo | undefined): Error {
  if (info === undefined) {
    // An abstract name has neither a mode nor a directory.
    const state = context.path.startsWith("\0") ? POLICY : "a directory on the way denies it";
    return context.error(ConnectDenied, state, { cause });
  }
  const { mode, uid, gid } = ownership(info);
  const rights = `its mode ${octal(mode ?? 0)} and owner ${uid}:${gid}`;
  const state = modeAllows(info, TO_CONNECT)
    ? `${rights} would let this process connect, but ${POLICY}`
    : `${rights} do not let this process write, which connecting needs. Run as that user or in ` +
      `that group, or have the server widen the mode`;
  return context.error(ConnectDenied, state, { cause, mode, uid, gid });
}

/** Describes the file at a path; `undefined` if it cannot, or if the path is an abstract name. */
function lookAt(path: string, stat: typeof Deno.statSync): Deno.FileInfo | undefined {
  if (path.startsWith("\0")) return undefined;
  try {
    return stat(path);
  } catch {
    // The error says less without it, and that is all.
    return undefined;
  }
}
