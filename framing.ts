/**
 * Whole messages over a connection, which by itself carries a stream of bytes, cut anywhere.
 *
 * - {@linkcode messages} sends and receives them, with a codec.
 * - **Codecs of bytes**: {@linkcode lengthPrefixed}, {@linkcode delimited} and {@linkcode
 *   contentLength}.
 * - **Codecs of texts**: {@linkcode lines}, and {@linkcode text} over a codec of bytes.
 * - **Values**: {@linkcode json} over any of these. Or a {@linkcode Codec} of your own.
 * - {@linkcode encodeMessage} encodes a message once, for many connections.
 * - {@linkcode encodeStream} and {@linkcode decodeStream} use the codecs with Web streams.
 * - For calls and their answers, use `rpc()`.
 *
 * @example JSON lines
 * ```ts
 * import { connect, json, lines, messages, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/square.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await using client = messages(conn, json<number>(lines()));
 *   for await (const n of client) await client.send(n * n);
 * });
 *
 * await using server = messages(await connect(path), json<number>(lines()));
 * for (const n of [1, 2, 3]) await server.send(n);
 * await server.closeWrite();
 * assertEquals(await Array.fromAsync(server), [1, 4, 9]);
 * ```
 *
 * @example Write a codec: the messages of ssh-agent
 * ```ts
 * import { type Codec, lengthPrefixed, messages, socketpair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * interface AgentMessage {
 *   type: number;
 *   body: Uint8Array;
 * }
 * // 00 00 00 05  0c  00 00 00 00   an answer (type 12) with no identities
 * // └─ length ─┘ type └─ body ─┘
 * const frames = lengthPrefixed({ maxBytes: 256 * 1024 });
 * const agentCodec: Codec<AgentMessage> = {
 *   maxBytes: frames.maxBytes,
 *   encode({ type, body }, out) {
 *     frames.encode(new Uint8Array([type, ...body]), out);
 *   },
 *   decode(bytes, scanned) {
 *     const frame = frames.decode(bytes, scanned);
 *     if (typeof frame !== "object") return frame;
 *     const [type] = frame.message;
 *     if (type === undefined) throw new Deno.errors.InvalidData("A message without a type");
 *     return { message: { type, body: frame.message.subarray(1) }, end: frame.end };
 *   },
 * };
 *
 * const [a, b] = await socketpair();
 * await using client = messages(a, agentCodec);
 * await using agent = messages(b, agentCodec);
 * await client.send({ type: 11, body: new Uint8Array() });
 * assertEquals((await agent.receive())?.type, 11);
 * ```
 *
 * @module
 */

export * from "./framing/messages.ts";
export * from "./framing/codec.ts";
export * from "./framing/encoded.ts";
export * from "./framing/length_prefixed.ts";
export * from "./framing/lines.ts";
export * from "./framing/delimited.ts";
export * from "./framing/content_length.ts";
export * from "./framing/text.ts";
export * from "./framing/json.ts";
export * from "./framing/streams.ts";
