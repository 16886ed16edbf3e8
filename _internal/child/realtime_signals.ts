/**
 * Realtime signals that end a child. Deno 2.9.6 has no name for them: node:child_process emits no
 * `exit` and rejects a promise that is out of reach. Unhandled, that would end this process.
 *
 * - The listeners of `unhandledrejection` run in the asynchronous context in which the child was
 *   started. An `AsyncLocalStorage` finds the child by that.
 * - The listener exists only while a child does. A listener that the program added before sees the
 *   rejection too.
 */

import type { AsyncLocalStorage } from "node:async_hooks";
import { builtin } from "../base/node.ts";

/** Deno's message for a signal without a name. */
const NAMELESS = /^Invalid signal: (\d+)$/;

/** A wait for a signal without a name that ends one child. */
export interface SignalWait {
  /** Resolves to the number of the signal when it has ended the child. */
  number: Promise<number>;
  /** Ends the wait, when the child has ended otherwise or was not started. */
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
