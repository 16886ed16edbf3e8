/**
 * Lines for standard error that a client can provoke, at most one a second of each kind.
 *
 * - The first line of a kind is written at once. Those that follow within a second are counted, and the
 *   last of them is written when the second is over, with the number of the others.
 * - The timer does not keep the process alive. Call {@linkcode CountedLines.flush} at the end.
 * - With `onlyFirst` the lines that come too fast are dropped, and not counted.
 */

import { isSocketError } from "../../errors.ts";

const INTERVAL_MS = 1000;

/** Kinds that are told apart at the same time; the rest count as one kind. */
const MAX_KINDS = 32;

/** Writes a line. `more` is the number of lines of its kind that were left out just before it. */
export type WriteLine = (more: number) => void;

/** What is known of one kind of line. */
interface Kind {
  writtenAt: number;
  /** The line to write when the second is over. */
  held: WriteLine | undefined;
  /** How many lines were left out before it. */
  more: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Writes lines, and counts those that come too fast. */
export class CountedLines {
  readonly #kinds = new Map<string, Kind>();
  readonly #onlyFirst: boolean;

  constructor({ onlyFirst = false }: { onlyFirst?: boolean } = {}) {
    this.#onlyFirst = onlyFirst;
  }

  /**
   * Writes a line now, or holds it back until a second after the last line of its kind.
   *
   * @param kind What lines must have in common to be counted together.
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

/** Returns what errors have in common that are counted together. */
export function kindOfError(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  if (isSocketError(error)) return [error.name, error.operation, error.code].join(" ");
  // Its message may name the client: the place that threw it does not.
  const place = error.stack?.split("\n").find((line) => /^ +at /.test(line));
  return `${error.name}${place ?? ""}`;
}

/** Returns what to append to a line for those that were left out; nothing for none. */
export function andMore(more: number): string {
  return more === 0 ? "" : ` (and ${more.toLocaleString("en-US")} more like it)`;
}
