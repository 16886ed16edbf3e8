/** The writer of standard output and standard error: every command writes through it. */

import { delay } from "../../_internal/base/event_loop.ts";
import { QuietEnd } from "../exit_codes.ts";
import type { CommonFlags } from "../parse/command.ts";
import { failure } from "../text/failure.ts";
import { readProc } from "./proc.ts";

/**
 * The pauses, in milliseconds, between retries on a descriptor that does not block. They double.
 */
const FIRST_PAUSE_MS = 1;
const LAST_PAUSE_MS = 50;

/** A pipe takes up to so many bytes as a whole or not at all (PIPE_BUF of Linux). */
const ATOMIC_BYTES = 4096;
/** The size of the runtime's own buffer before standard output. */
const RUNTIME_BUFFER_BYTES = 1024;
/** The maximum number of bytes to hold while standard error takes nothing. More is dropped. */
const MAX_PENDING_BYTES = 1024 * 1024;
/** The flag of Linux on x86-64 and arm64. */
const O_NONBLOCK = 0o4000;

const LF = 10;
const NOTHING = new Uint8Array(0);

/** Retries an operation until its descriptor, which may not block, is ready. */
export async function whenReady<T>(operate: () => Promise<T>): Promise<T> {
  for (let pause = FIRST_PAUSE_MS;; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
    try {
      return await operate();
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    }
    await delay(pause);
  }
}

/** The last write to standard output: writes follow one another. */
let lastWrite: Promise<void> = Promise.resolve();

/** Writes all data to standard output, after everything that was printed before. */
export async function print(data: Uint8Array | string): Promise<void> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const writing = lastWrite.then(() => writeOutput(bytes));
  lastWrite = writing.catch(() => {});
  try {
    await writing;
  } catch (cause) {
    if (cause instanceof Deno.errors.BrokenPipe) throw new QuietEnd("the output has no reader");
    throw failure("Cannot write to standard output", cause as Error);
  }
}

/**
 * Writes all bytes to standard output.
 *
 * Another process may have set `O_NONBLOCK` on the open file. Then a write fails while the reader
 * is slow, and the runtime does not return how much it wrote: it buffers lines (Rust's
 * `LineWriter`). So this writes in steps that the runtime takes as a whole or not at all.
 */
async function writeOutput(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const step = await nextStep(bytes.subarray(at));
    const isBuffered = step.length < RUNTIME_BUFFER_BYTES && !step.includes(LF);
    at += isBuffered ? await writeBuffered(step) : await whenReady(() => Deno.stdout.write(step));
  }
}

/** Writes bytes that the runtime buffers, also if the descriptor does not take them yet. */
async function writeBuffered(bytes: Uint8Array): Promise<number> {
  try {
    return await Deno.stdout.write(bytes);
  } catch (error) {
    if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    // An empty write succeeds when the buffer is written.
    await whenReady(() => Deno.stdout.write(NOTHING));
    return bytes.length;
  }
}

/** Returns the part to write at once. */
async function nextStep(bytes: Uint8Array): Promise<Uint8Array> {
  const first = bytes.indexOf(LF);
  const isTerminal = Deno.stdout.isTerminal();
  const isLarge = bytes.length > ATOMIC_BYTES;
  if (first < 0 || (isLarge || isTerminal) && await isBlocking()) return bytes;
  if (first >= RUNTIME_BUFFER_BYTES) return bytes.subarray(0, first);
  // A terminal may take a part of any size: only what is buffered, or one byte, is safe.
  if (isTerminal) return bytes.subarray(0, Math.max(first, 1));
  return bytes.subarray(0, bytes.lastIndexOf(LF, ATOMIC_BYTES - 1) + 1);
}

let isFile: boolean | undefined;

/**
 * Reports whether standard output is known to block, or is a file, which always takes everything.
 */
async function isBlocking(): Promise<boolean> {
  if (Deno.build.os === "windows") return true;
  const [, flags] = readProc("self/fdinfo/1")?.match(/^flags:\s*([0-7]+)$/m) ?? [];
  if (flags !== undefined) return (Number.parseInt(flags, 8) & O_NONBLOCK) === 0;
  try {
    return isFile ??= (await import("node:fs")).fstatSync(1).isFile();
  } catch {
    return isFile = false;
  }
}

/** The number of bytes that standard error has not taken yet. */
let pendingBytes = 0;
let lastError: Promise<void> = Promise.resolve();

/**
 * Writes to standard error, at once as far as possible. The rest follows later, up to 1 MiB. What
 * cannot be written is dropped, because there is nowhere to report it.
 */
export function printError(text: string): void {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  if (pendingBytes === 0) {
    try {
      while (at < bytes.length) at += Deno.stderr.writeSync(bytes.subarray(at));
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) return;
    }
  }
  if (at < bytes.length && pendingBytes <= MAX_PENDING_BYTES) pipeToStderr(bytes.subarray(at));
}

/** Writes all data to standard error. Resolves when it has taken everything. */
export function pipeToStderr(data: Uint8Array): Promise<void> {
  pendingBytes += data.length;
  return lastError = lastError.then(() => writeError(data));
}

/** Waits until standard error has taken everything. */
export function errorsPrinted(): Promise<void> {
  return lastError;
}

async function writeError(data: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < data.length;) {
      at += await whenReady(() => Deno.stderr.write(data.subarray(at)));
    }
  } catch {
    // It has no reader any more.
  }
  pendingBytes -= data.length;
}

/** The maximum number of characters to gather. Callers wait when there are more. */
const MAX_GATHERED_CHARS = 256 * 1024;

/** Lines for standard output or a file that are gathered while earlier ones are written. */
export class GatheredOutput {
  readonly #onError: (error: unknown) => void;
  readonly #print: (text: string) => Promise<void>;
  #text = "";
  #writing: Promise<void> | undefined;
  #batch: Promise<void> | undefined;

  /** @param onError Called when nothing can be printed any more. */
  constructor(
    onError: (error: unknown) => void,
    write: (text: string) => Promise<void> = print,
  ) {
    this.#onError = onError;
    this.#print = write;
  }

  /** Adds a line. Returns a promise to await before adding more, if enough is waiting. */
  add(line: string): Promise<void> | undefined {
    this.#text += line;
    this.#writing ??= this.#write();
    return this.#text.length > MAX_GATHERED_CHARS ? this.#batch : undefined;
  }

  /** Waits until everything is written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    // Lines that follow in the same turn are written together.
    await (this.#batch = new Promise((resolve) => void setImmediate(resolve)));
    try {
      while (this.#text !== "") {
        const text = this.#text;
        this.#text = "";
        await (this.#batch = this.#print(text));
      }
    } catch (error) {
      this.#text = "";
      this.#onError(error);
    } finally {
      this.#writing = undefined;
    }
  }
}

/** The shortest time between two updates. */
const UPDATE_MS = 100;

/** A line of progress on standard error, if that is a terminal. */
export class Progress implements Disposable {
  readonly #isShown: boolean;
  #next = 0;

  constructor({ json, quiet }: CommonFlags) {
    this.#isShown = !json && !quiet && Deno.stderr.isTerminal();
  }

  /** Replaces the line, unless it was replaced just before. */
  show(what: string, value: () => string): void {
    if (!this.#isShown) return;
    const now = performance.now();
    if (now < this.#next) return;
    this.#next = now + UPDATE_MS;
    printError(`\r\x1b[K${what}: ${value()}`);
  }

  /** Clears the line. */
  [Symbol.dispose](): void {
    if (this.#isShown) printError("\r\x1b[K");
  }
}
