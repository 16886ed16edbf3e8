/**
 * # Limits
 *
 * A good client measures its requests alone and beside the hostile clients, alternately, five
 * times. The median of the 99th percentiles counts. Half of the requests share one connection, and
 * the others use a new one each.
 */

import { assert, assertEquals } from "@std/assert";
import type { ServeOptions } from "@uds/uds";
import { encode, fixture, fixturePath, Program, TempDir, test } from "../_helpers.ts";

/** How long requests of a good client took, in microseconds, and how many answers were wrong. */
interface Times {
  p50: number;
  p99: number;
  max: number;
  wrong: number;
}

/** The counts of the server. */
interface Seen {
  connections: number;
  most: number;
  answered: number;
  errors: Record<string, number>;
}

/** The counts of the hostile clients. */
interface Done {
  sent: number;
  got: number;
  closed: number;
}

/** A program that answers each line with a line. */
class LineProgram implements AsyncDisposable {
  readonly program: Program;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor(program: Program) {
    this.program = program;
    this.#writer = program.stdin.getWriter();
  }

  async ask<T>(line: string): Promise<T> {
    await this.#writer.write(encode(`${line}\n`));
    return JSON.parse(await this.program.line());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.program.status;
    await this.program[Symbol.asyncDispose]();
  }
}

type Codec = "length" | "lines";

interface Options extends Omit<ServeOptions, "path"> {
  frameTimeout?: number;
  maxPending?: number;
}

async function startServer(path: string, options: Options, codec: Codec): Promise<LineProgram> {
  const args = [path, JSON.stringify(options), codec];
  const program = fixture("limit_server.ts", ["-A"], args, { stdin: "piped" });
  assertEquals(await program.line(), "listening");
  return new LineProgram(program);
}

async function startClient(path: string, codec: Codec): Promise<LineProgram> {
  const args = [fixturePath("limit_client.py"), path, codec];
  const program = new Program("python3", args, { stdin: "piped" });
  assertEquals(await program.line(), "ready");
  return new LineProgram(program);
}

async function startHostile(path: string, what: string, count: number): Promise<Program> {
  const args = [fixturePath("limit_hostile.py"), path, what, `${count}`];
  const program = new Program("python3", args, { stdin: "piped" });
  assertEquals(await program.line(), "begun");
  return program;
}

async function endHostile(program: Program): Promise<Done> {
  await program.stdin.close();
  const done = JSON.parse(await program.line());
  await program.status;
  return done;
}

/** Returns the peak memory of a process, in MiB. */
function peakMemory({ pid }: Program): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/VmHWM:\s+(\d+)/.exec(status)![1]) / 1024;
}

/** Polls the server until its counts satisfy a condition. */
async function until(server: LineProgram, what: (seen: Seen) => boolean): Promise<Seen> {
  for (;;) {
    const seen = await server.ask<Seen>("?");
    if (what(seen)) return seen;
  }
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

interface Hostility {
  /** The behavior that `limit_hostile.py` is started with. */
  what: string;
  count: number;
  codec?: Codec;
  options?: Options;
  /** The errors that the server may report, and no others. */
  errors: string[];
  /** Whether the server closes the hostile connections. */
  ends: boolean;
}

const HOSTILE: Record<string, Hostility> = {
  "1,000 half-open peers": {
    what: "half-open",
    count: 1000,
    errors: [],
    ends: false,
  },
  "1,000 peers with half a message": {
    what: "half-message",
    count: 1000,
    errors: ["TruncatedMessage"],
    ends: false,
  },
  "1,000 peers that announce 60,000 bytes and send 16": {
    what: "slow-message",
    count: 1000,
    errors: ["TruncatedMessage"],
    ends: false,
  },
  "10 peers that send requests and never read": {
    what: "never-reads",
    count: 10,
    errors: ["BrokenPipe", "ConnectionReset", "TruncatedMessage", "SuppressedError"],
    ends: false,
  },
  "a peer that floods empty messages": {
    what: "floods",
    count: 1,
    errors: ["BrokenPipe", "ConnectionReset", "TruncatedMessage", "SuppressedError"],
    ends: false,
  },
  "a peer that floods empty lines": {
    what: "floods-lines",
    count: 1,
    codec: "lines",
    errors: ["BrokenPipe", "ConnectionReset", "SuppressedError"],
    ends: false,
  },
  "a peer that floods empty messages and never reads": {
    what: "floods-unread",
    count: 1,
    errors: ["BrokenPipe", "ConnectionReset", "TruncatedMessage", "SuppressedError"],
    ends: false,
  },
  "200 peers that announce 4 GiB": {
    what: "giant",
    count: 200,
    errors: ["MessageTooLarge"],
    ends: true,
  },
  "50 peers with an endless line": {
    what: "endless-line",
    count: 50,
    codec: "lines",
    errors: ["MessageTooLarge"],
    ends: true,
  },
};

/** How many MiB the server may grow by, plus a share for each peer. */
const GROWS = 64;
const GROWS_EACH = 0.128;

/** Noise only raises a ratio, so a measurement may be repeated. */
const ATTEMPTS = 3;
const ROUNDS = 5;
const REQUESTS = 2000;

/** The result of some rounds. */
interface Outcome {
  times: Times[];
  /** The 99th percentile as a multiple of the one without hostile clients. */
  ratio: number;
  done: Done;
}

/** Measures the good client alone and beside the hostile ones, alternately. */
async function measure(
  path: string,
  { what, count, ends }: Hostility,
  server: LineProgram,
  client: LineProgram,
): Promise<Outcome> {
  const calm: Times[] = [];
  const loaded: Times[] = [];
  const done: Done = { sent: 0, got: 0, closed: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    calm.push(await client.ask<Times>(`${REQUESTS}`));
    await using hostile = await startHostile(path, what, count);
    if (!ends) await until(server, ({ connections }) => connections === 1 + count);
    loaded.push(await client.ask<Times>(`${REQUESTS}`));
    const { sent, got, closed } = await endHostile(hostile);
    done.sent += sent;
    done.got += got;
    done.closed += closed;
    await until(server, ({ connections }) => connections === 1);
  }
  const [alone, beside] = [calm, loaded].map((all) => median(all.map(({ p99 }) => p99)));
  const ratio = beside! / alone!;
  console.log(`p99 ${alone} µs alone, ${beside} µs beside hostile clients: ${ratio.toFixed(1)} ×`);
  return { times: [...calm, ...loaded], ratio, done };
}

for (const [name, hostility] of Object.entries(HOSTILE)) {
  const { count, codec = "length", errors, ends } = hostility;
  /**
   * Fault: 1,000 clients stay silent, send half a message, never read, flood small messages,
   * announce 4 GiB, or never end a line
   * How: Python programs that do exactly that
   * Then: Memory grows by at most 64 MiB and 128 KiB for each. The good client's p99 stays within 5
   * × of its own. A client over a limit is closed with `MessageTooLarge`
   */
  test(`${name}: bounded memory, and a good client's p99 within 5 × of its own`, async () => {
    await using dir = new TempDir();
    const path = dir.file("l.sock");
    await using server = await startServer(path, {}, codec);
    await using client = await startClient(path, codec);
    // The first runs of any code take longer.
    for (let i = 0; i < 3; i++) await client.ask<Times>("1000");
    const before = peakMemory(server.program);
    const outcomes: Outcome[] = [];
    do outcomes.push(await measure(path, hostility, server, client)); while (
      outcomes.at(-1)!.ratio > 5 && outcomes.length < ATTEMPTS
    );
    const seen = await server.ask<Seen>("?");
    const grown = peakMemory(server.program) - before;
    const sum = (of: keyof Done) => outcomes.reduce((all, { done }) => all + done[of], 0);
    console.log(
      `+${grown.toFixed(0)} MiB at most; ${
        sum("sent")
      } bytes of theirs, ${seen.answered} answers; ` +
        `errors ${JSON.stringify(seen.errors)}`,
    );
    const wrong = outcomes.flatMap(({ times }) => times.map((one) => one.wrong));
    assertEquals(wrong, wrong.map(() => 0));
    assertEquals(Object.keys(seen.errors).filter((error) => !errors.includes(error)), []);
    const peers = outcomes.length * ROUNDS * count;
    assertEquals(sum("closed"), ends ? peers : 0);
    if (ends) assertEquals(Object.values(seen.errors), [peers]);
    assert(grown <= GROWS + count * GROWS_EACH, `the server grew by ${grown.toFixed(0)} MiB`);
    const { ratio } = outcomes.at(-1)!;
    assert(ratio <= 5, `p99 is ${ratio.toFixed(1)} × of what it is alone`);
  }, { needs: ["python3"], deadline: 120_000 });
}

const DEADLINES: Record<string, { what: string; options: Options }> = {
  "1,000 half-open peers and firstByteTimeout": {
    what: "half-open",
    options: { maxConnections: 100, firstByteTimeout: 300 },
  },
  "1,000 peers with half a message and frameTimeout": {
    what: "half-message",
    options: { maxConnections: 100, frameTimeout: 300 },
  },
  "1,000 peers with half a message and idleTimeout": {
    what: "half-message",
    options: { maxConnections: 100, idleTimeout: 300 },
  },
  "1,000 peers that never read and writeTimeout": {
    what: "never-reads",
    options: { maxConnections: 100, writeTimeout: 300 },
  },
};

for (const [name, { what, options }] of Object.entries(DEADLINES)) {
  /**
   * Fault: 1,000 such clients take all of `maxConnections`, ahead of a good one
   * How: The same, with `firstByteTimeout`, `frameTimeout`, `idleTimeout` or `writeTimeout`
   * Then: The limit holds at every moment. All are closed with `TimedOut`. The good client is
   * served
   */
  test(
    `${name}: never more than maxConnections, all are closed, the waiting client is served`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("l.sock");
      await using server = await startServer(path, options, "length");
      await using hostile = await startHostile(path, what, 1000);
      // The good client is queued behind all of them.
      await using client = await startClient(path, "length");
      const { wrong } = await client.ask<Times>("100");
      assertEquals(wrong, 0);
      const { most, errors } = await until(server, ({ errors }) => errors.TimedOut! >= 1000);
      assert(most <= 100, `${most} connections`);
      const { closed } = await endHostile(hostile);
      assertEquals(closed, 1000);
      assert(Object.keys(errors).every((error) => error === "TimedOut"));
      console.log(`${closed} peers were ended, at most ${most} were served at the same time`);
    },
    { needs: ["python3"], deadline: 30_000 },
  );
}
