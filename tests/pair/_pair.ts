/** Helpers that the tests of `pair` share. */

import { type Child, isSocketError, pair, type PairOptions, type SocketError } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path/posix";
import { readText, ROOT } from "../_helpers.ts";

export const KIB = 1024;

export const MIB: number = 1024 * KIB;

/** A fixture's path. */
export function file(name: string): string {
  return join(ROOT, "tests/fixtures", name);
}

/** A path as a URL. */
export function toFileUrl(path: string): URL {
  return new URL(path, "file:///");
}

/** A module that needs nothing. */
export const MODULE: URL = toFileUrl(file("pair_plain.ts"));

/** A shell with a script as the child. */
export function shell(script: string, options: PairOptions = {}): Promise<Child> {
  return pair("sh", { ...options, args: ["-c", script, "sh", ...options.args ?? []] });
}

/** A Python child. */
export function python(args: string[], options: PairOptions = {}): Promise<Child> {
  return pair("python3", { ...options, args: [file("pair_peer.py"), ...args] });
}

/** Waits one turn of the event loop: everything that was ready is handled then. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** 32-bit numbers from 0 up, little endian: what a fixture sends. */
export function numbers(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.from({ length: bytes / 4 }, (_, i) => i).buffer);
}

/** Compares bytes. A failure does not list a million of them. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`byte ${i} of ${expected.length} differs`);
  }
}

/** The SHA-1 of bytes, in hexadecimal. */
export async function sha1(...chunks: Uint8Array<ArrayBuffer>[]): Promise<string> {
  const all = await new Blob(chunks).arrayBuffer();
  return new Uint8Array(await crypto.subtle.digest("SHA-1", all)).toHex();
}

/** Returns what a promise rejects with, and asserts that it is one of this package's errors. */
export async function errorOf(promise: Promise<unknown>): Promise<SocketError> {
  const error = await assertRejects(() => promise, Error);
  assert(isSocketError(error), `${error} has no operation and path`);
  return error;
}

/** All of a stream, as text. */
export function textOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  return new Response(stream).text();
}

/** Returns the number of descriptors that this process has open. */
export function openDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Fails if many are open that were not before. Deno opens two or three of its own at any time. */
export function assertNoneLeft(before: number): void {
  const left = openDescriptors() - before;
  assert(left < 5, `${left} descriptors are left`);
}

/** The processes that this one has started and that are still there, dead ones included. */
export function children(): string[] {
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) => {
    const list = Deno.readTextFileSync(`/proc/self/task/${name}/children`);
    return list.split(" ").filter((pid) => pid !== "");
  });
}

/** How a promise stands, without waiting for it. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  const settle = () => void (pending = false);
  promise.then(settle, settle);
  for (let i = 0; i < 5; i++) await turn();
  return pending;
}

/** A child that says when it is ready, and what its traps are. */
export async function trapping(traps: string, options: PairOptions = {}): Promise<Child> {
  const child = await shell(`${traps}; echo ready >&3; while :; do sleep 0.02; done`, options);
  assertEquals(await readText(child.conn), "ready\n");
  return child;
}
