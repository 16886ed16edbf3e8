/**
 * # Random clients
 *
 * The seed is printed. `UDS_SEED` repeats it, and `UDS_FUZZ` sets the number of connections.
 */

import { connect, type Connection, encodeStream, listen } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { SUBJECTS } from "../fixtures/fuzz_codecs.ts";
import {
  decode,
  denoArgs,
  encode,
  fixture,
  pseudoRandom,
  run,
  TempDir,
  test,
  within,
} from "../_helpers.ts";

const SEED = Number(Deno.env.get("UDS_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
const CASES = Number(Deno.env.get("UDS_FUZZ") ?? 1500);
const AT_ONCE = 8;

/** A case that takes longer counts as hanging. */
const HANG_MS = 10_000;

/** Random numbers that depend on the seed alone. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** Returns an integer from 0 to below a limit (xorshift32). */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>>= 0;
    return x % limit;
  }

  /** Returns a length, mostly a small one, sometimes a large one. */
  length(most: number): number {
    return this.below(2 ** this.below(Math.floor(Math.log2(most)) + 1) + 1);
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return pseudoRandom(length, this.below(2 ** 32 - 1) + 1);
  }
}

/** The counts of some connections. */
interface Tally {
  connections: number;
  sent: number;
  got: number;
  /** Bytes that were returned as they had to be. */
  checked: number;
}

/** Sends bytes in pieces with pauses, ends as `ending` says, and returns what came back. */
async function play(
  conn: Connection,
  data: Uint8Array,
  random: Random,
  ending: "half-close" | "close",
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const reading = (async () => {
    const buffer = new Uint8Array(64 * 1024);
    for (let count; (count = await conn.read(buffer)) !== null;) {
      chunks.push(buffer.slice(0, count));
    }
  })().catch(() => {});
  try {
    for (let at = 0; at < data.length;) {
      const end = random.below(3) === 0 ? data.length : at + random.length(64 * 1024);
      await conn.write(data.subarray(at, end));
      at = end;
      if (random.below(4) === 0) {
        await new Promise((resolve) => setTimeout(resolve, random.below(4)));
      }
    }
    if (ending === "half-close") await conn.closeWrite();
  } catch {
    // The server may close the connection.
  }
  if (ending === "close") conn.close();
  await reading;
  conn.close();
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Returns the bytes with some of them changed, removed or added. */
function mutate(data: Uint8Array, random: Random): Uint8Array {
  const bytes = [...data];
  for (let i = random.below(4); i >= 0; i--) {
    const at = random.below(bytes.length + 1);
    const what = random.below(3);
    if (what === 0 && at < bytes.length) bytes[at] = random.below(256);
    else if (what === 1) bytes.splice(at, random.length(16));
    else bytes.splice(at, 0, ...random.bytes(random.length(16)));
  }
  return Uint8Array.from(bytes);
}

/** Runs cases concurrently. Each has a seed of its own, which an error names. */
async function repeat(count: number, play: (random: Random) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const seed = (SEED + 0x9e3779b9 * ++next) >>> 0;
      try {
        await within(HANG_MS, play(new Random(seed)));
      } catch (cause) {
        throw new Error(`case ${next} of UDS_SEED=${SEED} failed`, { cause });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** The counts and resources of the server. */
interface Seen {
  connections: number;
  descriptors: number;
  memory: number;
  answered: number;
  errors: Record<string, number>;
  odd: string[];
}

/**
 * Fault: Random bytes, changed messages, closes, half-closes and delays
 * How: 1,500 connections to a server with each of 11 codecs
 * Then: Valid messages come back whole. All errors are documented. Nothing hangs. Descriptors and
 * memory are freed
 */
test("servers with each codec survive random bytes, closes, half-closes and delays", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  const flags = ["-A", "--v8-flags=--expose-gc"];
  await using server = fixture("fuzz_server.ts", flags, [path], { stdin: "piped" });
  assertEquals(await server.line(), "listening");
  const writer = server.stdin.getWriter();
  const look = async (): Promise<Seen> => {
    await writer.write(encode("?\n"));
    return JSON.parse(await server.line());
  };
  const tally: Tally = { connections: 0, sent: 0, got: 0, checked: 0 };

  const fuzz = async (cases: number) => {
    for (const [name, { codec, message }] of Object.entries(SUBJECTS)) {
      await repeat(cases, async (random) => {
        const all = Array.from(
          { length: random.length(64) },
          () => message(random.bytes(random.length(4096))),
        );
        const stream = ReadableStream.from(all).pipeThrough(encodeStream(codec));
        const right = new Uint8Array(await new Response(stream).arrayBuffer());
        const kind = random.below(3);
        const data = kind === 0
          ? right
          : kind === 1
          ? mutate(right, random)
          : random.bytes(random.length(256 * 1024));
        const ending = random.below(3) === 0 ? "close" : "half-close";
        const conn = await connect(`${path}.${name}`);
        const back = await play(conn, data, random, ending);
        tally.connections++;
        tally.sent += data.length;
        tally.got += back.length;
        if (kind === 0 && ending === "half-close") {
          assert(isSame(back, right), `${name}: ${back.length} of ${right.length} bytes`);
          tally.checked += right.length;
        }
      });
    }
  };
  /** Waits until the server has handled the last closes, and resources are freed. */
  const settled = async (descriptors: number) => {
    let seen = await look();
    while (seen.connections > 0 || seen.descriptors > descriptors) seen = await look();
    return seen;
  };

  console.log(`UDS_SEED=${SEED}`);
  const idle = (await look()).descriptors;
  await fuzz(Math.ceil(CASES / 2));
  const before = await within(HANG_MS, settled(idle));
  await fuzz(CASES);
  const { memory, answered, errors, odd } = await within(HANG_MS, settled(idle));
  console.log(
    `${tally.connections} connections, ${tally.sent} bytes, ${tally.checked} of them checked; ` +
      `${answered} messages answered; errors ${JSON.stringify(errors)}; ` +
      `memory ${before.memory.toFixed(1)} to ${memory.toFixed(1)} MiB`,
  );
  assertEquals(odd, []);
  assert(memory - before.memory < 8, `${memory - before.memory} MiB were not given back`);
  await writer.close();
  assertEquals((await server.status).code, 0);
  assertEquals(dir.list(), []);
}, { deadline: 300_000 });

for (const piece of [[], ["--piece", "7"]]) {
  const command = ["uds echo", ...piece].join(" ");
  /**
   * Fault: The same, to the command line
   * How: 1,500 connections to `uds echo`
   * Then: Every byte comes back to a client that waits for it. Standard error has known lines only.
   * Descriptors are freed
   */
  test(`${command} echoes every byte and survives random clients`, async () => {
    await using dir = new TempDir();
    const path = dir.file("e.sock");
    await using server = fixture("./cli.ts", ["-A"], ["echo", path, ...piece]);
    const tally: Tally = { connections: 0, sent: 0, got: 0, checked: 0 };
    const first = await connect({ path, wait: true, timeout: Infinity });
    const descriptors = () => [...Deno.readDirSync(`/proc/${server.pid}/fd`)].length;
    first.close();
    console.log(`UDS_SEED=${SEED}`);
    // After a second the server opens what watches its path.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    // With --piece every piece is logged on standard error, which takes time.
    const most = piece.length > 0 ? 2048 : 256 * 1024;
    let before = 0;
    for (const cases of [CASES / 10, CASES]) {
      before = descriptors();
      await repeat(Math.ceil(cases), async (random) => {
        const data = random.bytes(random.length(most));
        const ending = random.below(3) === 0 ? "close" : "half-close";
        const conn = await connect(path);
        const back = await play(conn, data, random, ending);
        tally.connections++;
        tally.sent += data.length;
        if (ending === "half-close") {
          assert(isSame(back, data), `${back.length} of ${data.length} bytes`);
          tally.checked += data.length;
        }
      });
    }
    // The server may not have noticed the last close yet.
    while (descriptors() > before) await new Promise((resolve) => setTimeout(resolve, 5));
    console.log(`${tally.connections} connections, ${tally.sent} bytes, ${tally.checked} checked`);
    server.kill("SIGTERM");
    assertEquals((await server.status).code, 0);
    assertEquals(dir.list(), []);
    const printed = (await server.stderr()).split("\n");
    const known =
      /^(|listening on .*|ending|received .*|uds: Cannot (read from|write to) a client .*)$/;
    assertEquals(printed.filter((line) => !known.test(line)), []);
  }, { deadline: 120_000 });
}

/** What `uds send` prints if all is well: a hint, if no byte came back. */
const NOTHING_CAME = /^(the server sent nothing\. If it reads lines, add --line\n)?$/;

/**
 * Fault: A server does the same to its client
 * How: 250 runs of `uds send`
 * Then: Exit code 0 or 1, and at most one line
 */
test("uds send exits with at most one line, whatever the server does", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using listener = await listen(path);
  console.log(`UDS_SEED=${SEED}`);
  const serving = new Random(SEED);
  const served: Promise<unknown>[] = [];
  const accepting = (async () => {
    for await (const conn of listener) {
      const data = serving.bytes(serving.length(64 * 1024));
      const ending = serving.below(2) === 0 ? "close" : "half-close";
      served.push(play(conn, data, new Random(serving.below(2 ** 31)), ending));
    }
  })();
  const codes: Record<number, number> = {};
  await repeat(Math.ceil(CASES / 6), async (random) => {
    // The command line refuses U+FFFD, which Deno puts in the place of bytes that are not UTF-8.
    const message = decode(random.bytes(random.length(32 * 1024))).replaceAll(/[\0\uFFFD]/g, "·");
    const args = ["send", path, "--", message];
    const { code, stderr } = await run(Deno.execPath(), denoArgs("./cli.ts", ["-A"], args));
    codes[code] = (codes[code] ?? 0) + 1;
    assertMatch(stderr, code === 0 ? NOTHING_CAME : /^uds: Cannot [^\n]*\n$/);
    assert(code === 0 || code === 1, `${code}: ${stderr}`);
  });
  await listener.close();
  await accepting;
  await Promise.all(served);
  console.log(`exit codes ${JSON.stringify(codes)}`);
}, { deadline: 120_000 });
