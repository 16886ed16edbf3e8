/**
 * # Packets
 *
 * Pairs of sockets of both types, by system calls through FFI. `UDS_CASES` sets the number of
 * calls.
 */

import { assert, assertEquals } from "@std/assert";
import type { InUse } from "../fixtures/packets.ts";
import { fixture, MIB, test } from "../_helpers.ts";

const CASES = Number(Deno.env.get("UDS_CASES") ?? 4000);

/** What V8 keeps for itself, such as compiled code. */
const KEPT_BYTES = 2 * MIB;
/** How much all memory may grow: the allocator keeps what was used at once. */
const RESIDENT_BYTES = 64 * MIB;

/**
 * Fault: Calls of packet sockets fail, are aborted, or are cut off by `close()`
 * How: 100,000 calls on pairs that are made and closed, with packets of 0 to 1,000 bytes
 * Then: Each call has its own error, no packet is cut, and no descriptor and no memory is lost
 */
test("100,000 calls of packet sockets that fail in every way lose nothing", async () => {
  await using program = fixture("packets.ts", ["-A", "--v8-flags=--expose-gc"], [`${CASES}`]);
  const [line] = await program.output();
  assertEquals(await program.stderr(), "");
  const [before, after]: InUse[] = JSON.parse(line!);
  assertEquals(after!.descriptors, before!.descriptors);
  assert(after!.bytes - before!.bytes < KEPT_BYTES, line);
  assert(after!.resident - before!.resident < RESIDENT_BYTES, line);
}, { deadline: 240_000 });
