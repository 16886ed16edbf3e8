/** Standard output and standard error, by which everything that a command writes leaves. */

import { QuietEnd } from "../exit_codes.ts";

/** The pauses before a descriptor that does not block is tried again double from the first to the last. */
const FIRST_PAUSE_MS = 1;
const LAST_PAUSE_MS = 50;

/** What a pipe takes as a whole or not at all (PIPE_BUF of Linux). */
const ATOMIC_BYTES = 4096;
/** The buffer that the runtime has before standard output. */
const RUNTIME_BUFFER_BYTES = 1024;
/** What may wait for standard error while it takes nothing; more is dropped. */
const MAX_PENDING_BYTES = 1024 * 1024;

const LF = 10;
const NOTHING = new Uint8Array(0);

/** Returns how long to wait after a pause, when still nothing was taken. */
export function nextPause(pause: number): number {
  return Math.min(2 * pause || FIRST_PAUSE_MS, LAST_PAUSE_MS);
}

/** Waits before the next attempt with a descriptor that does not block. */
export function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What is still to be written, and how. */
interface Step {
  readonly bytes: Uint8Array;
  /** Whether the runtime keeps the bytes where the descriptor does not take them. */
  readonly kept: boolean;
}

/**
 * Writes all of it to standard output.
 *
 * The flag `O_NONBLOCK` belongs to the open file, so another process may have set it. A write then fails
 * when the reader is slow. The runtime does not say how much it has written by then, because it buffers
 * lines (Rust's `LineWriter`). So bytes are written in steps of which it takes all or nothing.
 */
async function writeOutput(bytes: Uint8Array): Promise<void> {
  for (let at = 0, pause = 0; at < bytes.length;) {
    const { bytes: step, kept } = await nextStep(bytes.subarray(at));
    try {
      at += await Deno.stdout.write(step);
      pause = 0;
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      if (kept) {
        await flushRuntime();
        at += step.length;
      } else {
        await rest(pause = nextPause(pause));
      }
    }
  }
}

/** Waits until the runtime has written what it keeps. */
async function flushRuntime(): Promise<void> {
  for (let pause = nextPause(0);; pause = nextPause(pause)) {
    await rest(pause);
    try {
      await Deno.stdout.write(NOTHING);
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    }
  }
}

/** Returns how much to write at once. */
async function nextStep(bytes: Uint8Array): Promise<Step> {
  const isTerminal = Deno.stdout.isTerminal();
  const first = bytes.indexOf(LF);
  if (first < 0) return { bytes, kept: bytes.length < RUNTIME_BUFFER_BYTES };
  if ((bytes.length > ATOMIC_BYTES || isTerminal) && await isBlocking()) {
    return { bytes, kept: false };
  }
  // Bytes without a line feed are not buffered, unless they are few.
  if (first >= RUNTIME_BUFFER_BYTES) return { bytes: bytes.subarray(0, first), kept: false };
  if (isTerminal) {
    // It may take a part of any size.
    return first > 0
      ? { bytes: bytes.subarray(0, first), kept: true }
      : { bytes: bytes.subarray(0, 1), kept: false };
  }
  const last = bytes.lastIndexOf(LF, ATOMIC_BYTES - 1);
  return { bytes: bytes.subarray(0, last + 1), kept: false };
}

/** The permissions without which Deno shows nothing of `/proc`. */
const ALL = ["read", "write", "net", "env", "run", "sys", "ffi"] as const;
let mayLook: boolean | undefined;
let isFile: boolean | undefined;

/** Whether this process sees `/proc`. */
export function mayReadProc(): boolean {
  return mayLook ??= Deno.build.os === "linux" &&
    ALL.every((name) => Deno.permissions.querySync({ name }).state === "granted");
}

/** Whether standard output is known to block, or is a file, which always takes everything. */
async function isBlocking(): Promise<boolean> {
  if (Deno.build.os === "windows") return true;
  if (mayReadProc()) {
    try {
      const flags = Deno.readTextFileSync("/proc/self/fdinfo/1").match(/^flags:\s*([0-7]+)$/m);
      if (flags !== null) return (Number.parseInt(flags[1]!, 8) & O_NONBLOCK) === 0;
    } catch {
      // A system without /proc.
    }
    mayLook = false;
  }
  if (isFile === undefined) {
    try {
      isFile = (await import("node:fs")).fstatSync(1).isFile();
    } catch {
      isFile = false;
    }
  }
  return isFile;
}

/** Of Linux on x86-64 and arm64. */
const O_NONBLOCK = 0o4000;

/** Writes to standard output one after another. */
let lastWrite: Promise<void> = Promise.resolve();

/** Writes all of it to standard output, after everything that was printed before. */
export async function print(data: Uint8Array | string): Promise<void> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const writing = lastWrite.then(() => writeOutput(bytes));
  lastWrite = writing.catch(() => {});
  try {
    await writing;
  } catch (cause) {
    if (cause instanceof Deno.errors.BrokenPipe) throw new QuietEnd("nobody reads the output");
    throw new Error(`Cannot write to standard output: ${(cause as Error).message}`, { cause });
  }
}

/** What standard error has not taken yet. */
let pending: Uint8Array[] = [];
let pendingBytes = 0;
let writingErrors: Promise<void> | undefined;

/**
 * Writes to standard error: at once, as long as it takes everything. What it does not take is written
 * later, up to 1 MiB. What cannot be written at all is dropped, because there is no place to say so.
 */
export function printError(data: Uint8Array | string): void {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  let at = 0;
  if (writingErrors === undefined) {
    try {
      while (at < bytes.length) at += Deno.stderr.writeSync(bytes.subarray(at));
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) return;
    }
  }
  if (at === bytes.length || pendingBytes > MAX_PENDING_BYTES) return;
  const left = bytes.slice(at);
  pending.push(left);
  pendingBytes += left.length;
  writingErrors ??= writePending();
}

/** Writes all of it to standard error, and waits until that has taken it. */
export async function passToErrors(data: Uint8Array): Promise<void> {
  pending.push(data);
  pendingBytes += data.length;
  await (writingErrors ??= writePending());
}

/** Waits until standard error has taken everything. */
export async function errorsPrinted(): Promise<void> {
  await writingErrors;
}

async function writePending(): Promise<void> {
  try {
    for (let pause = 0; pending.length > 0;) {
      const [first] = pending as [Uint8Array];
      try {
        const count = await Deno.stderr.write(first);
        pendingBytes -= count;
        if (count < first.length) pending[0] = first.subarray(count);
        else pending.shift();
        pause = 0;
      } catch (error) {
        if (!(error instanceof Deno.errors.WouldBlock)) throw error;
        await rest(pause = nextPause(pause));
      }
    }
  } catch {
    // Nobody reads it any more.
    pending = [];
    pendingBytes = 0;
  } finally {
    writingErrors = undefined;
  }
}
