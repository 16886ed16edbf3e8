/**
 * Messages with a length of 4 bytes before them. The words are the way, and what it does:
 *
 * - `uds each` awaits every `send`, `some` every 64th; `batches` sends like `some`, and reads with
 *   `batches()`. With `reuse` the memory of a message is reused. `trips` sends each one back.
 * - `raw` writes each message by itself, and reads into one buffer; with `keep` into new memory.
 */

import { type Connection, lengthPrefixed, messages } from "@uds/uds";
import { type Conn, counted, raw, report, TASK, timed } from "./_program.ts";
import { uds } from "./_uds.ts";

const { role, size, words } = TASK;
const message = new Uint8Array(size);

function count(message: Uint8Array): void {
  counted.items++;
  counted.bytes += message.length;
}

/** Handles a connection of the library. */
async function receive(conn: Connection): Promise<void> {
  await using channel = messages(conn, lengthPrefixed(), { reuse: words.includes("reuse") });
  if (words.includes("batches")) {
    for await (const batch of channel.batches()) for (const message of batch) count(message);
  } else if (words.includes("trips")) {
    for await (const message of channel) {
      await channel.send(message);
      count(message);
    }
  } else {
    for await (const message of channel) count(message);
  }
}

/** Sends the messages of a pass with the library. */
async function send(items: number): Promise<void> {
  await using channel = messages(await uds.connect(), lengthPrefixed());
  if (words.includes("trips")) {
    for (let i = 0; i < items; i++) {
      await channel.send(message);
      count((await channel.receive())!);
    }
    return;
  }
  if (words.includes("each")) {
    for (let i = 0; i < items; i++) await channel.send(message);
  } else {
    for (let i = 1; i <= items; i++) {
      const sent = channel.send(message);
      if (i % 64 === 0) await sent;
    }
  }
  await channel.closeWrite();
  await channel.receive();
  counted.items += items;
  counted.bytes += items * size;
}

/** Reads into one buffer, and makes an array of each message in it. */
async function receiveRaw(conn: Conn): Promise<void> {
  const buffer = new Uint8Array(Math.max(256 * 1024, size + 4));
  const view = new DataView(buffer.buffer);
  let end = 0;
  for (let got; (got = await conn.read(buffer.subarray(end))) !== null;) {
    end += got;
    let start = 0;
    while (end - start >= 4) {
      const length = view.getUint32(start);
      if (end - start - 4 < length) break;
      count(buffer.subarray(start + 4, start + 4 + length));
      start += 4 + length;
    }
    if (start > 0) buffer.copyWithin(0, start, end);
    end -= start;
  }
}

/** Reads each message into its own memory. */
async function keepRaw(conn: Conn): Promise<void> {
  const fill = async (buffer: Uint8Array) => {
    for (let got = 0; got < buffer.length;) {
      const count = await conn.read(buffer.subarray(got));
      if (count === null) return false;
      got += count;
    }
    return true;
  };
  const prefix = new Uint8Array(4);
  const view = new DataView(prefix.buffer);
  while (await fill(prefix)) {
    const message = new Uint8Array(view.getUint32(0));
    if (!await fill(message)) throw new Error("cut short");
    count(message);
  }
}

async function sendRaw(items: number): Promise<void> {
  using conn = await raw.connect();
  const frame = new Uint8Array(4 + size);
  const view = new DataView(frame.buffer);
  for (let i = 0; i < items; i++) {
    view.setUint32(0, size);
    frame.set(message, 4);
    await raw.write(conn, frame);
  }
  await conn.closeWrite();
  await conn.read(new Uint8Array(1));
  counted.items += items;
  counted.bytes += items * size;
}

const isRaw = words.includes("raw");
if (role === "client") {
  report({ seconds: await timed(isRaw ? sendRaw : send) });
} else {
  await (isRaw ? raw.serve(words.includes("keep") ? keepRaw : receiveRaw) : uds.serve(receive));
  report();
}
