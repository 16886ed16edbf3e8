/**
 * The types of messages: a client and a server need no cast, and wrong messages do not compile. The
 * runner checks the types: each `@ts-expect-error` fails unless there is one.
 */

import {
  type Codec,
  connect,
  decodeStream,
  encodeStream,
  json,
  lines,
  type Messages,
  messages,
  serve,
} from "@uds/uds";
import { assertEquals } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";

interface Request {
  id: number;
  text: string;
}
interface Response {
  id: number;
  size: number;
}

const atClient = json<Response, Request>(lines());
const atServer = json<Request, Response>(lines());

function sizeOf({ id, text }: Request): Response {
  return { id, size: text.length };
}

function parseResponse(value: unknown): Response {
  const { id, size } = value as Response;
  if (typeof id !== "number" || typeof size !== "number") throw new TypeError("not a response");
  return { id, size };
}

/** Compiles only if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;

function isSame<A, B>(_same: Same<A, B>): void {}

test("a client and a server with different messages each way need no cast", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  await using _server = await serve(path, async (conn) => {
    await using client = messages(conn, atServer);
    for await (const request of client) await client.send(sizeOf(request));
  });
  await using server = messages(
    await connect(path),
    json<Response, Request>(lines(), parseResponse),
  );
  await server.send({ id: 1, text: "four" });
  const response = await server.receive();
  isSame<typeof response, Response | undefined>(true);
  assertEquals(response?.size, 4);
  await server.send({ id: 2, text: "" });
  await server.closeWrite();
  for await (const batch of server.batches()) assertEquals(batch.map(({ id }) => id), [2]);
});

test("streams of different messages each way need no cast", async () => {
  await using dir = new TempDir();
  const path = dir.file("s");
  await using _server = await serve(path, async (conn) => {
    const answers = new TransformStream<Request, Response>({
      transform: (request, controller) => controller.enqueue(sizeOf(request)),
    });
    await conn.readable.pipeThrough(decodeStream(atServer)).pipeThrough(answers)
      .pipeThrough(encodeStream(atServer)).pipeTo(conn.writable);
  });
  await using conn = await connect(path);
  const asking = ReadableStream.from<Request>([{ id: 1, text: "four" }])
    .pipeThrough(encodeStream(atClient)).pipeTo(conn.writable);
  const responses = conn.readable.pipeThrough(decodeStream(atClient));
  isSame<typeof responses, ReadableStream<Response>>(true);
  assertEquals(await Array.fromAsync(responses, ({ size }) => size), [4]);
  await asking;
});

test("a codec with one type sends what it receives, and json() without one takes anything", () => {
  isSame<Codec<Request>, Codec<Request, Request>>(true);
  isSame<Messages<Request>, Messages<Request, Request>>(true);
  const values = json(lines());
  isSame<typeof values, Codec<unknown, unknown>>(true);
  // A list of codecs of any messages.
  const codecs: Codec<unknown, never>[] = [atClient, atServer, lines(), values];
  assertEquals(codecs.length, 4);
});

/** It is not called: it has what must not compile. */
export async function wrong(
  client: Messages<Response, Request>,
  frames: Codec<Uint8Array>,
): Promise<void> {
  // @ts-expect-error: a response is not sent by a client
  await client.send({ id: 1, size: 1 });
  // @ts-expect-error: a request is not received by a client
  const _request: Request | undefined = await client.receive();
  // @ts-expect-error: nor in a batch
  for await (const [first] of client.batches()) void first?.text;
  // @ts-expect-error: a misspelled property
  for await (const { sizes } of client) void sizes;
  // @ts-expect-error: the codec of the other end
  const _other: Codec<Response, Request> = atServer;
  // @ts-expect-error: messages of the other end
  const _end: Messages<Request, Response> = client;
  // @ts-expect-error: something that sends only requests does not send everything
  const _any: Messages<unknown> = client;
  // @ts-expect-error: nor does a codec encode everything
  const _codec: Codec<unknown> = atClient;
  // @ts-expect-error: parse() makes another type
  json<Request>(lines(), parseResponse);
  // @ts-expect-error: json() needs texts or bytes
  json(json(frames));
  // @ts-expect-error: a stream of responses is not one of requests
  ReadableStream.from<Response>([]).pipeThrough(encodeStream(atClient));
  // @ts-expect-error: responses come from a server
  const _stream: TransformStream<Uint8Array, Request> = decodeStream(atClient);
}
