import { checked } from "../_internal/base/caller_stack.ts";
import { checkArguments } from "../_internal/base/check.ts";
import { checkCodec } from "../_internal/messages/codec_support.ts";
import { EncodedBytes, type EncodedMessage } from "../_internal/messages/encoded_bytes.ts";
import type { Codec } from "./codec.ts";

export type { EncodedMessage } from "../_internal/messages/encoded_bytes.ts";

/**
 * Encodes a message that goes to many channels, once.
 *
 * - It keeps a copy: the message may change afterwards.
 * - The channels must have been made with this very codec.
 *
 * **Permissions**: none.
 *
 * @template Out The message.
 * @param codec How it becomes bytes.
 * @param message The message.
 * @returns What `sendEncoded` takes, again and again.
 * @throws {TypeError} when the codec is not one, or refuses the message.
 * @throws {RangeError} when the codec cannot frame it: `MessageTooLarge`, or a delimiter in it.
 *
 * @example One message for all guests
 * ```ts
 * import { encodeMessage, lines, messages, socketpair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const codec = lines();
 * const pairs = [await socketpair(), await socketpair()];
 * const news = encodeMessage(codec, "news");
 * for (const [near, far] of pairs) {
 *   await using guest = messages(near, codec);
 *   await using reader = messages(far, codec);
 *   await guest.sendEncoded(news);
 *   assertEquals(await reader.receive(), "news");
 * }
 * ```
 *
 * @category Messages
 */
export function encodeMessage<Out>(
  codec: Codec<unknown, Out>,
  message: NoInfer<Out>,
): EncodedMessage<Out> {
  return checked(encodeMessage, () => {
    checkArguments("encodeMessage", arguments, 2, "encodeMessage(codec, message)");
    checkCodec("codec", codec);
    return new EncodedBytes(codec, message);
  });
}
