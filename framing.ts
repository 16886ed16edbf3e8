/**
 * Messages over a connection: codecs, channels and Web streams.
 *
 * @module
 */

export * from "./framing/messages.ts";
export * from "./framing/codec.ts";
export * from "./framing/length_prefixed.ts";
export * from "./framing/lines.ts";
export * from "./framing/delimited.ts";
export * from "./framing/content_length.ts";
export * from "./framing/text.ts";
export * from "./framing/json.ts";
export * from "./framing/streams.ts";
