import {
  type Codec,
  type Connection,
  contentLength,
  decodeStream,
  delimited,
  encodeStream,
  json,
  lengthPrefixed,
  lines,
  messages,
  socketpair,
  text,
} from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { encode, test } from "../_helpers.ts";
import { type ErrorClass, Pieces } from "./_framing.ts";

const PLAIN: Codec<Uint8Array> = { maxBytes: 1, encode() {}, decode: () => undefined };

const BAD: [string, () => unknown, ErrorClass, string][] = [
  ["text(frames without a limit)", () => text({ ...PLAIN, maxBytes: NaN }), TypeError, "codec"],
  ["lengthPrefixed({ prefix: 5 })", () => lengthPrefixed({ prefix: 5 as 4 }), TypeError, "prefix"],
  [
    "lengthPrefixed({ offset: 1 })",
    () => lengthPrefixed({ offset: 1 }),
    TypeError,
    "Set keepHeader as well",
  ],
  [
    "lengthPrefixed({ offset: -1 })",
    () => lengthPrefixed({ offset: -1, keepHeader: true }),
    RangeError,
    "offset",
  ],
  ["lengthPrefixed({ adjust: 0.5 })", () => lengthPrefixed({ adjust: 0.5 }), RangeError, "adjust"],
  [
    "lengthPrefixed({ maxBytes: 0 })",
    () => lengthPrefixed({ maxBytes: 0 }),
    RangeError,
    "maxBytes",
  ],
  ["lengthPrefixed({ size: 4 })", () => lengthPrefixed({ size: 4 } as never), TypeError, "size"],
  [
    "lengthPrefixed({ littleEndian: 1 })",
    () => lengthPrefixed({ littleEndian: 1 as never }),
    TypeError,
    "littleEndian",
  ],
  ["delimited()", () => delimited(undefined as never), TypeError, "byte"],
  ["delimited(256)", () => delimited(256), RangeError, "at most 255"],
  ["delimited([])", () => delimited(new Uint8Array()), RangeError, "delimiter (bytes)"],
  ["delimited([…])", () => delimited(new Uint8Array(257)), RangeError, "at most 256"],
  ['lines({ tooLong: "cut" })', () => lines({ tooLong: "cut" as "skip" }), TypeError, "tooLong"],
  ["lines({ onSkip: 1 })", () => lines({ onSkip: 1 as never }), TypeError, "onSkip"],
  ['delimited("\\n")', () => delimited("\n" as never), TypeError, "byte"],
  ["lines({ maxBytes: 1.5 })", () => lines({ maxBytes: 1.5 }), RangeError, "maxBytes"],
  [
    "lines({ allowUnterminated: 1 })",
    () => lines({ allowUnterminated: 1 as never }),
    TypeError,
    "allowUnterminated",
  ],
  ["contentLength({ max: 1 })", () => contentLength({ max: 1 } as never), TypeError, "max"],
  ["text(lines())", () => text(lines() as never), TypeError, "texts already"],
  ["text({})", () => text({} as never), TypeError, "expected a codec"],
  ["json()", () => json(undefined as never), TypeError, "expected a codec"],
  ["json(lines(), 1)", () => json(lines(), 1 as never), TypeError, "parse"],
  ["messages({}, lines())", () => messages({} as never, lines()), TypeError, "read and write"],
  ["messages(conn)", () => messages(new Pieces(), undefined as never), TypeError, "codec"],
  [
    "messages(conn, codec, { maxPending: 0 })",
    () => messages(new Pieces(), lines(), { maxPending: 0 }),
    RangeError,
    "maxPending",
  ],
  [
    "messages(conn, codec, { frameTimeout: 0 })",
    () => messages(new Pieces(), lines(), { frameTimeout: 0 }),
    RangeError,
    "frameTimeout",
  ],
  [
    "messages(conn, codec, { reuse: 1 })",
    () => messages(new Pieces(), lines(), { reuse: 1 as never }),
    TypeError,
    "reuse",
  ],
  [
    "messages(conn, codec, { draining: true })",
    () => messages(new Pieces(), lines(), { draining: true as never }),
    TypeError,
    "draining",
  ],
  ["encodeStream({})", () => encodeStream({} as never), TypeError, "codec"],
  ["decodeStream({})", () => decodeStream({} as never), TypeError, "codec"],
];

for (const [call, fn, Class, what] of BAD) {
  test(`${call} throws before anything happens`, () => {
    const error = assertThrows(fn, Error);
    assertInstanceOf(error, Class);
    assert((error as Error).message.includes(what), (error as Error).message);
  });
}

test("the limit of a short prefix is the largest length that it can hold", () => {
  assertEquals(lengthPrefixed({ prefix: 1 }).maxBytes, 255);
  assertEquals(lengthPrefixed({ prefix: 2 }).maxBytes, 65535);
  assertEquals(lengthPrefixed({ prefix: 3 }).maxBytes, 0xff_ffff);
  assertEquals(lengthPrefixed({ prefix: 1, adjust: 1 }).maxBytes, 256);
  assertEquals(lengthPrefixed({ prefix: 2, offset: 3, keepHeader: true }).maxBytes, 65540);
  assertEquals(json(text(lengthPrefixed({ prefix: 2 }))).maxBytes, 65535);
  assertEquals(lines().maxBytes, 16 * 1024 * 1024);
});

/** A channel, or the end of calls, over a connection. */
const OWNERS: Record<string, (conn: Connection) => { close(): void }> = {
  "messages()": (conn) => messages(conn, lines()),
  "rpc()": (conn) => rpc(conn),
};

/** Returns a connection of the user, which has only the methods that a channel needs. */
function ownConnection(): Connection {
  const read = () => new Promise<null>(() => {});
  return { read, write: (data: Uint8Array) => Promise.resolve(data.length) } as never;
}

for (const [first, open] of Object.entries(OWNERS)) {
  for (const [second, openAgain] of Object.entries(OWNERS)) {
    test(`${second} is refused on a connection that ${first} owns, until it has closed`, async () => {
      const [conn, peer] = await socketpair();
      using _peer = peer;
      using owner = open(conn) as Disposable & { close(): void };
      for (let i = 0; i < 2; i++) {
        assertThrows(
          () => openAgain(conn),
          TypeError,
          "Invalid connection: a channel of messages() or rpc() owns it already. Use that one, or " +
            "call detach() of its messages first",
        );
      }
      owner.close();
      openAgain(conn).close();
    });
  }
}

test("messages() is refused on a connection of the user that another channel owns", () => {
  const conn = ownConnection();
  const channel = messages(conn, lines());
  assertThrows(() => messages(conn, lines()), TypeError, "owns it already");
  const detached = channel.detach();
  messages(detached, lines());
  assertThrows(() => messages(detached, lines()), TypeError, "owns it already");
  messages(conn, lines());
});

test("messages() owns a connection again after detach(), and the refused channel has read nothing", async () => {
  const [conn, peer] = await socketpair();
  using _peer = peer;
  const channel = messages(conn, lines());
  assertThrows(() => messages(conn, json(lines())), TypeError, "owns it already");
  await peer.write(encode("one\n2\n"));
  assertEquals(await channel.receive(), "one");
  using next = messages(channel.detach(), json(lines()));
  assertEquals(await next.receive(), 2);
  assertThrows(() => rpc(conn), TypeError, "owns it already");
});

test("messages() that was refused for another reason does not own the connection", async () => {
  const [conn, peer] = await socketpair();
  using _peer = peer;
  assertThrows(() => messages(conn, lines(), { maxPending: -1 }), RangeError);
  assertThrows(() => rpc(conn, { maxCalls: 0 }), RangeError);
  messages(conn, lines()).close();
});
