/** Helpers that the tests of `client` share. */

import { type Connection, isSocketError, type SocketError, type UnixListener } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { denoArgs, encode, Program, readText } from "../_helpers.ts";

/** Returns what a promise rejects with, and asserts that it is one of this package's errors. */
export async function refusal(promise: Promise<Connection>): Promise<SocketError> {
  const error = await assertRejects(() => promise, Error);
  assert(isSocketError(error), `${error} has no operation and path`);
  assertEquals(error.operation, "connect");
  return error;
}

/** Returns the beginning of each refusal's message. */
export function start(path: string): string {
  return `Cannot connect to ${JSON.stringify(path)}: `;
}

/** Asserts that no client reached the listener: its own connection is the first one. */
export async function assertNoConnection(listener: UnixListener): Promise<void> {
  const path = listener.addr.path!;
  const [server, sentinel] = await Promise.all([
    listener.accept(),
    Deno.connect({ transport: "unix", path }),
  ]);
  await sentinel.write(encode("sentinel"));
  assertEquals(await readText(server), "sentinel");
  sentinel.close();
  server.close();
}

/** Returns the flags of a fixture that uses a path. */
export function flags(path: string): string[] {
  const files = `${path},${path}.lock`;
  return [`--allow-read=${files}`, `--allow-write=${files}`, `--allow-net=unix:${path}`];
}

/** Starts a fixture that may have at most `count` descriptors open. */
export function limited(count: number, script: string, flags: string[], args: string[]): Program {
  const command = [`ulimit -n ${count}; exec "$0" "$@"`, Deno.execPath()];
  return new Program("/bin/sh", ["-c", ...command, ...denoArgs(script, flags, args)]);
}
