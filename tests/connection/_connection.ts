/** Helpers that the tests of `connection` share. */

import { connect, type Connection, isSocketError, type SocketError, toConnection } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { TempDir } from "../_helpers.ts";

/** A connection of ours, with a peer that is a connection of Deno. */
export interface WithPeer extends Disposable {
  path: string;
  peer: Deno.UnixConn;
  conn: Connection;
}

/** Connects a connection of ours, which is under test, with one of Deno, which is not. */
export async function withPeer(dir: TempDir): Promise<WithPeer> {
  const path = dir.file("c.sock");
  const listener = Deno.listen({ transport: "unix", path });
  const [peer, conn] = await Promise.all([listener.accept(), connect(path)]);
  listener.close();
  return {
    path,
    peer,
    conn,
    [Symbol.dispose]() {
      conn.close();
      peer[Symbol.dispose]();
    },
  };
}

/** Two connections of ours that are connected to each other. */
export interface BothEnds extends Disposable {
  path: string;
  left: Connection;
  right: Connection;
}

/** Connects two connections of ours with each other. */
export async function bothEnds(dir: TempDir): Promise<BothEnds> {
  const { path, peer, conn } = await withPeer(dir);
  const left = toConnection(peer);
  return {
    path,
    left,
    right: conn,
    [Symbol.dispose]() {
      left.close();
      conn.close();
    },
  };
}

export function concat(chunks: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let end = 0;
  for (const chunk of chunks) {
    all.set(chunk, end);
    end += chunk.length;
  }
  return all;
}

/** Compares bytes. A failure does not list a million of them. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`byte ${i} of ${expected.length} differs`);
  }
}

/** Returns what a promise rejects with, and asserts that it is one of this package's errors. */
export async function errorOf(promise: Promise<unknown>): Promise<SocketError> {
  const error = await assertRejects(() => promise, Error);
  assert(isSocketError(error), `${error} has no operation and path`);
  return error;
}

/** Returns the flags of a fixture that listens at a path or connects to it. */
export function flags(path: string): string[] {
  const files = `${path},${path}.lock`;
  return [`--allow-read=${files}`, `--allow-write=${files}`, `--allow-net=unix:${path}`];
}
