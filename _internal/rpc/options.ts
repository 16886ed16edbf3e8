/** The checks of the options of `rpc()`, and their defaults. */

import { json } from "../../framing/json.ts";
import { lines } from "../../framing/lines.ts";
import type { RpcOptions } from "../../rpc/rpc.ts";
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
import type { PeerOptions } from "./peer.ts";

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
