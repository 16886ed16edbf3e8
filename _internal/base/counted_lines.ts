/**
 * Lines on standard error that clients can provoke: at most one a second of each kind.
 *
 * - The first line of a kind is written at once. Lines that follow within a second are counted. The
 *   last of them is written at the end of that second, with the number of the others.
 * - The timer does not keep the process alive. Call {@linkcode CountedLines.flush} at the end.
 * - With `onlyFirst`, lines that come too fast are dropped without counting.
 */

import { isSocketError } from "../../errors.ts";
import { messageOf } from "./failure.ts";
import { readThrown } from "./thrown.ts";

const INTERVAL_MS = 1000;

/** The maximum number of kinds at the same time; all others count as one. */
const MAX_KINDS = 32;

/** Writes a line. `more` is the number of lines of its kind left out just before it. */
export type WriteLine = (more: number) => void;

/** The state of one kind of line. */
interface Kind {
  writtenAt: number;
  /** The line to write at the end of the second. */
  held: WriteLine | undefined;
  /** The number of lines left out before it. */
  more: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Writes lines, and counts those that follow too fast. */
export class CountedLines {
  readonly #kinds = new Map<string, Kind>();
  readonly #onlyFirst: boolean;

  constructor({ onlyFirst = false }: { onlyFirst?: boolean } = {}) {
    this.#onlyFirst = onlyFirst;
  }

  /**
   * Writes a line now, or holds it back until a second after the last line of its kind.
   *
   * @param kind Lines of the same kind are counted together.
   * @param write Writes the line.
   */
  add(kind: string, write: WriteLine): void {
    const now = performance.now();
    const known = this.#find(kind, now);
    if (known.held !== undefined) {
      known.held = write;
      known.more++;
    } else if (now - known.writtenAt >= INTERVAL_MS) {
      known.writtenAt = now;
      write(0);
    } else if (this.#onlyFirst) {
      known.writtenAt = now;
    } else {
      known.held = write;
      known.timer = setTimeout(() => writeHeld(known), known.writtenAt + INTERVAL_MS - now);
      Deno.unrefTimer(known.timer);
    }
  }

  /** Writes the lines that are held back. */
  flush(): void {
    for (const kind of this.#kinds.values()) writeHeld(kind);
  }

  #find(kind: string, now: number): Kind {
    const known = this.#kinds.get(kind);
    if (known !== undefined) return known;
    if (this.#kinds.size >= MAX_KINDS) {
      for (const [name, { held, writtenAt }] of this.#kinds) {
        if (held === undefined && now - writtenAt >= INTERVAL_MS) this.#kinds.delete(name);
      }
      if (this.#kinds.size >= MAX_KINDS && kind !== "") return this.#find("", now);
    }
    const added: Kind = { writtenAt: -Infinity, held: undefined, more: 0, timer: undefined };
    this.#kinds.set(kind, added);
    return added;
  }
}

function writeHeld(kind: Kind): void {
  const { held, more } = kind;
  if (held === undefined) return;
  clearTimeout(kind.timer);
  kind.held = kind.timer = undefined;
  kind.more = 0;
  kind.writtenAt = performance.now();
  held(more);
}

/** Returns the kind of an error. */
export function kindOfError(error: unknown): string {
  return readThrown(() => readKind(error), typeof error);
}

function readKind(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  if (isSocketError(error)) return [error.name, error.operation, error.code].join(" ");
  // Its message may name the client. The place that threw it does not.
  const place = error.stack?.split("\n").find((line) => /^ +at /.test(line));
  return `${error.name}${place ?? ""}`;
}

/** Returns the words to append to a line for those left out; an empty string if there are none. */
export function andMore(more: number): string {
  return more === 0 ? "" : ` (and ${more.toLocaleString("en-US")} more like it)`;
}

/**
 * Prints an error with its stack, and the number of those left out. Never throws.
 *
 * @param what What has failed. A thrown value that is not an error does not say where it is from.
 */
export function printError(error: unknown, more: number, what?: string): void {
  const words = more === 0 ? [] : [andMore(more).trim()];
  const start = what === undefined ? [] : ["%s:", `uds: ${what} has failed`];
  for (const shown of [error, messageOf(error)]) {
    try {
      return console.error(...start, shown, ...words);
    } catch {
      // The console cannot show the value, or standard error is closed.
    }
  }
}
