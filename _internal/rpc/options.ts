/** The options of `rpc()`, their checks, and their defaults. */

import type { Codec } from "../../framing/codec.ts";
import { json } from "../../framing/json.ts";
import { lines } from "../../framing/lines.ts";
import {
  checkCount,
  checkFunction,
  checkInteger,
  type Checks,
  checkSignal,
  duration,
  show,
} from "../base/check.ts";
import { checkCodec } from "../messages/codec_support.ts";
import type { BuiltIns, Methods } from "./requests.ts";

/**
 * Options of {@linkcode rpc}.
 *
 * @category Calls
 */
export interface RpcOptions {
  /**
   * The methods that the peer may call: an object of functions. Inherited properties are not
   * methods.
   *
   * @default {none}
   */
  methods?: Methods | undefined;
  /**
   * The codec of the messages: `json(contentLength())` for language servers, or a codec of objects
   * in another format. Its `maxBytes` limits a message.
   *
   * @default {json(lines())}
   */
  codec?: Codec<unknown> | undefined;
  /**
   * The maximum number of methods that run at the same time. Further requests wait, and run in the
   * order in which they came.
   *
   * @default {100}
   */
  maxConcurrent?: number | undefined;
  /**
   * The maximum number of requests that wait to run. Then reading stops, until one may run, and the
   * peer cannot send more than the kernel holds. While a call of this side waits for its answer,
   * reading goes on, and further requests are refused with `RPC_CODES.BUSY`.
   *
   * @default {1000}
   */
  maxQueued?: number | undefined;
  /**
   * The maximum number of requests in a batch. A larger one is refused as a whole, with
   * `RPC_CODES.INVALID_REQUEST`.
   *
   * @default {1000}
   */
  maxBatch?: number | undefined;
  /**
   * The maximum number of calls of this side that wait for an answer. A further one rejects with
   * `Deno.errors.Busy`, and is not sent.
   *
   * @default {65536}
   */
  maxCalls?: number | undefined;
  /**
   * How long, in milliseconds, a call waits for its answer, unless it has its own `timeout`.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
  /**
   * Ends the connection when it aborts: pass `info.draining` of a server's handler. The methods
   * that run or wait are finished and answered. Requests that come later are refused with
   * `RPC_CODES.DRAINING`. The last message is the notification `$/closing`: no request without an
   * answer will run. Then the connection closes. When the peer sends this notification, the calls
   * that wait for it reject with `RPC_CODES.DRAINING`.
   */
  draining?: AbortSignal | undefined;
  /**
   * The notification about a call that was given up, in both directions. Its parameters are
   * `{ id }`. The default is that of language servers. A peer that does not know it ignores it.
   * With `null`, nothing is sent, and nothing is canceled.
   *
   * @default {"$/cancelRequest"}
   */
  cancelMethod?: string | null | undefined;
  /**
   * Called with each failure that no call rejects with. The connection goes on, even if this
   * throws.
   *
   * - With `method`: the method has thrown something other than an `RpcError`, or a notification
   *   has failed.
   * - Without: the peer sent a message that is malformed, or an answer to no call of this side, or
   *   a result could not be sent.
   *
   * @default {prints the error on standard error: at most one a second of each kind}
   */
  onError?: ((error: unknown, method?: string) => void) | undefined;
}

/** The options of a peer, with their defaults. */
export type PeerOptions =
  & {
    readonly [K in keyof Omit<RpcOptions, "draining" | "onError">]-?: Exclude<
      RpcOptions[K],
      undefined
    >;
  }
  & Pick<RpcOptions, "draining" | "onError">
  & { readonly builtIns?: BuiltIns };

export const RPC_CHECKS: Checks<RpcOptions> = {
  methods: checkMethods,
  codec: checkCodec,
  maxConcurrent: checkCount,
  maxQueued: (name, value) => checkInteger(name, value, 0, Number.MAX_SAFE_INTEGER),
  maxBatch: checkCount,
  maxCalls: checkCount,
  timeout: duration(1),
  draining: checkSignal,
  cancelMethod: checkCancelMethod,
  onError: checkFunction,
};

/** Returns the options with their defaults. */
export function withDefaults(options: RpcOptions): PeerOptions {
  return {
    ...options,
    methods: options.methods ?? {},
    codec: options.codec ?? json(lines()),
    maxConcurrent: options.maxConcurrent ?? 100,
    maxQueued: options.maxQueued ?? 1000,
    maxBatch: options.maxBatch ?? 1000,
    maxCalls: options.maxCalls ?? 65536,
    timeout: options.timeout ?? Infinity,
    cancelMethod: options.cancelMethod === undefined ? "$/cancelRequest" : options.cancelMethod,
  };
}

function checkMethods(name: string, value: unknown): void {
  const prototype = typeof value === "object" && value !== null && Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return;
  throw new TypeError(
    `Invalid ${name}: expected an object of functions, such as { add }, got ${show(value)}`,
  );
}

function checkCancelMethod(name: string, value: unknown): void {
  if (value === null || typeof value === "string") return;
  throw new TypeError(`Invalid ${name}: expected a string or null, got ${show(value)}`);
}
