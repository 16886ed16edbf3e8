/** Helpers that the tests of `pair` share. */

import { type Child, isSocketError, pair, type PairOptions, type SocketError } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path/posix";
import { openDescriptors, readText, ROOT } from "../_helpers.ts";

/** Returns the path of a fixture. */
export function file(name: string): string {
  return join(ROOT, "tests/fixtures", name);
}

/** Returns a path as a file: URL. */
export function toFileUrl(path: string): URL {
  return new URL(path, "file:///");
}

/** A module that needs no permission. */
export const MODULE: URL = toFileUrl(file("pair_plain.ts"));

/** Starts a shell with a script as the child. */
export function shell(script: string, options: PairOptions = {}): Promise<Child> {
  return pair("sh", { ...options, args: ["-c", script, "sh", ...options.args ?? []] });
}

/** Starts a Python child. */
export function python(args: string[], options: PairOptions = {}): Promise<Child> {
  return pair("python3", { ...options, args: [file("pair_peer.py"), ...args] });
}

/** Returns the bytes that a fixture sends: 32-bit numbers from 0 up, little endian. */
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

/** Returns the SHA-1 of bytes, in hexadecimal. */
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

/** Reads a stream to its end, as text. */
export function textOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  return new Response(stream).text();
}

/** Asserts that few more descriptors are open than before. Deno opens two or three of its own. */
export function assertNoneLeft(before: number): void {
  const left = openDescriptors() - before;
  assert(left < 5, `${left} descriptors are left`);
}

/** Returns the child processes of this process, including those that have ended unreaped. */
export function children(): string[] {
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) => {
    const list = Deno.readTextFileSync(`/proc/self/task/${name}/children`);
    return list.split(" ").filter((pid) => pid !== "");
  });
}

/** Starts a child with the given traps, and waits until it is ready. */
export async function trapping(traps: string, options: PairOptions = {}): Promise<Child> {
  const child = await shell(`${traps}; echo ready >&3; while :; do sleep 0.02; done`, options);
  assertEquals(await readText(child.conn), "ready\n");
  return child;
}
