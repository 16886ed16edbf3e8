/** A stopwatch that stands still while other processes have the processors. */

/** Measures a time. Waits for a processor do not count, where the kernel reports them (Linux). */
export class Stopwatch {
  readonly #files: string[];
  readonly #start = performance.now();
  readonly #waited: number;

  /**
   * @param pids Other processes. Their waits do not count either. They must be there at the end.
   */
  constructor(...pids: number[]) {
    this.#files = ["thread-self", ...pids].map((name) => `/proc/${name}/schedstat`);
    this.#waited = this.#waits();
  }

  /** The time since the start, in milliseconds. */
  get ms(): number {
    return performance.now() - this.#start - (this.#waits() - this.#waited);
  }

  /** Returns how long the processes have waited for a processor since they started. */
  #waits(): number {
    if (Deno.build.os !== "linux") return 0;
    // "9666048 76009328 4": nanoseconds with a processor and without, and how often it had one.
    const waits = this.#files.map((file) => Number(Deno.readTextFileSync(file).split(" ")[1]));
    return waits.reduce((sum, ns) => sum + ns, 0) / 1e6;
  }
}
