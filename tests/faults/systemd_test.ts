/**
 * # A service manager
 *
 * A service leaves descriptors with its manager, by `notify({ storeFds })`.
 */

import { isSocketError } from "@uds/uds";
import { bindPackets, socketpair } from "@uds/uds/native";
import { notify } from "@uds/uds/systemd";
import { assert, assertEquals } from "@std/assert";
import { decode, openDescriptors, TempDir, test } from "../_helpers.ts";

/** More notifications than any queue of datagrams has. */
const MANY = 10_000;

// Loads libc, which stays.
for (const conn of socketpair()) conn.close();

const storeFds = { fds: [1, 2], name: "state" };

/**
 * Fault: The manager does not read: the queue of its socket is full
 * How: `notify({ storeFds })` until it fails, then the manager reads on
 * Then: It fails at once with `EAGAIN`, and waits for nothing. This process has no more descriptors
 * than before. Each report that was sent comes, and later ones work
 */
test("notify({ storeFds }) fails at once while the manager does not read", async () => {
  await using dir = new TempDir();
  const path = dir.file("notify");
  await using manager = await bindPackets(path);
  Deno.env.set("NOTIFY_SOCKET", path);
  const before = openDescriptors();
  let sent = 0;
  let failure: unknown;
  while (failure === undefined && sent < MANY) {
    await notify({ storeFds }).then(() => sent++, (error) => failure = error);
  }
  assert(isSocketError(failure) && failure.code === "EAGAIN", `${failure}, after ${sent}`);
  assertEquals(openDescriptors(), before);
  for (let i = 0; i < sent; i++) {
    const { packet } = await manager.receive();
    assertEquals(decode(packet), "FDSTORE=1\nFDNAME=state");
  }
  assertEquals(await notify({ removeFds: "state" }), true);
  assertEquals(decode((await manager.receive()).packet), "FDSTOREREMOVE=1\nFDNAME=state");
  assertEquals(openDescriptors(), before);
});

/**
 * Fault: A descriptor to store is closed, the manager has ended, or its socket is gone
 * How: `notify({ storeFds })` with a closed descriptor, at a stale socket, and without a file
 * Then: It rejects with `EBADF`, `ECONNREFUSED` or `ENOENT`, and leaves no descriptor. Descriptors
 * that are good are stored afterwards
 */
test("notify({ storeFds }) rejects with what is wrong, and works afterwards", async () => {
  await using dir = new TempDir();
  const path = dir.file("notify");
  Deno.env.set("NOTIFY_SOCKET", path);
  const before = openDescriptors();
  const codeOf = (fds: number[]) =>
    notify({ storeFds: { fds } }).then(() => undefined, (error) => error.code);
  assertEquals(await codeOf([1]), "ENOENT");
  await using manager = await bindPackets(path);
  const bound = openDescriptors();
  assertEquals(await codeOf([1, 65_000]), "EBADF");
  assertEquals(await codeOf([1]), undefined);
  assertEquals(decode((await manager.receive()).packet), "FDSTORE=1\nFDNAME=stored");
  assertEquals(openDescriptors(), bound);
  await Deno.rename(path, `${path}.kept`);
  await manager[Symbol.asyncDispose]();
  await Deno.rename(`${path}.kept`, path).catch(() => {});
  assert(["ECONNREFUSED", "ENOENT"].includes(await codeOf([1])));
  assertEquals(openDescriptors(), before);
});
