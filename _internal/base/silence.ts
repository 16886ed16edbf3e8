/**
 * Limits on how long another process may keep this one waiting. They count silence that was
 * observed: see docs/design/observed_silence.md.
 *
 * - A process can stand still: it is stopped, its container is frozen, a computation holds the
 *   event loop. Then a timer fires late, and before the bytes that came meanwhile have been read.
 * - A timer that fires late is set once more, for the time that it is late, up to the whole limit.
 * - Before the limit counts as over, the event loop polls every socket of the process. Bytes that
 *   are in the kernel by then are read first.
 */

import { countArrivals, delay, onAbort } from "./event_loop.ts";
import { MAX_DELAY_MS } from "./check.ts";

/** Turns of the event loop after which it has polled every socket, if few are open. */
const LEAST_TURNS = 3;
/**
 * Sockets for which one turn more is needed: half of the 128 operations that tokio allows a task at
 * once.
 */
const SOCKETS_PER_TURN = 64;
/**
 * Reads that fill a turn, which then does not count: writes and other sockets may take the rest of
 * the 128 operations, and what comes after them waits for another turn.
 */
const FULL_TURN = 32;
/** The maximum number of turns: a process that is always busy must time out as well. */
const MOST_TURNS = 1000;
/** A pause that takes so much longer than asked for was not observed. */
const STANDSTILL_MS = 50;
/**
 * How often such time is not counted: a process that always takes longer is overloaded, and must
 * time out.
 */
const MOST_STANDSTILLS = 5;

/** The number of connections of this process, each of which may have bytes in the kernel. */
let openSockets = 0;

/** Counts the open connections of this process. */
export function countSocket(change: 1 | -1): void {
  openSockets += change;
}

/** A callback, and the turns of the event loop that it still waits for. */
interface Look {
  freeTurns: number;
  turns: number;
  readonly callback: () => void;
}

/** All looks of the process, which share their turns. */
const looks = new Set<Look>();
let turnTimer: ReturnType<typeof setTimeout> | undefined;
/** The number of arrivals before the turn. */
let arrivals = 0;

/**
 * Calls back when everything that has come to this process so far has been read.
 *
 * @returns A function that cancels it.
 */
export function afterPolling(callback: () => void): () => void {
  const freeTurns = LEAST_TURNS + Math.ceil(openSockets / SOCKETS_PER_TURN);
  const look = { freeTurns, turns: MOST_TURNS, callback };
  looks.add(look);
  if (turnTimer === undefined) beginTurn();
  return () => forget(look);
}

function beginTurn(): void {
  arrivals = countArrivals();
  turnTimer = setTimeout(endTurn, 0);
}

function endTurn(): void {
  const isFree = countArrivals() - arrivals < FULL_TURN;
  turnTimer = undefined;
  for (const look of looks) {
    look.turns--;
    if (isFree) look.freeTurns--;
    if (look.freeTurns > 0 && look.turns > 0) continue;
    looks.delete(look);
    look.callback();
  }
  if (looks.size > 0 && turnTimer === undefined) beginTurn();
}

function forget(look: Look): void {
  looks.delete(look);
  if (looks.size > 0) return;
  clearTimeout(turnTimer);
  turnTimer = undefined;
}

/** A limit on the silence of another process. Most calls of `start()` do not set a timer. */
export class SilenceTimer {
  readonly #onSilence: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires. */
  #firesAt = 0;
  #cancelLook: (() => void) | undefined;
  /** When the limit is over, if the other process stays silent. */
  #due = Infinity;
  #limit = Infinity;
  /** Whether the time for which the process stood still was added. */
  #isExtended = false;

  /** @param onSilence Called when the limit is over. */
  constructor(onSilence: () => void) {
    this.#onSilence = onSilence;
  }

  /** Counts anew from now, because bytes have come. `Infinity` means no limit. */
  start(ms: number): void {
    this.renew(ms);
    this.resume(ms);
  }

  /** Sets the whole limit, without counting yet. */
  renew(ms: number): void {
    this.#limit = ms;
    this.#isExtended = false;
  }

  /** Continues with the time that {@linkcode stop} has returned. */
  resume(ms: number): void {
    if (ms === Infinity) {
      this.stop();
      return;
    }
    const now = performance.now();
    this.#due = now + ms;
    if (this.#cancelLook !== undefined) return;
    if (this.#timer !== undefined && this.#firesAt <= this.#due) return;
    clearTimeout(this.#timer);
    this.#set(now, ms);
  }

  /** Stops, and returns how many milliseconds are left, at least 0. */
  stop(): number {
    if (this.#due === Infinity) return Infinity;
    const left = this.#due - performance.now();
    clearTimeout(this.#timer);
    this.#cancelLook?.();
    this.#timer = this.#cancelLook = undefined;
    this.#due = Infinity;
    return left < 0 ? this.#standstill(-left) : left;
  }

  #set(now: number, ms: number): void {
    this.#firesAt = now + ms;
    this.#timer = setTimeout(() => this.#check(), Math.min(Math.ceil(ms), MAX_DELAY_MS));
  }

  /** Returns the time for which the process stood still, the first time. */
  #standstill(late: number): number {
    if (this.#isExtended) return 0;
    this.#isExtended = true;
    return Math.min(late, this.#limit);
  }

  #check(): void {
    this.#timer = undefined;
    const now = performance.now();
    const left = this.#due - now;
    if (left > 0) return this.#set(now, left);
    const more = this.#standstill(-left);
    if (more >= 1) {
      this.#due = now + more;
      return this.#set(now, more);
    }
    const due = this.#due;
    this.#cancelLook = afterPolling(() => {
      this.#cancelLook = undefined;
      if (this.#due > due) return this.#check();
      this.#due = Infinity;
      this.#onSilence();
    });
  }
}

/**
 * Limits a wait: calls back when the time is over, and when the signal aborts.
 *
 * @param ms The time, in milliseconds.
 * @returns A function that ends both.
 */
export function limitWait(
  ms: number,
  signal: AbortSignal | undefined,
  onTimeout: () => void,
  onAborted: () => void,
): () => void {
  const timer = new SilenceTimer(onTimeout);
  timer.start(ms);
  const stopListening = onAbort(signal, onAborted);
  return () => {
    timer.stop();
    stopListening();
  };
}

/**
 * Waits for a promise until another process was silent for too long. Never rejects.
 *
 * @param promise A promise that settles when the other process has acted.
 * @param ms How long to wait, in milliseconds; `Infinity` for no limit.
 * @returns Whether the promise has settled.
 */
export function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = new SilenceTimer(() => resolve(false));
    const settled = () => {
      timer.stop();
      resolve(true);
    };
    timer.start(ms);
    promise.then(settled, settled);
  });
}

/**
 * The time since a first try, without the time for which the process stood still, and pauses
 * between tries.
 */
export class ObservedTime {
  #at: number = performance.now();
  #asked = 0;
  #elapsed = 0;
  #standstills = 0;

  /** The time so far, in milliseconds. */
  get elapsed(): number {
    const now = performance.now();
    const late = now - this.#at - this.#asked;
    const stoodStill = late > STANDSTILL_MS && ++this.#standstills <= MOST_STANDSTILLS;
    this.#elapsed += stoodStill ? this.#asked : now - this.#at;
    this.#at = now;
    this.#asked = 0;
    return this.#elapsed;
  }

  /** Waits before the next try. */
  async pause(ms: number, signal?: AbortSignal): Promise<void> {
    this.#asked += ms;
    await delay(ms, signal);
  }
}
