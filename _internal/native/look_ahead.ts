/**
 * A transport for two processes that take turns: it looks for the answer of the other one for some
 * microseconds, by system calls that do not wait, before it waits as Deno does.
 *
 * Most of a round trip is the time in which a sleeping processor wakes up. While both ends look,
 * neither sleeps. The transport below waits, and reports the end of file and all failures but one.
 *
 * ```
 *            8 turns in which nothing else was busy
 *   waiting ───────────────────────────────────────▶ looking
 *      ▲                                                │
 *      ├── another connection is busy, or bulk ─────────┤
 *      └── looking took longer than waiting would ──────┘
 * ```
 */

import { countArrivals, othersTurn } from "../base/event_loop.ts";
import { codeOf } from "../base/failure.ts";
import type { Transport } from "../connection/socket_connection.ts";
import { EAGAIN, FIONREAD, MSG_DONTWAIT, MSG_NOSIGNAL } from "../libc/constants.ts";
import { errnoOf, failureOf } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";

const FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;

/** How many turns must have passed: a short connection would gain nothing. */
const LEAST_TURNS = 8;
/** How many reads, and how many writes, may be one turn: a header and a body, for example. */
const MAX_CALLS_PER_TURN = 4;
/** A read or a write of more bytes is bulk. */
const MAX_TURN_BYTES = 16 * 1024;

/** After how many reads that found bytes timers run. */
const MAX_READS = 64;
/** After how many milliseconds without a wait all other sockets of the process are polled. */
const MAX_STANDSTILL_MS = 2;

/**
 * How many times as long as usual the first look after a wait may take. Then the other end sleeps,
 * and wakes up within about a tenth of a millisecond.
 */
const MAX_FIRST_LOOK = 8;
/** The first look takes longer than the wait before it by this factor. */
const MARGIN = 1.25;
/**
 * What looking may lose against waiting before it is left out, in milliseconds: at first, and after
 * it has gained. A processor that others need is given back after some milliseconds.
 */
const FIRST_CREDIT_MS = 0.25;
const MAX_CREDIT_MS = 4;
/** The time without looks, as a multiple of what was lost: at first, and after many losses. */
const LEAST_PAUSE = 16;
const MAX_LOSSES = 16;
/** During such a pause, the time of one read among so many is measured. */
const READS_PER_SAMPLE = 8;
/** A longer time counts as this one: the process may have been stopped. */
const MAX_COUNTED_MS = 5;

/** The result of a try that found nothing. */
const NOTHING = -1;

const FIONREAD_REQUEST = BigInt(FIONREAD);
const unread = new Int32Array(new ArrayBuffer(4));

/** Reads and writes without waiting, over a transport that waits. */
export class LookAhead implements Transport {
  readonly #below: Transport;
  readonly #libc: Libc;
  #fd: number;
  #lookMs: number;
  readonly #leastTurns: number;
  /** How many reads wait below. Those that come later wait behind them. */
  #waiting = 0;
  readonly #settled = () => void this.#waiting--;
  /** While a read yields to others, the reads after it wait for it. */
  #others: Promise<void> | undefined;

  #turns = 0;
  /** The calls in this turn. */
  #reads = 0;
  #writes = 0;
  /** The arrivals at all connections of the process before the last read. */
  #arrivals = 0;

  /** How long the wait before took; 0 if bytes were found since. */
  #waitedMs = 0;
  /** How long a wait takes on average. */
  #usualWaitMs = 0;
  #creditMs = FIRST_CREDIT_MS;
  #losses = 0;
  /** How many reads are still to wait after a loss. */
  #pause = 0;

  #readsSinceTimers = 0;
  /** When the first read after a wait was; `undefined` before it. */
  #lookingSince: number | undefined;

  /**
   * @param below Waits. Closing this closes it.
   * @param fd Its descriptor.
   * @param lookForUs How long to look, in microseconds.
   * @param leastTurns How many turns must have passed. With 0 there are no turns: every read looks.
   */
  constructor(
    below: Transport,
    libc: Libc,
    fd: number,
    lookForUs: number,
    leastTurns: number = LEAST_TURNS,
  ) {
    this.#below = below;
    this.#libc = libc;
    this.#fd = fd;
    this.#lookMs = lookForUs / 1000;
    this.#leastTurns = leastTurns;
  }

  /** Looks for so many microseconds from now on. */
  lookFor(us: number): void {
    this.#lookMs = us / 1000;
  }

  /** The descriptor, while it is open. */
  get fd(): number | undefined {
    return this.#fd < 0 ? undefined : this.#fd;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    if (this.#others !== undefined) return this.#others.then(() => this.read(buffer));
    this.#countRead();
    // Those that come later wait behind it below.
    if (this.#turns === 0 && this.#leastTurns > 0) return this.#below.read(buffer);
    if (this.#turns < this.#leastTurns || this.#waiting > 0 || buffer.length === 0) {
      return this.#wait(buffer);
    }
    if (this.#pause > 0) {
      const isSample = --this.#pause % READS_PER_SAMPLE === 0;
      return this.#wait(buffer, isSample ? performance.now() : undefined);
    }
    const now = performance.now();
    // A peer that takes so long is not waited for.
    const isSlow = this.#waitedMs > MAX_FIRST_LOOK * this.#lookMs;
    if (isSlow || this.#below.hasBytes === true) return this.#wait(buffer, now);
    const isLate = now - (this.#lookingSince ??= now) > MAX_STANDSTILL_MS;
    if (!isLate && ++this.#readsSinceTimers < MAX_READS) return this.#look(buffer, now);
    // A wait polls all sockets.
    return isLate && !this.#hasCome() ? this.#wait(buffer, now) : this.#afterOthers(buffer, isLate);
  }

  /** Counts a read, and no turn if something else is busy or this is bulk. */
  #countRead(): void {
    const arrivals = countArrivals();
    const isAlone = arrivals - this.#arrivals <= 1;
    this.#arrivals = arrivals;
    this.#writes = 0;
    if (!isAlone || ++this.#reads > MAX_CALLS_PER_TURN) this.#turns = 0;
  }

  /** Waits as the transport below does. With `from`, notes how long it takes since then. */
  #wait(buffer: Uint8Array, from?: number): Promise<number | null> {
    this.#waiting++;
    this.#readsSinceTimers = 0;
    this.#lookingSince = undefined;
    const reading = this.#below.read(buffer);
    const settled = from === undefined ? this.#settled : () => {
      this.#settled();
      this.#waited(performance.now() - from);
    };
    reading.then(settled, settled);
    return reading;
  }

  #waited(ms: number): void {
    this.#waitedMs = ms;
    const usual = this.#usualWaitMs || ms;
    this.#usualWaitMs = usual + (Math.min(ms, MAX_COUNTED_MS) - usual) / 8;
  }

  /** Reads after timers, or after all that is ready in this process. */
  #afterOthers(buffer: Uint8Array, isLate: boolean): Promise<number | null> {
    this.#readsSinceTimers = 0;
    if (isLate) this.#lookingSince = undefined;
    const others = isLate ? othersTurn() : new Promise((resolve) => setImmediate(resolve));
    const reading = others.then(() => {
      this.#others = undefined;
      const isBelow = this.#fd < 0 || this.#below.hasBytes === true;
      return isBelow ? this.#wait(buffer) : this.#look(buffer, performance.now());
    });
    this.#others = reading.then(() => {}, () => {});
    return reading;
  }

  /** Looks for bytes for some microseconds, and then waits. */
  #look(buffer: Uint8Array, from: number): Promise<number | null> {
    const limitMs = Math.max(this.#lookMs, MARGIN * this.#waitedMs);
    let count = NOTHING;
    do {
      // If the peer waits for this processor, it gets it.
      this.#libc.sched_yield();
      count = this.#libc.recv(this.#fd, buffer, BigInt(buffer.length), FLAGS);
      if (count < 0) {
        const reset = this.#resetTaken();
        if (reset !== undefined) return Promise.reject(reset);
      }
    } while (count < 0 && performance.now() - from < limitMs);
    this.#count(performance.now() - from, count >= 0);
    if (count <= 0) return this.#wait(buffer, from);
    this.#waitedMs = 0;
    if (count > MAX_TURN_BYTES) this.#turns = 0;
    return Promise.resolve(count);
  }

  /** Compares a look with a wait, and leaves out looks for a while if they have lost too much. */
  #count(tookMs: number, hasFound: boolean): void {
    const gain = (hasFound ? this.#usualWaitMs : 0) - Math.min(tookMs, MAX_COUNTED_MS);
    this.#creditMs = Math.min(this.#creditMs + gain, MAX_CREDIT_MS);
    if (this.#creditMs === MAX_CREDIT_MS) this.#losses = 0;
    if (this.#creditMs > 0) return;
    this.#losses = Math.min(this.#losses + 1, MAX_LOSSES);
    const lost = (FIRST_CREDIT_MS - this.#creditMs) / (this.#usualWaitMs || this.#lookMs);
    this.#pause = Math.ceil(lost * LEAST_PAUSE * this.#losses);
    this.#creditMs = FIRST_CREDIT_MS;
  }

  /**
   * Returns the reset that the last call has taken from the socket. The kernel reports it once, so
   * the transport below would report the end of file.
   */
  #resetTaken(): Error | undefined {
    const errno = errnoOf(this.#libc);
    if (errno === EAGAIN) return undefined;
    const failure = failureOf(this.#libc, errno);
    return codeOf(failure) === "ECONNRESET" ? failure : undefined;
  }

  /** Reports whether bytes are there. */
  #hasCome(): boolean {
    return this.#libc.ioctl(this.#fd, FIONREAD_REQUEST, unread) === 0 && unread[0]! > 0;
  }

  write(data: Uint8Array): Promise<number> {
    this.#reads = 0;
    if (this.#writes++ === 0) this.#turns++;
    if (data.length > MAX_TURN_BYTES || this.#writes > MAX_CALLS_PER_TURN) this.#turns = 0;
    if (this.#turns >= this.#leastTurns && data.length > 0) {
      const count = this.#libc.send(this.#fd, data, BigInt(data.length), FLAGS);
      if (count > 0) return Promise.resolve(count);
    }
    return this.#below.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#below.closeWrite();
  }

  close(): void {
    this.#fd = -1;
    this.#below.close();
  }

  ref(): void {
    this.#below.ref();
  }

  unref(): void {
    this.#below.unref();
  }
}
