/**
 * A client of ssh-agent. It lists the keys, with a codec for the agent's messages.
 *
 * Terminal 1: ssh-agent -D -a /tmp/agent.sock
 * Terminal 2: deno run -RWN examples/ssh_agent.ts /tmp/agent.sock
 */

import { type Codec, connect, lengthPrefixed, messages } from "@uds/uds";

interface AgentMessage {
  type: number;
  body: Uint8Array;
}
const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;

// 00 00 00 05  0c  00 00 00 00   an answer (type 12) with no identities
// └─ length ─┘ type └─ body ─┘
const frames = lengthPrefixed({ maxBytes: 256 * 1024 });
const agentCodec: Codec<AgentMessage> = {
  maxBytes: frames.maxBytes,
  encode({ type, body }, out) {
    frames.encode(new Uint8Array([type, ...body]), out);
  },
  decode(bytes, scanned) {
    const frame = frames.decode(bytes, scanned);
    if (typeof frame !== "object") return frame;
    const [type] = frame.message;
    if (type === undefined) throw new Deno.errors.InvalidData("A message without a type");
    return { message: { type, body: frame.message.subarray(1) }, end: frame.end };
  },
};

/** Yields the length-prefixed strings of a body, from the offset `at` on. */
function* strings(body: Uint8Array, at: number): Generator<Uint8Array> {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  while (at < body.length) {
    const start = at + 4;
    at = start + view.getUint32(at);
    yield body.subarray(start, at);
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

await using agent = messages(
  await connect({ path: Deno.args[0] ?? "./agent.sock", wait: true }),
  agentCodec,
);
await agent.send({ type: REQUEST_IDENTITIES, body: new Uint8Array() });
const answer = await agent.receive();
if (answer?.type !== IDENTITIES_ANSWER) throw new Error("The agent did not list its keys");

// The number of keys, then a key and a comment for each. A key begins with its type.
const found = [...strings(answer.body, 4)];
if (found.length === 0) console.log("no keys");
for (let i = 0; i + 1 < found.length; i += 2) {
  const [kind] = strings(found[i]!, 0);
  console.log(`${text(kind!)} ${text(found[i + 1]!)}`);
}
