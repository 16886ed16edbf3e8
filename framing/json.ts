import { checked } from "../_internal/base/caller_stack.ts";
import {
  checkTextFrames,
  jsonParts,
  malformed,
  overFrames,
  withContents,
} from "../_internal/messages/codec_support.ts";
import { jsonText } from "../_internal/messages/json_text.ts";
import { checkArguments, checkFunction } from "../_internal/base/check.ts";
import type { Codec, TextCodec } from "./codec.ts";
import { text } from "./text.ts";

/**
 * Makes the frames of another codec JSON values.
 *
 * ```text
 * 7b 22 69 64 22 3a 31 7d  0a              {"id":1} in json(lines()): NDJSON, or JSON Lines
 * 00 00 00 08  7b 22 69 64 22 3a 31 7d     {"id":1} in json(lengthPrefixed())
 * ```
 *
 * - **On `send`** the message is what `JSON.stringify` makes of the value: a `Date` becomes a
 *   string, `NaN` becomes `null`, and properties that are `undefined` are left out. A value without
 *   JSON is refused with a `TypeError`: `undefined`, functions, symbols, a `BigInt`, a promise, a
 *   generator, and an object that contains itself. The error names the part, such as `.list[0]`. An
 *   error that a `toJSON` throws stays unchanged.
 * - **On `receive`** the message is any JSON value, including `null`, or what `parse` makes of it.
 *   Without `parse`, the type `In` is your claim, which is not checked.
 * - **Types**: a client has a `json<Response, Request>(…)`, and its server a
 *   `json<Request, Response>(…)`.
 * - **Malformed**: `Deno.errors.InvalidData`, with the `SyntaxError` as its cause, when the text is
 *   not JSON. An empty line is not JSON. An error that `parse` throws stays unchanged.
 * - **Too large**, **cut short** and not UTF-8: as the frames say.
 *
 * @template In What is received.
 * @template Out What is sent, if it is of another type.
 * @param frames The codec of the texts, or of their bytes in UTF-8.
 * @param parse Checks a received value and makes a message of it. It throws to refuse the value.
 * @returns The codec.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the frames can be larger than a string.
 *
 * @example Messages that are checked
 * ```ts
 * import { json, lines, messages, socketpair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * interface Point {
 *   x: number;
 *   y: number;
 * }
 * function parsePoint(value: unknown): Point {
 *   const { x, y } = value as Point;
 *   if (typeof x !== "number" || typeof y !== "number") throw new TypeError("not a point");
 *   return { x, y };
 * }
 *
 * const [a, b] = await socketpair();
 * await using sender = messages(a, json<Point>(lines()));
 * await using receiver = messages(b, json(lines(), parsePoint));
 * await sender.send({ x: 1, y: 2 });
 * assertEquals(await receiver.receive(), { x: 1, y: 2 });
 * ```
 *
 * @category Messages
 */
export function json<In = unknown, Out = In>(
  frames: TextCodec | Codec<Uint8Array>,
  parse?: (value: unknown) => In,
): Codec<In, Out> {
  checked(json, () => {
    checkArguments("json", arguments, 2, "json(frames, parse)");
    checkTextFrames(frames);
    if (parse !== undefined) checkFunction("parse", parse);
  });
  const texts = "text" in frames ? frames : text(frames);
  const codec = overFrames<string, In, Out>(
    texts,
    (message, out) => texts.encode(jsonText(message), out),
    parse === undefined ? parseJson<In> : (text) => parse(parseJson(text)),
  );
  jsonParts.set(codec, { frames, parse });
  return withContents(codec, "none");
}

function parseJson<T>(text: string): T {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw malformed(`${text.length === 0 ? "an empty text" : "its text"} is not JSON`, error);
  }
}
