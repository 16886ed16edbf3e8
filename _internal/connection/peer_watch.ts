/**
 * A watch for a peer that leaves after its end of file, or with bytes that are not read.
 *
 * The kernel reports to a reader only that the peer sends no more. Whether it is still there shows
 * when something is written, if only no bytes. So the watch asks again and again, with growing
 * pauses.
 */

/** The longest pause, which is how late a peer that has left is noticed. */
const MAX_PAUSE_MS = 250;

/** Asks whether the peer has left, until it has or the watch is stopped. */
export class PeerWatch {
  readonly #ask: () => Promise<boolean>;
  readonly #keepsAlive: () => boolean;
  #isRunning = false;
  #isStopped = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param ask Asks. Reports whether to ask again.
   * @param keepsAlive Reports whether the process may not exit meanwhile.
   */
  constructor(ask: () => Promise<boolean>, keepsAlive: () => boolean) {
    this.#ask = ask;
    this.#keepsAlive = keepsAlive;
  }

  /** Begins to ask, unless it does already. */
  start(): void {
    if (this.#isRunning || this.#isStopped) return;
    this.#isRunning = true;
    this.#run(1);
  }

  /** Stops for good. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #run(pauseMs: number): Promise<void> {
    this.#isRunning = await this.#ask() && !this.#isStopped;
    if (!this.#isRunning) return;
    const timer = setTimeout(() => this.#run(Math.min(2 * pauseMs, MAX_PAUSE_MS)), pauseMs);
    if (!this.#keepsAlive()) Deno.unrefTimer(timer);
    this.#timer = timer;
  }
}
