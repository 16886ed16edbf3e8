/** The same request to any server, again and again: `uds bench --send`. */

import { kindOfError } from "../../_internal/base/counted_lines.ts";
import { delay } from "../../_internal/base/event_loop.ts";
import { handled } from "../../_internal/base/rejection.ts";
import { settlesWithin, SilenceTimer } from "../../_internal/base/silence.ts";
import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { encodeMessage, messages } from "../../framing.ts";
import type { FramingFlags } from "../parse/options.ts";
import { shownPath } from "../parse/parameters.ts";
import { commandMessage } from "../text/failure.ts";
import { type Times, timesOf } from "../text/figures.ts";
import { connectStream } from "./connect_stream.ts";
import { codecOf, fromHex } from "./framing.ts";
import type { Progress } from "./output.ts";

/** How long, in milliseconds, a pause must be to end the first answer. */
const PAUSE_MS = 50;
/** How long, in milliseconds, an answer may take. */
const ANSWER_MS = 2000;
/** How long, in milliseconds, to wait after a failure. */
const RETRY_MS = 10;
/** The maximum number of kinds of failures to list; all others count as one. */
const MAX_KINDS = 10;
const BUFFER_BYTES = 64 * 1024;
/** The share of the measurement to wait before it counts. */
const WARM_UP_SHARE = 0.2;

/** A request, and how often to send it. */
export interface LoadOptions extends FramingFlags {
  readonly request: string;
  /** The number of clients at the same time. */
  readonly clients: number;
  /** How long to measure, in milliseconds. */
  readonly ms: number;
}

/** What was measured. */
export interface Load extends Times {
  readonly size: number;
  readonly clients: number;
  /** Whether each request had a new connection. */
  readonly reconnects: boolean;
  /** How often each kind of failure came, by the first message of the kind. */
  readonly errors: Record<string, number>;
}

/** A client that sends the request, and resolves when it has the whole answer. */
interface Client extends AsyncDisposable {
  exchange(): Promise<void>;
}

/** How a server answers, found with the first request. */
interface Manner {
  /** Whether it answers only at the end of file, or ends after each answer. */
  readonly ends: boolean;
  readonly halfCloses: boolean;
  readonly answerBytes: number;
}

/** Sends the request until the time is over. */
export async function measureLoad(
  path: SocketPath,
  { request: text, clients, ms, ...framing }: LoadOptions,
  progress: Progress,
): Promise<Load> {
  const request = framing.hex ? fromHex(text) : new TextEncoder().encode(text);
  const isFramed = (framing.framing ?? "raw") !== "raw";
  const manner = isFramed ? undefined : await mannerOf(path, request);
  const open = manner === undefined
    ? framedClients(path, request, framing)
    : manner.ends
    ? () => Promise.resolve(anewEachTime(path, request, manner))
    : () => openRaw(path, request, manner.answerBytes);
  // A server that does not listen is not measured.
  if (isFramed) await (await open())[Symbol.asyncDispose]();

  const times: number[] = [];
  const errors: Record<string, number> = {};
  const firstMessages = new Map<string, string>();
  const from = performance.now() + ms * WARM_UP_SHARE;
  const end = from + ms;
  let last = end;
  await Promise.all(Array.from({ length: clients }, run));
  return {
    size: request.length,
    clients,
    reconnects: manner?.ends ?? false,
    errors,
    ...timesOf(times, last - from),
  };

  /** Reports whether to go on: at least one answer or failure counts, however slow it is. */
  function goesOn(): boolean {
    return performance.now() < end || times.length === 0 && Object.keys(errors).length === 0;
  }

  async function run(): Promise<void> {
    while (goesOn()) {
      try {
        await using client = await open();
        while (goesOn()) await measureOne(client);
      } catch (error) {
        countError(error);
        await delay(RETRY_MS);
      }
    }
  }

  function countError(error: unknown): void {
    const kind = kindOfError(error);
    if (!firstMessages.has(kind) && firstMessages.size < MAX_KINDS) {
      firstMessages.set(kind, commandMessage(error));
    }
    const message = firstMessages.get(kind) ?? "other errors";
    errors[message] = (errors[message] ?? 0) + 1;
  }

  async function measureOne(client: Client): Promise<void> {
    const begin = performance.now();
    await client.exchange();
    const now = performance.now();
    if (begin >= from && (now <= end || times.length === 0)) {
      times.push((now - begin) * 1000);
      last = Math.max(end, now);
    }
    progress.show("requests", () => `${times.length}`);
  }
}

/** Sends one request, to find out where an answer ends. */
async function mannerOf(path: SocketPath, request: Uint8Array): Promise<Manner> {
  await using conn = await connectStream(path);
  const buffer = new Uint8Array(BUFFER_BYTES);
  await conn.write(request);
  let halfCloses = false;
  let answerBytes = 0;
  let begin = 0;
  for (let reading = conn.read(buffer);;) {
    const isOver = !await settlesWithin(reading, answerBytes === 0 ? ANSWER_MS : PAUSE_MS);
    if (isOver) handled(reading);
    if (isOver && answerBytes > 0) return { ends: false, halfCloses, answerBytes };
    if (isOver && halfCloses) {
      throw timedOut(path, `no answer came within ${2 * ANSWER_MS / 1000} s`);
    }
    if (isOver) {
      // Some servers answer at the end of file only.
      halfCloses = true;
      await conn.closeWrite();
      continue;
    }
    const count = await reading;
    if (count === null && answerBytes === 0) throw noAnswer(path);
    if (count === null) return { ends: true, halfCloses, answerBytes };
    if (answerBytes === 0) begin = performance.now();
    answerBytes += count;
    if (performance.now() - begin > ANSWER_MS) {
      const state = `its first answer has not ended within ${ANSWER_MS / 1000} s`;
      throw timedOut(path, `${state}. If the server sends by itself, use --framing`);
    }
    reading = conn.read(buffer);
  }
}

async function openRaw(path: SocketPath, request: Uint8Array, size: number): Promise<Client> {
  const conn = await connectStream(path);
  const buffer = new Uint8Array(BUFFER_BYTES);
  return {
    exchange: () =>
      limited(conn, path, async () => {
        await conn.write(request);
        for (let got = 0; got < size;) {
          const count = await conn.read(buffer);
          if (count === null) throw noAnswer(path);
          got += count;
        }
      }),
    [Symbol.asyncDispose]: () => conn[Symbol.asyncDispose](),
  };
}

/** Returns a function that opens a client. Throws if the framing cannot encode the request. */
function framedClients(
  path: SocketPath,
  request: Uint8Array,
  flags: FramingFlags,
): () => Promise<Client> {
  const codec = codecOf(flags);
  const encoded = encodeMessage(codec, request);
  return async () => {
    const conn = await connectStream(path);
    const channel = messages(conn, codec);
    return {
      exchange: () =>
        limited(conn, path, async () => {
          await channel.sendEncoded(encoded);
          if (await channel.receive() === undefined) throw noAnswer(path);
        }),
      [Symbol.asyncDispose]: () => channel[Symbol.asyncDispose](),
    };
  };
}

/** Returns a client for a server that serves one request on a connection. */
function anewEachTime(path: SocketPath, request: Uint8Array, { halfCloses }: Manner): Client {
  const buffer = new Uint8Array(BUFFER_BYTES);
  return {
    async exchange() {
      await using conn = await connectStream(path);
      await limited(conn, path, async () => {
        await conn.write(request);
        if (halfCloses) await conn.closeWrite();
        let got = 0;
        for (let count; (count = await conn.read(buffer)) !== null;) got += count;
        if (got === 0) throw noAnswer(path);
      });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/**
 * Does some work with a connection. Closes the connection if an answer takes too long.
 *
 * @param work Calls `restart` for the answer that follows.
 */
export async function limited<T>(
  conn: Connection,
  path: SocketPath,
  work: (restart: () => void) => Promise<T>,
): Promise<T> {
  let isLate = false;
  const timer = new SilenceTimer(() => {
    isLate = true;
    conn.close();
  });
  const restart = () => timer.start(ANSWER_MS);
  restart();
  try {
    return await work(restart);
  } catch (error) {
    throw isLate ? timedOut(path, `no whole answer came within ${ANSWER_MS / 1000} s`) : error;
  } finally {
    timer.stop();
  }
}

/** Returns the beginning of an error message: `Cannot measure "/run/app.sock"`. */
export function attemptToMeasure(path: SocketPath): string {
  return `Cannot measure ${JSON.stringify(shownPath(path))}`;
}

function timedOut(path: SocketPath, state: string): Error {
  return new Deno.errors.TimedOut(`${attemptToMeasure(path)}: ${state}`);
}

function noAnswer(path: SocketPath): Error {
  const state = "it has ended the connection without an answer";
  return new Deno.errors.UnexpectedEof(`${attemptToMeasure(path)}: ${state}`);
}
