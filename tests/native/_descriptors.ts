/** What the tests of descriptors share. */

import { openSync } from "node:fs";
import { connect, type Connection, listen } from "@uds/uds";
import { type Descriptor, type Received, receiveDescriptors } from "@uds/uds/native";
import { assert } from "@std/assert";
import { type Libc, libcIfGranted } from "../../_internal/libc/library.ts";
import { readiness } from "../../_internal/libc/readiness.ts";
import { decode, openDescriptors, TempDir, turn } from "../_helpers.ts";

// Opened before the tests, which would count them as leaks.
readiness(libcIfGranted() as Libc);

/** Two connections with descriptors that are each other's peer. */
export class TestPair implements AsyncDisposable {
  readonly client: Connection;
  readonly server: Connection;
  readonly #dispose: () => Promise<void>;

  private constructor(client: Connection, server: Connection, dispose: () => Promise<void>) {
    this.client = client;
    this.server = server;
    this.#dispose = dispose;
  }

  static async open(): Promise<TestPair> {
    const dir = new TempDir();
    const options = { path: dir.file("a.sock"), descriptors: true };
    const listener = await listen(options);
    const [client, server] = await Promise.all([connect(options), listener.accept()]);
    return new TestPair(client, server, async () => {
      await listener.close();
      await dir[Symbol.asyncDispose]();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    this.server.close();
    await this.#dispose();
  }
}

/** Receives once, and returns the text, with the descriptors. */
export async function receive(
  conn: Connection,
  size = 1000,
): Promise<Received & { text: string; [Symbol.dispose](): void }> {
  const buffer = new Uint8Array(size);
  const received = await receiveDescriptors(conn, buffer);
  assert(received !== null, "the end of file came first");
  return {
    ...received,
    text: decode(buffer.subarray(0, received.count)),
    [Symbol.dispose]() {
      for (const each of received.descriptors) each.close();
    },
  };
}

/** Opens a file with some text. Its number is that of the system. */
export function openFile(dir: TempDir, text: string): number {
  const path = dir.file(`file-${crypto.randomUUID()}`);
  Deno.writeTextFileSync(path, text);
  return openSync(path, "r");
}

/** Reads all of a file that was received, and closes it. */
export async function contentOf(descriptor: Descriptor | undefined): Promise<string> {
  assert(descriptor !== undefined, "no descriptor came");
  using file = descriptor.toFile();
  return await new Response(file.readable).text();
}

/** Resolves when this process has as many descriptors open as before. */
export async function untilOpen(count: number): Promise<void> {
  while (openDescriptors() !== count) await turn();
}
