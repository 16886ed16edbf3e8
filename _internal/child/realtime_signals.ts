/**
 * Realtime signals that end a child. Deno 2.9.6 has no name for them: node:child_process then
 * rejects a promise that is out of reach, emits no `exit`, and the process would end by that.
 *
 * - The rejection reaches the listeners of `unhandledrejection` in the asynchronous context in which
 *   the child was started. An `AsyncLocalStorage` tells from that which child it was.
 * - The listener exists only while a child does. A listener of yours that was added before sees the
 *   rejection too.
 */

import type { AsyncLocalStorage } from "node:async_hooks";
import { builtin } from "../base/node.ts";

/** What Deno says of a signal that it has no name for. */
const NAMELESS = /^Invalid signal: (\d+)$/;

/** A wait for the signal that ends one child. */
export interface SignalWait {
  /** Resolves to the number of a signal without a name that has ended the child, if one does. */
  number: Promise<number>;
  /** Ends the wait: the child has ended in another way, or was not started. */
  cancel(): void;
}

type Resolve = (number: number) => void;

let storage: AsyncLocalStorage<Resolve> | undefined;
const waiting = new Set<Resolve>();

/** Calls a function that starts a child, and waits for a signal without a name that ends it. */
export function watchSignals<T>(start: () => T): { result: T; ended: SignalWait } {
  const { AsyncLocalStorage } = builtin("node:async_hooks");
  storage ??= new AsyncLocalStorage();
  const { promise, resolve } = Promise.withResolvers<number>();
  if (waiting.size === 0) addEventListener("unhandledrejection", onRejection);
  waiting.add(resolve);
  const cancel = () => {
    waiting.delete(resolve);
    if (waiting.size === 0) removeEventListener("unhandledrejection", onRejection);
  };
  try {
    return { result: storage.run(resolve, start), ended: { number: promise, cancel } };
  } catch (error) {
    cancel();
    throw error;
  }
}

function onRejection(event: PromiseRejectionEvent): void {
  const resolve = storage?.getStore();
  const { reason } = event;
  if (resolve === undefined || !waiting.has(resolve) || !(reason instanceof TypeError)) return;
  const [, number] = NAMELESS.exec(reason.message) ?? [];
  if (number === undefined) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  resolve(Number(number));
}
