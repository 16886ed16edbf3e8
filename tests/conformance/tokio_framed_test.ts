/** The behaviors of tokio-util's tests of `Framed`, `FramedRead` and `FramedWrite`. */

import { type Codec, messages, type MessagesOptions, socketpair, TruncatedMessage } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { concat, decoded, Pieces } from "../framing/_framing.ts";
import { isPending } from "../_helpers.ts";
import { follows } from "./_follows.ts";

/** A codec of unsigned integers of 4 or 8 bytes, which counts its calls. */
class Integers implements Codec<number> {
  readonly #size: number;
  readonly maxBytes: number;
  /** The number of bytes of each call of `decode`. */
  readonly seen: number[] = [];

  constructor(size: 4 | 8) {
    this.#size = size;
    this.maxBytes = size;
  }

  encode(value: number, out: Parameters<Codec<number>["encode"]>[1]): void {
    if (this.#size === 8) out.uint32(0);
    out.uint32(value);
  }

  decode(bytes: Uint8Array): { message: number; end: number } | undefined {
    this.seen.push(bytes.length);
    if (bytes.length < this.#size) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return { message: view.getUint32(this.#size - 4), end: this.#size };
  }
}

function u32(...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => view.setUint32(4 * i, value));
  return new Uint8Array(view.buffer);
}

/** A channel that reads what the steps of a test say: bytes, the end (`null`), or an error. */
class Script {
  readonly written: Uint8Array[] = [];
  readonly #steps: (Uint8Array | Error | Promise<void> | null)[];

  constructor(...steps: (Uint8Array | Error | Promise<void> | null)[]) {
    this.#steps = steps;
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const step = this.#steps.shift() ?? null;
    if (step instanceof Error) throw step;
    if (step instanceof Promise) {
      await step;
      return await this.read(buffer);
    }
    if (step === null) return null;
    buffer.set(step);
    return step.length;
  }

  write(data: Uint8Array): Promise<number> {
    this.written.push(data.slice());
    return Promise.resolve(data.length);
  }
}

follows(
  "tokio-util framed: can_read_from_existing_buf",
  "detach(): a message that was read already is received without a read",
  async () => {
    const first = messages(new Script(u32(1, 42), new Error("read again")), new Integers(4));
    assertEquals(await first.receive(), 1);
    const second = messages(first.detach(), new Integers(4));
    assertEquals(await second.receive(), 42);
    await assertRejects(() => second.receive(), Error, "read again");
  },
);

for (
  const suite of ["framed: can_read_from_existing_buf", "framed_read: read_multi_frame_in_packet"]
) {
  follows(
    `tokio-util ${suite}_after_codec_changed`,
    "detach(): the next codec begins behind the last message of the first one",
    async () => {
      const first = messages(new Script(u32(42, 0, 84)), new Integers(4));
      assertEquals(await first.receive(), 42);
      const second = messages(first.detach(), new Integers(8));
      assertEquals([await second.receive(), await second.receive()], [84, undefined]);
    },
  );
}

follows(
  "tokio-util framed: from_parts_empty_read_buf_does_not_spuriously_decode",
  "receive() calls decode() with at least one byte, and after detach() not before a read",
  async () => {
    const codec = new Integers(4);
    const first = messages(new Script(u32(1), u32(42)), new Integers(4));
    assertEquals(await first.receive(), 1);
    const second = messages(first.detach(), codec);
    assertEquals([await second.receive(), await second.receive()], [42, undefined]);
    assertEquals(codec.seen, [4]);
  },
);

follows(
  "tokio-util framed_read: read_multi_frame_in_packet",
  "receive() returns three messages of one read, then the end",
  async () => {
    assertEquals(await decoded(new Integers(4), u32(0, 1, 2)), { values: [0, 1, 2] });
  },
);

follows(
  "tokio-util framed_read: read_multi_frame_across_packets",
  "receive() returns three messages of three reads, then the end",
  async () => {
    assertEquals(await decoded(new Integers(4), u32(0), u32(1), u32(2)), { values: [0, 1, 2] });
  },
);

for (
  const [name, behavior, parts] of [
    ["read_not_ready", "nothing", [new Uint8Array(), u32(0, 1)]],
    ["read_partial_then_not_ready", "half a message", [
      u32(0).slice(2),
      concat(u32(0), u32(1)).slice(2),
    ]],
  ] as const
) {
  follows(
    `tokio-util framed_read: ${name}`,
    `receive() waits when ${behavior} has come, and goes on`,
    async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const before = parts[0].length === 0 ? [] : [parts[0]];
      const channel = messages(new Script(...before, promise, parts[1]), new Integers(4));
      const receiving = channel.receive();
      assert(await isPending(receiving));
      resolve();
      assertEquals(await receiving, 0);
      assertEquals([await channel.receive(), await channel.receive()], [1, undefined]);
    },
  );
}

for (
  const [name, behavior, before] of [
    ["read_err", "at once", []],
    ["read_partial_then_err", "within a message", [new Uint8Array(2)]],
    ["read_partial_would_block_then_err", "after a wait", [new Uint8Array(2), Promise.resolve()]],
  ] as [string, string, (Uint8Array | Promise<void>)[]][]
) {
  follows(
    `tokio-util framed_read: ${name}`,
    `receive() rejects with the failure of a read ${behavior}`,
    async () => {
      const cause = new Error("broken");
      const channel = messages(new Script(...before, cause), new Integers(4));
      const error = await assertRejects(() => channel.receive(), Error, "broken");
      assertEquals(error.cause ?? error, cause);
    },
  );
}

follows(
  "tokio-util framed_read: huge_size",
  "receive() gathers a message of many reads",
  async () => {
    const codec: Codec<number> = {
      maxBytes: 32 * 1024,
      encode: () => {},
      decode: (bytes) => bytes.length < 32 * 1024 ? undefined : { message: 0, end: 32 * 1024 },
    };
    const parts = Array.from({ length: 33 }, () => new Uint8Array(1000));
    const { values, error } = await decoded(codec, ...parts);
    assertEquals(values, [0]);
    assertInstanceOf(error, TruncatedMessage);
    assertEquals(error.message.includes("232"), true, error.message);
  },
);

follows(
  "tokio-util framed_read: data_remaining_is_error",
  "receive() rejects if bytes are left at the end of file, after the messages",
  async () => {
    const { values, error } = await decoded(new Integers(4), new Uint8Array(5));
    assertEquals(values, [0]);
    assertInstanceOf(error, TruncatedMessage);
  },
);

follows(
  "tokio-util framed_read: multi_frames_on_eof",
  "finish() makes one message of the bytes that are left, decided otherwise",
  async () => {
    // In tokio it may make many, even of no bytes. One of each end is what protocols have.
    const rest: number[] = [];
    const codec: Codec<number> = {
      maxBytes: 100,
      encode: () => {},
      decode: () => undefined,
      finish: (bytes) => rest.push(bytes.length),
    };
    assertEquals(await decoded(codec, new Uint8Array(3), new Uint8Array(4)), { values: [1] });
    assertEquals(await decoded(codec), { values: [] });
    assertEquals(rest, [7]);
  },
);

follows(
  "tokio-util framed_read: read_eof_then_resume",
  "receive() resolves to the end at each call after the end of file, decided otherwise",
  async () => {
    // tokio reads on, for files that grow. The end of a socket is final.
    const channel = messages(new Script(u32(1), null, u32(2)), new Integers(4));
    assertEquals(await channel.receive(), 1);
    for (let i = 0; i < 3; i++) assertEquals(await channel.receive(), undefined);
  },
);

follows(
  "tokio-util framed_write: write_multi_frame_in_packet",
  "send() of three messages at once makes one write",
  async () => {
    const conn = new Script();
    const channel = messages(conn, new Integers(4));
    const sends = [0, 1, 2].map((value) => channel.send(value));
    assertEquals(conn.written, []);
    await channel.flush();
    assertEquals(conn.written, [u32(0, 1, 2)]);
    await Promise.all(sends);
  },
);

follows(
  "tokio-util framed_write: write_multi_frame_after_codec_changed",
  "detach(): what was sent leaves before what the next codec sends",
  async () => {
    const conn = new Pieces();
    const first = messages(conn, new Integers(4));
    await first.send(4);
    const second = messages(first.detach(), new Integers(8));
    await second.send(8);
    await second.flush();
    assertEquals(conn.bytes, u32(4, 0, 8));
  },
);

follows(
  "tokio-util framed_write: write_hits_backpressure",
  "send() does not resolve while maxPending bytes wait, and resolves when the peer reads",
  async () => {
    const [a, b] = await socketpair();
    const options: MessagesOptions = { maxPending: 16 * 1024 };
    const channel = messages(a, new Integers(4), options);
    const receiver = messages(b, new Integers(4));
    let sent = 0;
    let last = channel.send(sent);
    while (!await isPending(last)) {
      for (let i = 0; i < 2048; i++) last = channel.send(++sent);
    }
    for (let i = 0; i <= sent; i++) assertEquals(await receiver.receive(), i);
    await last;
    channel.close();
    assertEquals(await receiver.receive(), undefined);
    receiver.close();
  },
);

follows(
  "tokio-util framed_stream: return_none_after_error",
  "receive() rejects with the same failure at each further call, decided otherwise",
  async () => {
    // tokio ends once, then reads on. A caller that missed the error would take that for the end.
    const channel = messages(new Script(u32(1), new Error("broken"), u32(2)), new Integers(4));
    assertEquals(await channel.receive(), 1);
    const first = await assertRejects(() => channel.receive(), Error, "broken");
    for (let i = 0; i < 2; i++) {
      assertEquals(await assertRejects(() => channel.receive(), Error), first);
    }
  },
);
