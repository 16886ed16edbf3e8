/**
 * Uses everything at once for a while: connections, messages, half-closes, resets, refusals, pairs
 * and restarts, in one process that is both server and client. Checks that nothing grows.
 *
 * deno task soak [--minutes N] [--seed N]
 *
 * - At each rest, garbage is collected, and memory, descriptors and children are counted.
 * - Descriptors and children must be as at the beginning, at every rest.
 * - Memory must not rise: a line is fitted through the samples after the first third.
 * - Each byte sent must come back. At the end both sides must have the same counts.
 */

import {
  connect,
  json,
  lengthPrefixed,
  lines,
  messages,
  pair,
  probe,
  serve,
  SocketNotFound,
  socketpair,
} from "@uds/uds";

const MIB = 2 ** 20;
/** How many MiB the fitted line may rise. */
const RISE = 2;
const WORKERS = 16;

const [minutes, seed] = ["--minutes", "--seed"].map((name) => {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Number(Deno.args[at + 1]);
});
const duration = (minutes ?? 10) * 60_000;
if (!(duration > 0) || seed !== undefined && !Number.isInteger(seed)) {
  console.error("Usage: deno task soak [--minutes N] [--seed N]");
  Deno.exit(2);
}
/** How long, in milliseconds, the work lasts between two rests. A run has at most 120 rests. */
const interval = Math.max(1000, duration / 120);

let state = (seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!) | 1;
console.log(`${duration / 60_000} minutes, --seed ${state >>> 0}`);

/** Returns an integer from 0 to below a limit (xorshift32). */
function below(limit: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % limit;
}

function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 64) bytes[i] = below(256);
  return bytes;
}

async function readAll(conn: { readable: ReadableStream<Uint8Array> }): Promise<Uint8Array> {
  return new Uint8Array(await new Response(conn.readable as BodyInit).arrayBuffer());
}

function check(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(what);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

// ---- The servers

const directory = await Deno.makeTempDir({ prefix: "uds-" });

/** The counts of the servers. */
const served = { connections: 0, messages: 0, resets: 0 };
/** The counts of the clients. */
const used = { connections: 0, messages: 0, bytes: 0, resets: 0 };

/** Accepts only one failure: a client that closes while the server writes to it. */
function onError(error: unknown): void {
  const { name } = error as Error;
  if (name === "BrokenPipe" || name === "ConnectionReset") served.resets++;
  else unexpected ??= error;
}
let unexpected: unknown;

const bytes = await serve({ path: `${directory}/bytes.sock`, onError }, async (conn) => {
  served.connections++;
  await conn.readable.pipeTo(conn.writable);
});
const values = await serve({ path: `${directory}/values.sock`, onError }, async (conn) => {
  served.connections++;
  await using client = messages(conn, json(lines()));
  for await (const value of client) {
    served.messages++;
    await client.send(value);
  }
});
const frames = await serve({ path: `${directory}/frames.sock`, onError }, async (conn) => {
  served.connections++;
  await using client = messages(conn, lengthPrefixed());
  for await (const batch of client.batches()) {
    served.messages += batch.length;
    for (const frame of batch) client.send(frame);
    await client.flush();
  }
});
const SERVERS = [bytes, values, frames];

// ---- The courses

/** Connects to a server, and counts the connection. */
async function begin(server: typeof bytes) {
  const conn = await connect(server.addr.path as string);
  used.connections++;
  return conn;
}

/** Free paths for servers that start and stop. */
const free = Array.from({ length: WORKERS }, (_, i) => `${directory}/restart-${i}.sock`);

/** What a worker does, each with its weight. */
const COURSES: Record<string, [number, () => Promise<void>]> = {
  "connect": [30, async () => {
    (await begin(SERVERS[below(3)]!)).close();
  }],
  "half-close": [30, async () => {
    await using conn = await begin(bytes);
    const data = bytesOf(below(2 ** below(18)));
    conn.write(data);
    conn.closeWrite();
    check(isSame(await readAll(conn), data), "other bytes came back");
    used.bytes += data.length;
  }],
  "values": [30, async () => {
    await using client = messages(await begin(values), json<{ id: number; text: string }>(lines()));
    for (let i = below(20); i >= 0; i--) {
      const text = "ü".repeat(below(500));
      await client.send({ id: i, text });
      const back = await client.receive();
      check(back?.id === i && back.text === text, "another value came back");
      used.messages++;
    }
  }],
  "frames": [20, async () => {
    await using client = messages(await begin(frames), lengthPrefixed());
    const count = 1 + below(300);
    const frame = bytesOf(below(2000));
    for (let i = 0; i < count; i++) client.send(frame);
    client.closeWrite();
    let got = 0;
    for await (const back of client) {
      check(isSame(back, frame), "another frame came back");
      got++;
    }
    check(got === count, `${got} of ${count} frames came back`);
    used.messages += count;
    used.bytes += count * frame.length;
  }],
  "reset": [10, async () => {
    const conn = await begin(bytes);
    // This is more than the kernel takes, so the server still writes when its client closes.
    const writing = conn.write(bytesOf(4 * MIB)).catch(() => {});
    await conn.read(new Uint8Array(1));
    conn.close();
    await writing;
    used.resets++;
  }],
  "refusal": [10, async () => {
    const error = await connect(`${directory}/absent.sock`).catch((error) => error);
    check(error instanceof SocketNotFound, `${error}`);
    const { state } = await probe(`${directory}/absent.sock`);
    check(state === "free", state);
    const reason = new Error("no");
    const given = await connect({
      path: `${directory}/absent.sock`,
      wait: true,
      signal: AbortSignal.any([AbortSignal.abort(reason)]),
    }).catch((error) => error);
    check(given === reason, `${given}`);
  }],
  "restart": [2, async () => {
    // Deno keeps each path of a permission query, so there are few paths.
    const path = free.pop()!;
    let answered = 0;
    for (let i = 0; i < 2; i++) {
      const publish = below(2) === 0 ? "direct" : "rename";
      const server = await serve({ path, publish }, async (conn) => {
        await conn.read(new Uint8Array(8));
        await conn.write(new Uint8Array(8));
        answered++;
      });
      const clients = await Promise.all(Array.from({ length: 5 }, () => connect(path)));
      for (const conn of clients) conn.write(new Uint8Array(8));
      const { aborted } = await server.shutdown();
      check(aborted === 0, `${aborted} were cut off`);
      for (const conn of clients) {
        check((await readAll(conn)).length === 8, "a stopping server did not answer");
        conn.close();
      }
    }
    check(answered === 10, `${answered} of 10 were answered`);
    free.push(path);
  }],
  "pair": [1, async () => {
    await using child = await pair("sh", { args: ["-c", "cat <&3 >&3; exit 3"], clearEnv: true });
    const data = bytesOf(below(100_000));
    child.conn.write(data);
    child.conn.closeWrite();
    check(isSame(await readAll(child.conn), data), "a child sent other bytes back");
    check((await child.status).code === 3, "a child exited with another code");
    used.bytes += data.length;
  }],
  "socketpair": [5, async () => {
    const [a, b] = await socketpair();
    const data = bytesOf(below(10_000));
    a.write(data);
    a.closeWrite();
    check(isSame(await readAll(b), data), "the other end received other bytes");
    b.close();
    a.close();
    used.bytes += data.length;
  }],
};

const LOTS = Object.entries(COURSES).flatMap(([name, [lots]]) => Array<string>(lots).fill(name));

// ---- Measuring

/** The counts at a rest. */
interface Sample {
  seconds: number;
  /** Memory in use after a collection, in MiB. */
  memory: number;
  /** Resident memory, in MiB. */
  resident: number;
  descriptors: number;
  children: number;
}

function children(): number {
  try {
    let count = 0;
    for (const { name } of Deno.readDirSync("/proc/self/task")) {
      const list = Deno.readTextFileSync(`/proc/self/task/${name}/children`);
      count += list.split(" ").filter((pid) => pid !== "").length;
    }
    return count;
  } catch {
    return 0; // There is no /proc on this system.
  }
}

function nap(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const start = performance.now();

async function sample(): Promise<Sample> {
  // When the servers have no connections they have noticed the last closes.
  while (SERVERS.some(({ connections }) => connections > 0)) await nap(1);
  for (let i = 0; i < 4; i++) {
    (globalThis as unknown as { gc(): void }).gc();
    await nap(10);
  }
  const { heapUsed, external, rss } = Deno.memoryUsage();
  return {
    seconds: (performance.now() - start) / 1000,
    memory: (heapUsed + external) / MIB,
    resident: rss / MIB,
    descriptors: [...Deno.readDirSync("/dev/fd")].length,
    children: children(),
  };
}

/** Returns the rise of the line of best fit, from the first sample to the last one. */
function riseOf(samples: Sample[], what: "memory" | "resident"): number {
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const x = mean(samples.map(({ seconds }) => seconds));
  const y = mean(samples.map((sample) => sample[what]));
  const over = mean(samples.map((sample) => (sample.seconds - x) * (sample[what] - y)));
  const under = mean(samples.map(({ seconds }) => (seconds - x) ** 2));
  return over / under * (samples.at(-1)!.seconds - samples[0]!.seconds);
}

// ---- The run

const counts: Record<string, number> = {};

/** Runs random courses until it is time to rest. */
async function work(until: number): Promise<void> {
  while (performance.now() < until) {
    const name = LOTS[below(LOTS.length)]!;
    await COURSES[name]![1]();
    counts[name] = (counts[name] ?? 0) + 1;
  }
}

// Deno opens a socket pair for signals some time after its start. This opens it now.
Deno.addSignalListener("SIGHUP", () => {});
await Promise.all(Array.from({ length: WORKERS }, () => work(start + 1000)));
const samples = [await sample()];
while (performance.now() - start < duration) {
  const until = Math.min(performance.now() + interval, start + duration);
  await Promise.all(Array.from({ length: WORKERS }, () => work(until)));
  const now = await sample();
  samples.push(now);
  const done = Object.values(counts).reduce((a, b) => a + b);
  console.log(
    `${now.seconds.toFixed(0).padStart(5)} s  ${String(done).padStart(9)} courses  ` +
      `${now.memory.toFixed(1)} MiB  ${now.resident.toFixed(0)} MiB resident  ` +
      `${now.descriptors} descriptors  ${now.children} children`,
  );
}

for (const server of SERVERS) {
  const { aborted } = await server.shutdown();
  check(aborted === 0, `${aborted} connections were cut off`);
}
const left = [...Deno.readDirSync(directory)].map(({ name }) => name);
await Deno.remove(directory, { recursive: true });

// In the first third, caches and buffers grow to their working size.
const settled = samples.slice(Math.floor(samples.length / 3));
const rise = riseOf(settled, "memory");
const [first] = samples as [Sample];
console.log(JSON.stringify({ courses: counts, used, served }));
console.log(
  `memory rises ${rise.toFixed(2)} MiB in ${settled.length} samples ` +
    `(resident ${riseOf(settled, "resident").toFixed(2)})`,
);
if (unexpected !== undefined) throw unexpected;
check(left.length === 0, `left behind: ${left.join(", ")}`);
for (const { descriptors, children, seconds } of samples) {
  check(
    descriptors === first.descriptors && children === first.children,
    `${descriptors} descriptors and ${children} children after ${seconds.toFixed(0)} s, ` +
      `and ${first.descriptors} and ${first.children} at the beginning`,
  );
}
check(served.connections === used.connections, "both sides have different counts of connections");
check(served.messages === used.messages, "both sides have different counts of messages");
check(served.resets === used.resets, "both sides have different counts of resets");
check(rise < RISE, `memory rises: ${rise.toFixed(2)} MiB`);
console.log("nothing grows, and both sides have the same counts");
Deno.exit();
