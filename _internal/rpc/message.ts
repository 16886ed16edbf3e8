/** The parts of a message, as any peer may have sent them. */

import { shortened, show } from "../base/check.ts";
import { RPC_CODES } from "./codes.ts";
import { ExactNumber, type Id, type WireError } from "./wire.ts";

/** A message that may be a request, a notification or an answer. */
export interface Message {
  jsonrpc?: unknown;
  id?: unknown;
  method?: unknown;
  params?: object | null;
  result?: unknown;
  error?: unknown;
}

/** Returns why a message is not a request, or `undefined` if it is one. */
export function stateOfRequest({ jsonrpc, id, method, params }: Message): string | undefined {
  if (jsonrpc !== "2.0") return 'its jsonrpc is not "2.0"';
  if (method === undefined) return "it has no method, result or error";
  if (typeof method !== "string") return "its method is not a string";
  if (id !== undefined && !isId(id)) return "its id is not a string, a number or null";
  if (params != null && typeof params !== "object") {
    return "its params are not an object or an array";
  }
  return undefined;
}

/** Formats an id for a report. It may be anything, and fill a whole message. */
export function showId(id: unknown): string {
  return isId(id) ? shortened(JSON.stringify(id)) : show(id);
}

/** Reports whether a value can identify a request. */
export function isId(id: unknown): id is Id {
  return id === null || typeof id === "string" || typeof id === "number" ||
    id instanceof ExactNumber;
}

/** Returns the error of an answer, whatever the peer has made of it. */
export function wireErrorOf(error: unknown): WireError {
  const { code, message, data } = Object(error) as Partial<WireError>;
  return {
    code: typeof code === "number" ? code : RPC_CODES.INTERNAL_ERROR,
    message: typeof message === "string" ? message : "The answer is an error without a message",
    ...(data !== undefined && { data }),
  };
}
