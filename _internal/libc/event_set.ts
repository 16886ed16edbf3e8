/** The parts of a `Readiness`, of which each system has its own. */

/** A set of descriptors that the kernel watches. */
export interface EventSet {
  /** The descriptor of the set. It can be polled: it can be read when an event has come. */
  readonly fd: number;
  /**
   * Watches a descriptor for one event.
   *
   * @param events `POLLIN`, `POLLOUT`, or both.
   * @returns Whether it can be watched. A file cannot: it can always be read and written.
   */
  arm(fd: number, events: number): boolean;
  /** Stops watching a descriptor. Never throws. */
  remove(fd: number): void;
  /** Passes on the events that have come. Does not wait. */
  take(came: (fd: number, events: number) => void): void;
}

/** Calls back from the event loop when a set has events. */
export interface Alarm {
  /** Calls back once: at the next event, or soon if there is one. */
  start(): void;
  /** Keeps the process alive, which it does not at first. */
  ref(): void;
  /** Allows the process to exit. */
  unref(): void;
}
