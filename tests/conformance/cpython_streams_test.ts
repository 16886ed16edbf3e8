/** The behaviors of CPython's `test_asyncio.test_streams`, of Unix sockets and of readers. */

import {
  connect,
  type Connection,
  ConnectionClosed,
  delimited,
  lines,
  messages,
  MessageTooLarge,
  serve,
  socketpair,
  text,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { errorOf } from "../connection/_connection.ts";
import { decoded, Pieces } from "../framing/_framing.ts";
import {
  decode,
  encode,
  isPending,
  KIB,
  MIB,
  readAll,
  readText,
  TempDir,
  untilFull,
} from "../_helpers.ts";
import { follows } from "./_follows.ts";

/** Defines a test of two connected ends. */
function streams(
  name: string,
  behavior: string,
  fn: (ours: Connection, peer: Connection) => Promise<void>,
): void {
  follows(`CPython test_asyncio.test_streams: ${name}`, behavior, async () => {
    const [ours, peer] = await socketpair();
    try {
      await fn(ours, peer);
    } finally {
      ours.close();
      peer.close();
    }
  });
}

const DATA = "line1\nline2\nline3\n";

/** Serves responses in the style of HTTP/1.0: some lines, a text, the end. */
async function serveResponses(path: string) {
  return await serve(path, async (conn) => {
    const request = messages(conn, lines());
    assertEquals([await request.receive(), await request.receive()], ["GET / HTTP/1.0", ""]);
    await conn.write(encode("HTTP/1.0 200 OK\r\nContent-type: text/plain\r\n\r\nTest message"));
  });
}

const REQUEST = encode("GET / HTTP/1.0\r\n\r\n");

follows(
  "CPython test_asyncio.test_streams: test_open_unix_connection",
  "connect(): a request, the first line of the response, the rest of it, the end",
  async () => {
    await using dir = new TempDir();
    await using _server = await serveResponses(dir.file("s.sock"));
    using conn = await connect(dir.file("s.sock"));
    await conn.write(REQUEST);
    const head = messages(conn, lines());
    assertEquals(await head.receive(), "HTTP/1.0 200 OK");
    const rest = decode(await readAll(head.detach()));
    assert(rest.endsWith("\r\n\r\nTest message"), rest);
    assertEquals(await conn.read(new Uint8Array(1)), null);
  },
);

streams(
  "test_open_unix_connection_error",
  "receive() rejects with the failure of its connection",
  async (ours, peer) => {
    await ours.write(encode("never read"));
    peer.close();
    await assertRejects(() => messages(ours, lines()).receive(), Deno.errors.ConnectionReset);
  },
);

// read() ----------------------------------------------------------------------------------------

streams("test_read_zero", "read() into no bytes takes nothing", async (ours, peer) => {
  await peer.write(encode(DATA));
  assertEquals(await ours.read(new Uint8Array()), 0);
  assertEquals(await readText(ours), DATA);
});

streams("test_read", "read() waits for bytes, and does not wait to fill", async (ours, peer) => {
  const reading = readText(ours);
  assert(await isPending(reading));
  await peer.write(encode(DATA));
  assertEquals(await reading, DATA);
});

streams("test_read_line_breaks", "read() leaves what does not fit", async (ours, peer) => {
  await peer.write(encode("line1"));
  await peer.write(encode("line2"));
  const buffer = new Uint8Array(5);
  assertEquals([await ours.read(buffer), decode(buffer)], [5, "line1"]);
  assertEquals(await readText(ours), "line2");
});

streams("test_read_eof", "read() that waits resolves to null at the end", async (ours, peer) => {
  const reading = ours.read(new Uint8Array(KIB));
  assert(await isPending(reading));
  await peer.closeWrite();
  assertEquals(await reading, null);
});

streams("test_read_until_eof", "readable collects all up to the end", async (ours, peer) => {
  const all = new Response(ours.readable).text();
  for (const each of ["chunk1\n", "chunk2"]) await peer.write(encode(each));
  await peer.closeWrite();
  assertEquals(await all, "chunk1\nchunk2");
});

streams("test_read_exception", "read() returns what came, then rejects", async (ours, peer) => {
  await peer.write(encode("line\n"));
  await ours.write(encode("never read"));
  peer.close();
  const buffer = new Uint8Array(2);
  assertEquals([await ours.read(buffer), decode(buffer)], [2, "li"]);
  assertEquals(await readText(ours), "ne\n");
  for (let i = 0; i < 2; i++) {
    await assertRejects(() => ours.read(buffer), Deno.errors.ConnectionReset);
  }
});

for (const maxBytes of [0, -1]) {
  streams("test_invalid_limit", `lines() refuses a limit of ${maxBytes}`, () => {
    assertThrows(() => lines({ maxBytes }), RangeError, "maxBytes");
    return Promise.resolve();
  });
}

streams(
  "test_read_limit",
  "detach(): the limit of a codec does not hold for raw reads",
  async (ours, peer) => {
    const channel = messages(ours, lines({ maxBytes: 3 }));
    await peer.write(encode("chunk"));
    await assertRejects(() => channel.receive(), MessageTooLarge);
    assertEquals(await readText(channel.detach()), "chunk");
  },
);

// readline() ------------------------------------------------------------------------------------

streams("test_readline", "receive() waits for the end of a line", async (ours, peer) => {
  const channel = messages(ours, lines());
  await peer.write(encode("chunk1 "));
  const receiving = channel.receive();
  assert(await isPending(receiving));
  for (const each of ["chunk2 ", "chunk3 ", "\n chunk4"]) await peer.write(encode(each));
  assertEquals(await receiving, "chunk1 chunk2 chunk3 ");
  assertEquals(await readText(channel.detach()), " chunk4");
});

follows(
  "CPython test_asyncio.test_streams: test_readline_limit_with_existing_data",
  "lines() that skips drops a line that is too long, and leaves the next one",
  async () => {
    const codec = lines({ maxBytes: 5, tooLong: "skip" });
    const pieces = ["lo", "ng one\nline2\n", "li", "ne1", "li"].map(encode);
    assertEquals(await decoded(codec, ...pieces), { values: ["line2"] });
  },
);

follows(
  "CPython test_asyncio.test_streams: test_readline_limit",
  "lines() takes a line of exactly the limit, and not one byte more, with or without an end",
  async () => {
    const codec = lines({ maxBytes: 7, allowUnterminated: true });
    assertEquals(await decoded(codec, encode("1234567\n"), encode("1234567")), {
      values: ["1234567", "1234567"],
    });
    for (const wrong of ["12345678\n", "12345678"]) {
      const { values, error } = await decoded(codec, encode(wrong));
      assertEquals(values, []);
      assertInstanceOf(error, MessageTooLarge);
    }
  },
);

streams(
  "test_at_eof",
  "receive() returns the last line before the end, and then undefined",
  async (ours, peer) => {
    const channel = messages(ours, lines());
    await peer.write(encode("some data\n"));
    assertEquals(await channel.receive(), "some data");
    await peer.write(encode("some data\n"));
    await peer.closeWrite();
    assertEquals([await channel.receive(), await channel.receive()], ["some data", undefined]);
  },
);

streams(
  "test_readline_nolimit_nowait",
  "receive() returns a line of several writes, and leaves the others",
  async (ours, peer) => {
    await peer.write(encode(DATA.slice(0, 6)));
    await peer.write(encode(DATA.slice(6)));
    const channel = messages(ours, lines());
    assertEquals(await channel.receive(), "line1");
    assertEquals(await readText(channel.detach()), "line2\nline3\n");
  },
);

streams("test_readline_empty_eof", "receive() without a line is undefined", async (ours, peer) => {
  await peer.closeWrite();
  assertEquals(await messages(ours, lines()).receive(), undefined);
});

streams(
  "test_readline_read_byte_count",
  "detach() after a line: a read returns a part of what follows",
  async (ours, peer) => {
    await peer.write(encode(DATA));
    const channel = messages(ours, lines());
    assertEquals(await channel.receive(), "line1");
    const buffer = new Uint8Array(7);
    assertEquals(await channel.detach().read(buffer), 7);
    assertEquals(decode(buffer), "line2\nl");
    assertEquals(await readText(ours), "ine3\n");
  },
);

streams("test_readline, of an iteration", "Iteration returns all lines", async (ours, peer) => {
  await peer.write(encode(DATA));
  await peer.closeWrite();
  const all = await Array.fromAsync(messages(ours, lines()));
  assertEquals(all, ["line1", "line2", "line3"]);
});

// readuntil() -----------------------------------------------------------------------------------

follows(
  "CPython test_asyncio.test_streams: test_readuntil_separator",
  "delimited() refuses a delimiter of no bytes",
  () => void assertThrows(() => delimited(new Uint8Array()), RangeError),
);

for (
  const [name, delimiter, pieces, values] of [
    ["test_readuntil_multi_chunks", "AAA", ["lineAAA", "lineAAAxxxAAA"], ["line", "line", "xxx"]],
    ["test_readuntil_multi_chunks_1", "aaa", ["QWEaa", "XYaa", "a"], ["QWEaaXY"]],
    ["test_readuntil_multi_chunks_1", "aaa", ["QWEaa", "XYa", "aa"], ["QWEaaXY"]],
    ["test_readuntil_multi_chunks_1", "aaa", ["aaa", "Xaaa"], ["", "X"]],
    ["test_readuntil_multi_chunks_1", "aaa", ["QWE", "a", "a", "a"], ["QWE"]],
  ] as [string, string, string[], string[]][]
) {
  follows(
    `CPython test_asyncio.test_streams: ${name}`,
    `delimited() finds ${delimiter} across the reads ${pieces.join("|")}`,
    async () => {
      const codec = text(delimited(encode(delimiter)));
      assertEquals(await decoded(codec, ...pieces.map(encode)), { values });
    },
  );
}

follows(
  "CPython test_asyncio.test_streams: test_readuntil_eof",
  "receive() rejects at the end without a delimiter, and the error has what came",
  async () => {
    const { error } = await decoded(delimited(encode("AAA")), encode("some dataAA"));
    assertInstanceOf(error, TruncatedMessage);
    assertEquals(decode(error.rest), "some dataAA");
  },
);

streams(
  "test_readuntil_limit_found_sep",
  "receive() of a message that is too large takes nothing: detach() has all of it",
  async (ours, peer) => {
    const channel = messages(ours, delimited(encode("AAA"), { maxBytes: 3 }));
    await peer.write(encode("some dataAAA"));
    await assertRejects(() => channel.receive(), MessageTooLarge);
    assertEquals(await readText(channel.detach()), "some dataAAA");
  },
);

// readexactly() ---------------------------------------------------------------------------------

/** Reads exactly a number of bytes, if the end does not come first. */
async function readExactly(conn: Connection, size: number): Promise<[string, done: boolean]> {
  const reader = conn.readable.getReader({ mode: "byob" });
  const { value, done } = await reader.read(new Uint8Array(size), { min: size });
  reader.releaseLock();
  return [decode(value!), done];
}

streams("test_readexactly", "A reader with min waits for so many bytes", async (ours, peer) => {
  const reading = readExactly(ours, 2 * DATA.length);
  await peer.write(encode(DATA));
  assert(await isPending(reading));
  for (let i = 0; i < 2; i++) await peer.write(encode(DATA));
  assertEquals(await reading, [DATA + DATA, false]);
  assertEquals(await readText(ours), DATA);
});

streams("test_readexactly_eof", "A reader with min returns less at the end", async (ours, peer) => {
  await peer.write(encode(DATA));
  await peer.closeWrite();
  assertEquals(await readExactly(ours, 2 * DATA.length), [DATA, true]);
});

// Failures while a call waits -------------------------------------------------------------------

streams(
  "test_exception_waiter",
  "receive() that waits rejects with a reset",
  async (ours, peer) => {
    const receiving = messages(ours, lines()).receive();
    await ours.write(encode("never read"));
    assert(await isPending(receiving));
    peer.close();
    await assertRejects(() => receiving, Deno.errors.ConnectionReset);
  },
);

streams(
  "test_exception_cancel",
  "receive() that was aborted is not disturbed by a later reset",
  async (ours, peer) => {
    const channel = messages(ours, lines());
    const controller = new AbortController();
    const receiving = channel.receive({ signal: controller.signal });
    controller.abort(new Error("given up"));
    await assertRejects(() => receiving, Error, "given up");
    await ours.write(encode("never read"));
    peer.close();
    await assertRejects(() => channel.receive(), Deno.errors.ConnectionReset);
  },
);

// Servers and writers ---------------------------------------------------------------------------

follows(
  "CPython test_asyncio.test_streams: test_start_unix_server",
  "serve(): a handler that answers one line and ends",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using _server = await serve(path, async (conn) => {
      await using channel = messages(conn, lines());
      await channel.send(await channel.receive() ?? "");
    });
    using conn = await connect(path);
    const channel = messages(conn, lines());
    await channel.send("hello world!");
    assertEquals([await channel.receive(), await channel.receive()], ["hello world!", undefined]);
  },
);

streams("test_multiple_drain", "flush(): all that wait go on together", async (ours, peer) => {
  const channel = messages(ours, delimited(0));
  const sending = channel.send(new Uint8Array(MIB).fill(1));
  const flushing = Promise.all(Array.from({ length: 10 }, () => channel.flush()));
  await untilFull(ours);
  assert(await isPending(flushing));
  const received = readAll(peer);
  await Promise.all([sending, flushing]);
  channel.close();
  assertEquals((await received).length, MIB + 1);
});

streams(
  "test_drain_raises",
  "send() without an end to a peer that has closed rejects soon",
  async (ours, peer) => {
    peer.close();
    const channel = messages(ours, lines());
    await assertRejects(async () => {
      for (;;) await channel.send("foo");
    }, Deno.errors.BrokenPipe);
  },
);

for (
  const [name, behavior, readsAll] of [
    ["test_wait_closed_on_close", "after everything was read", true],
    ["test_wait_closed_on_close_with_unread_data", "with bytes unread", false],
  ] as const
) {
  follows(
    `CPython test_asyncio.test_streams: ${name}`,
    `closed resolves on close() ${behavior}`,
    async () => {
      await using dir = new TempDir();
      await using _server = await serveResponses(dir.file("s.sock"));
      const conn = await connect(dir.file("s.sock"));
      await conn.write(REQUEST);
      if (readsAll) await readAll(conn);
      else await conn.read(new Uint8Array(4));
      conn.close();
      await conn.closed;
    },
  );
}

streams(
  "test_async_writer_api_exception_after_close",
  "write() and send() after close() reject",
  async (ours) => {
    const channel = messages(ours, lines());
    ours.close();
    assertInstanceOf(await errorOf(ours.write(encode("data"))), ConnectionClosed);
    await channel.send("data");
    assertInstanceOf(await errorOf(channel.flush()), ConnectionClosed);
  },
);

streams(
  "test_eof_feed_when_closing_writer",
  "read() after close() rejects, and does not look like the end, decided otherwise",
  async (ours, peer) => {
    await peer.write(encode("unread"));
    ours.close();
    await ours.closed;
    // asyncio returns no bytes, as at the end. What the peer had sent would be lost silently.
    await assertRejects(() => ours.read(new Uint8Array(1)), ConnectionClosed);
  },
);

follows(
  "CPython test_asyncio.test_streams: test_feed_empty_data",
  "messages() refuses a channel that reads no bytes again and again",
  async () => {
    const conn = { read: () => Promise.resolve(0), write: () => Promise.resolve(0) };
    await assertRejects(() => messages(conn, lines()).receive(), Error, "0");
    assertEquals(await Array.fromAsync(messages(new Pieces(), lines())), []);
  },
);
