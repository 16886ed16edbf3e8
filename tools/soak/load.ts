/** What a kind of load is, and what all kinds share. */

import { fromFileUrl } from "@std/path/posix";
import type { Random } from "./random.ts";

/** What is done again and again. */
export interface Course {
  /** How often it is drawn, compared with others. */
  readonly weight: number;
  run(): Promise<void>;
}

/** A process that a load has started. */
export interface ProcessName {
  /** Its role. Those that are replaced share one. */
  readonly role: string;
  readonly pid: number;
  /** Whether others take its place. Otherwise it must live until the end. */
  readonly isReplaced: boolean;
}

/** The counts of a load. */
export type Counts = Record<string, number>;

/** A kind of load. */
export interface Load {
  /** What is done, in a random order, by name. */
  readonly courses: Record<string, Course>;
  /** Restarts or kills something, once between two rests, while the courses run. */
  disturb?(): Promise<void>;
  /** Waits until nothing is open but what is open at each rest. */
  rest?(): Promise<void>;
  /** Returns the processes that it has started. */
  processes?(): Promise<ProcessName[]>;
  /** Ends what it has started. Throws unless both sides have the same counts. */
  end(): Promise<Counts>;
}

/** Where a load runs. */
export interface Setting {
  /** A directory for sockets. */
  readonly directory: string;
  readonly random: Random;
  /** Closes what is left when the soak fails. */
  readonly stack: AsyncDisposableStack;
  /** Fails the soak. */
  readonly fail: (error: unknown) => void;
}

/** Starts a load. */
export type OpenLoad = (setting: Setting) => Promise<Load>;

/** Throws unless something is right. */
export function check(isRight: boolean, what: string): asserts isRight {
  if (!isRight) throw new Error(what);
}

/** Throws unless both sides have the same counts. Returns them. */
export function agreed(served: Counts, used: Counts): Counts {
  const [ours, theirs] = [served, used].map((counts) => JSON.stringify(counts));
  check(ours === theirs, `both sides have different counts: ${ours} and ${theirs}`);
  return used;
}

/** Reports whether bytes are the same. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Reads until the end of file. */
export async function readAll(
  conn: { readable: ReadableStream<Uint8Array> },
): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Response(conn.readable as BodyInit).arrayBuffer());
}

/** How many clients another process gets at once. Its memory grows to its size after hundreds. */
const CLIENTS = 10;

/** Does something several times at once. */
export async function together(run: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: CLIENTS }, run));
}

export function nap(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** How long a busy machine may take for anything. */
export const PATIENCE_MS = 60_000;

/** Waits until something is so. Throws if it takes too long. */
export async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const begin = performance.now();
  while (!await isSo()) {
    check(performance.now() - begin < PATIENCE_MS, `not so after ${PATIENCE_MS} ms: ${what}`);
    await nap(1);
  }
}

/** Waits until a server has noticed that its last client has gone. */
export function untilIdle(server: { readonly connections: number }): Promise<void> {
  return until(() => server.connections === 0, "all connections of a server are closed");
}

/** Returns the arguments of Deno that run a file of this package. */
export function denoArgs(file: string, ...options: string[]): string[] {
  const [config, program] = ["deno.json", file].map((name) =>
    fromFileUrl(new URL(`../../${name}`, import.meta.url))
  );
  return ["run", "--quiet", "-A", "--no-lock", `--config=${config}`, ...options, program!];
}
