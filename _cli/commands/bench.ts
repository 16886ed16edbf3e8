/** `uds bench PATH | --self`: measures an echo server. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { lengthPrefixed, messages } from "../../framing.ts";
import { permissions } from "../../permissions.ts";
import { serve } from "../../server.ts";
import { FAILURE, OK, UsageError } from "../exit_codes.ts";
import { count, rate, size, timeLines, timesOf } from "../text/figures.ts";
import { shownPath } from "../parse/parameters.ts";
import { inLocale } from "../text/locale.ts";
import { json, printable } from "../text/printable.ts";
import { connectStream } from "../io/connect_stream.ts";
import { sendBack } from "./echo.ts";
import { stopSignal } from "../io/signals.ts";
import { print, Progress } from "../io/output.ts";
import { attemptToMeasure, limited, type Load, measureLoad } from "../io/request_load.ts";
import { namingStopped } from "../io/proc.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import type { FramingFlags } from "../parse/options.ts";

/** Its options. */
export type BenchFlags = CommonFlags & FramingFlags & {
  readonly send?: string;
  readonly clients?: number;
  readonly self?: boolean;
  readonly seconds?: number;
};

/** The Deno permissions for `--self`: the name of its directory is not known before. */
const SELF_NEEDS: Needs = { read: true, write: true, net: true };

const DEFAULT_MS = 1000;
/** The share of a measurement to wait before it counts. */
const WARM_UP_SHARE = 0.2;
const SMALL_BYTES = 64;
const BULK_BYTES = 256 * 1024;
const MESSAGES_IN_FLIGHT = 1024;

type Report = Awaited<ReturnType<typeof measure>>;

/** The command. */
export async function run(flags: BenchFlags, path?: SocketPath): Promise<number> {
  if ((path === undefined) !== (flags.self ?? false)) {
    throw new UsageError("give either PATH or --self: uds bench PATH | --self");
  }
  if (flags.send !== undefined && path !== undefined) return await measureRequests(flags, path);
  for (const name of ["clients", "framing", "hex"] as const) {
    if (flags[name] !== undefined) throw new UsageError(`--${name} needs --send and PATH`);
  }
  if (flags.send !== undefined) throw new UsageError("--send does not go with --self");
  const report = path === undefined
    ? await measureSelf(flags)
    : await namingStopped(path, measure(flags, path, shownPath(path)));
  await print(flags.json ? `${json(report)}\n` : format(report));
  return OK;
}

/** Measures any server with a request. Returns an exit code: 1 if there were errors. */
async function measureRequests(flags: BenchFlags, path: SocketPath): Promise<number> {
  const { send = "", clients = 1, seconds: ms = DEFAULT_MS, framing, hex } = flags;
  const wire = { ...(framing !== undefined && { framing }), ...(hex !== undefined && { hex }) };
  using progress = new Progress(flags);
  const measuring = measureLoad(path, { request: send, clients, ms, ...wire }, progress);
  const load = await namingStopped(path, measuring);
  progress[Symbol.dispose]();
  const head = { server: shownPath(path), deno: Deno.version.deno, seconds: ms / 1000 };
  await print(flags.json ? `${json({ ...head, ...load })}\n` : formatLoad(head.server, load));
  return Object.keys(load.errors).length === 0 ? OK : FAILURE;
}

/** Returns the Deno permissions that it needs. */
export function needs(_flags: BenchFlags, path?: SocketPath): Needs {
  return path === undefined ? SELF_NEEDS : permissions("connect", path);
}

/** Starts an echo server in a temporary directory, and measures it. */
async function measureSelf(flags: BenchFlags): Promise<Report> {
  requireGrants("Cannot serve an echo", SELF_NEEDS, { operation: "bench", path: null });
  const signal = stopSignal();
  const directory = await Deno.makeTempDir({ prefix: "uds-" });
  const server = "an echo in this process";
  try {
    const own = `${directory}/echo.sock`;
    await using echoing = await serve(own, (conn) => sendBack(conn));
    // This ends the running measurement.
    signal.addEventListener("abort", () => echoing.shutdown({ timeout: 0 }));
    signal.throwIfAborted();
    const report = await measure(flags, own, server);
    signal.throwIfAborted();
    return report;
  } catch (error) {
    throw signal.aborted ? new Error(`Cannot measure ${server}: told to stop`) : error;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function measure(flags: BenchFlags, path: SocketPath, server: string) {
  const ms = flags.seconds ?? DEFAULT_MS;
  await requireEcho(path);
  using progress = new Progress(flags);
  const roundTrips = await measureRoundTrips(path, ms, progress);
  const bulk = await measureBulk(path, ms, progress);
  const messages = await measureMessages(path, ms, progress);
  return { server, deno: Deno.version.deno, seconds: ms / 1000, roundTrips, bulk, messages };
}

/** Throws unless the server sends back a first message. */
async function requireEcho(path: SocketPath): Promise<void> {
  await using conn = await connectStream(path);
  const sent = crypto.getRandomValues(new Uint8Array(SMALL_BYTES));
  const back = new Uint8Array(SMALL_BYTES);
  try {
    await limited(conn, path, async () => {
      await conn.write(sent);
      await readFull(conn, path, back);
    });
    if (!back.every((byte, i) => byte === sent[i])) {
      throw new Error("the server sends something else");
    }
  } catch (cause) {
    const remedy = "uds echo PATH serves one, and --send measures any server";
    if (cause instanceof Deno.errors.TimedOut) {
      cause.message += `. It needs an echo: ${remedy}`;
      throw cause;
    }
    throw new Error(`${attemptToMeasure(path)}: it sends no echo. ${remedy}`, { cause });
  }
}

/** Fills a buffer. */
async function readFull(conn: Connection, path: SocketPath, buffer: Uint8Array): Promise<void> {
  for (let got = 0; got < buffer.length;) {
    const count = await conn.read(buffer.subarray(got));
    if (count === null) throw hasEnded(path);
    got += count;
  }
}

function hasEnded(path: SocketPath): Error {
  const state = "it has ended the connection";
  return new Deno.errors.UnexpectedEof(`${attemptToMeasure(path)}: ${state}`);
}

async function measureRoundTrips(path: SocketPath, ms: number, progress: Progress) {
  await using conn = await connectStream(path);
  const buffer = new Uint8Array(SMALL_BYTES);
  const times: number[] = [];
  const begin = performance.now();
  const from = begin + ms * WARM_UP_SHARE;
  let now = begin;
  await limited(conn, path, async (restart) => {
    // At least one counts, however slow it is.
    while (now < from + ms || times.length === 0) {
      restart();
      await conn.write(buffer);
      await readFull(conn, path, buffer);
      const then = now;
      now = performance.now();
      if (then >= from) times.push((now - then) * 1000);
      progress.show("round trips", () => `${count(rate(times.length, now - from))}/s`);
    }
  });
  return { size: SMALL_BYTES, ...timesOf(times, now - from) };
}

async function measureBulk(path: SocketPath, ms: number, progress: Progress) {
  await using conn = await connectStream(path);
  const from = performance.now() + ms * WARM_UP_SHARE;
  const end = from + ms;
  let bytes = 0;
  let now = from;
  const sending = (async () => {
    const data = new Uint8Array(BULK_BYTES);
    while (performance.now() < end || bytes === 0) await conn.write(data);
    await conn.closeWrite();
  })();
  // The read below fails too.
  sending.catch(() => {});
  // Copies between two page-aligned buffers are slow.
  const buffer = new Uint8Array(BULK_BYTES + 4096).subarray(2048, 2048 + BULK_BYTES);
  await limited(conn, path, async (restart) => {
    for (let read; (read = await conn.read(buffer)) !== null;) {
      restart();
      const at = performance.now();
      if (at < from || at > end && bytes > 0) continue;
      bytes += read;
      now = at;
      progress.show("bulk", () => `${size(bytes / Math.max(now - from, 1) * 1000)}/s`);
    }
    await sending;
  });
  return { size: BULK_BYTES, bytesPerSecond: Math.round(bytes / Math.max(now - from, 1) * 1000) };
}

async function measureMessages(path: SocketPath, ms: number, progress: Progress) {
  const conn = await connectStream(path);
  await using channel = messages(conn, lengthPrefixed());
  const message = new Uint8Array(SMALL_BYTES);
  const from = performance.now() + ms * WARM_UP_SHARE;
  const end = from + ms;
  for (let i = 0; i < MESSAGES_IN_FLIGHT; i++) channel.send(message);
  let got = 0;
  let now = from;
  let isOver = false;
  await limited(conn, path, async (restart) => {
    for await (const batch of channel.batches()) {
      restart();
      if (isOver) continue;
      now = performance.now();
      if (now >= end && got > 0) {
        // Read on until the server has sent everything: closing now would be a failure for it.
        isOver = true;
        channel.closeWrite().catch(() => {});
        continue;
      }
      if (now >= from) got += batch.length;
      for (let i = 0; i < batch.length; i++) channel.send(message);
      progress.show("messages", () => `${count(rate(got, Math.max(now - from, 1)))}/s`);
    }
    if (!isOver) throw hasEnded(path);
  });
  return { size: SMALL_BYTES, perSecond: rate(got, Math.max(now - from, 1)) };
}

function formatLoad(server: string, load: Load): string {
  const errors = Object.entries(load.errors);
  const lost = errors.reduce((sum, [, times]) => sum + times, 0);
  const clients = load.clients === 1 ? "1 client" : `${count(load.clients)} clients`;
  const how = load.reconnects ? ", each on a new connection" : "";
  return [
    `${server}, Deno ${Deno.version.deno}`,
    "",
    `requests of ${load.size} B by ${clients}${how}    ${count(load.perSecond)}/s`,
    ...(load.histogram.length > 0 ? timeLines(load) : []),
    `errors    ${count(lost)}`,
    ...errors.map(([message, times]) =>
      `  ${count(times)} ${inLocale("×", "x")} ${printable(message)}`
    ),
    "",
  ].join("\n");
}

function format({ server, deno, roundTrips, bulk, messages }: Report): string {
  return [
    `${server}, Deno ${deno}`,
    "",
    `round trips of ${SMALL_BYTES} B    ${count(roundTrips.perSecond)}/s`,
    ...timeLines(roundTrips),
    `bulk of 256 KiB        ${size(bulk.bytesPerSecond)}/s, there and back`,
    `messages of ${SMALL_BYTES} B       ${count(messages.perSecond)}/s, there and back`,
    "",
  ].join("\n");
}
