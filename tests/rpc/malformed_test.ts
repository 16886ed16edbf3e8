import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  connect,
  contentLength,
  decodeStream,
  isSocketError,
  json,
  lengthPrefixed,
  lines,
  messages,
  serve,
  socketpair,
} from "@uds/uds";
import { rpc } from "@uds/uds/rpc";
import { encode, fixture, readText, ROOT_URL, TempDir, test } from "../_helpers.ts";
import { METHODS, RawEnd } from "./_rpc.ts";

const PING = '{"jsonrpc":"2.0","id":1,"method":"sum","params":[1,2]}';
const PONG = { jsonrpc: "2.0", id: 1, result: 3 };

interface Answer {
  id: unknown;
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
}

const MALFORMED: [text: string, code: number, id: unknown, says: string][] = [
  ["", -32700, null, "Parse error"],
  ["{", -32700, null, "Parse error"],
  ["\ufeff{}", -32700, null, "Parse error"],
  ["null", -32600, null, "null is not an object"],
  ["1", -32600, null, "1 is not an object"],
  ['"text"', -32600, null, "is not an object"],
  ["[[]]", -32600, null, "an array is not an object"],
  ["{}", -32600, null, "its jsonrpc"],
  ['{"id":1,"method":"sum"}', -32600, 1, "its jsonrpc"],
  ['{"jsonrpc":"1.0","id":1,"method":"sum"}', -32600, 1, "its jsonrpc"],
  ['{"jsonrpc":2.0,"id":1,"method":"sum"}', -32600, 1, "its jsonrpc"],
  ['{"jsonrpc":"2.0","id":1}', -32600, null, "it has no method"],
  ['{"jsonrpc":"2.0","id":1,"method":null}', -32600, null, "its method"],
  ['{"jsonrpc":"2.0","id":{},"method":"sum"}', -32600, null, "its id"],
  ['{"jsonrpc":"2.0","id":[1],"method":"sum"}', -32600, null, "its id"],
  ['{"jsonrpc":"2.0","id":true,"method":"sum"}', -32600, null, "its id"],
  ['{"jsonrpc":"2.0","id":1,"method":"sum","params":1}', -32600, 1, "its params"],
  ['{"jsonrpc":"2.0","id":1,"method":"sum","params":"1"}', -32600, 1, "its params"],
  ['{"jsonrpc":"2.0","method":"sum","params":false}', -32600, null, "its params"],
];

for (const [text, code, id, says] of MALFORMED) {
  test(`rpc() answers ${JSON.stringify(text)} with ${code}, reports it, and goes on`, async () => {
    await using end = await RawEnd.open();
    let answer = await end.ask(text) as Answer | Answer[];
    if (Array.isArray(answer)) answer = answer[0]!;
    assertEquals([answer.error?.code, answer.id], [code, id]);
    assertStringIncludes(answer.error?.message ?? "", says);
    assertEquals(end.errors.length, 1);
    assertInstanceOf(end.errors[0], Deno.errors.InvalidData);
    assertEquals(await end.ask(PING), PONG);
  });
}

test("rpc() answers a line that is not UTF-8 with -32700, and goes on", async () => {
  await using end = await RawEnd.open();
  const bad = encode('{"jsonrpc":"2.0","id":1,"method":"?"}\n');
  bad[bad.indexOf(63)] = 0xff;
  await end.conn.write(new Uint8Array([...encode(PING + "\n"), ...bad, ...encode(PING + "\n")]));
  assertEquals(await end.receive(), PONG);
  const { id, error } = await end.receive() as Answer;
  assertEquals([id, error?.code], [null, -32700]);
  assertEquals(await end.receive(), PONG);
});

for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", ""]) {
  test(`rpc() does not find the method ${JSON.stringify(name)}`, async () => {
    await using end = await RawEnd.open();
    const request = { jsonrpc: "2.0", id: 1, method: name, params: {} };
    const { error } = await end.ask(JSON.stringify(request)) as Answer;
    assertEquals(error?.code, -32601);
  });
}

test("a property of the methods that is not a function is not a method", async () => {
  await using end = await RawEnd.open({ methods: { size: 1 as never } });
  const { error } = await end.ask('{"jsonrpc":"2.0","id":1,"method":"size"}') as Answer;
  assertEquals(error?.code, -32601);
});

const IDS = [
  "0",
  "-1",
  "1.5",
  "-0.25",
  '""',
  '"1"',
  "null",
  "9007199254740993",
  "123456789012345678901234567890",
  "1e400",
  "0.1000000000000000055511151231257827",
  `"${"x".repeat(100_000)}"`,
  '"\\u0000\\ud800"',
];
for (const id of IDS) {
  test(`an answer has the id ${id.slice(0, 40)} as it came, alone and in a batch`, async () => {
    await using end = await RawEnd.open();
    const request = `{"jsonrpc":"2.0","params":{"id":${id}},"method":"get_data","id":${id}}`;
    await end.send(request);
    assertEquals(
      await end.lines.receive(),
      `{"jsonrpc":"2.0","id":${id},"result":["hello",5]}`,
    );
    await end.send(`[${request},${request.replace("get_data", "none")}]`);
    const line = await end.lines.receive() ?? "";
    assert(line.startsWith(`[{"jsonrpc":"2.0","id":${id},"result"`), line);
    assertStringIncludes(line, `{"jsonrpc":"2.0","id":${id},"error":{"code":-32601`);
  });
}

test("a number named id in the parameters stays a number", async () => {
  await using end = await RawEnd.open();
  const request = '{"jsonrpc":"2.0","id":1.5,"method":"echo","params":{"id":1.5,"a":[{"id":2.5}]}}';
  const result = { id: 1.5, a: [{ id: 2.5 }] };
  assertEquals(await end.ask(request), { jsonrpc: "2.0", id: 1.5, result });
});

const UNEXPECTED: [name: string, text: string, says: string][] = [
  ["an unknown id", '{"jsonrpc":"2.0","id":77,"result":1}', "the id of an answer is unknown: 77"],
  ["the id of text", '{"jsonrpc":"2.0","id":"1","result":1}', 'unknown: "1"'],
  [
    "the id null",
    '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}',
    "could not use a message: Parse error",
  ],
  ["no id", '{"jsonrpc":"2.0","error":{"code":-32700,"message":"what?"}}', "what?"],
  ["an error that is a text", '{"jsonrpc":"2.0","id":77,"error":"bad"}', "unknown: 77"],
];
for (const [name, text, says] of UNEXPECTED) {
  test(`rpc() reports an answer with ${name}, and goes on`, async () => {
    await using end = await RawEnd.open();
    await end.send(text);
    assertEquals(await end.ask(PING), PONG);
    assertEquals(end.errors.length, 1);
    assertStringIncludes((end.errors[0] as Error).message, says);
  });
}

test("rpc() reports the second answer to a call, and goes on", async () => {
  await using end = await RawEnd.open();
  const call = end.peer.call("any");
  const { id } = await end.receive() as Answer;
  await end.send(JSON.stringify({ jsonrpc: "2.0", id, result: "first" }));
  await end.send(JSON.stringify({ jsonrpc: "2.0", id, result: "second" }));
  assertEquals(await call, "first");
  assertEquals(await end.ask(PING), PONG);
  assertEquals(end.errors.length, 1);
});

test("rpc() drops all late answers to calls that were given up, and reports second ones", async () => {
  await using end = await RawEnd.open({ cancelMethod: null });
  const COUNT = 3000;
  const giveUp = new AbortController();
  const calls = Array.from(
    { length: COUNT },
    () => end.peer.call("any", {}, { signal: giveUp.signal }),
  );
  const ids: unknown[] = [];
  while (ids.length < COUNT) ids.push((await end.receive() as Answer).id);
  giveUp.abort();
  await Promise.allSettled(calls);
  for (const id of ids) await end.send(JSON.stringify({ jsonrpc: "2.0", id, result: 1 }));
  assertEquals(await end.ask(PING), PONG);
  assertEquals(end.errors, []);
  const last = ids.at(-1) as number;
  for (const id of [last, last + 1, 0, -1, 1.5]) {
    await end.send(JSON.stringify({ jsonrpc: "2.0", id, result: 1 }));
  }
  assertEquals(await end.ask(PING), PONG);
  assertEquals(end.errors.length, 5);
});

test("rpc() refuses a request with the id of one that is not answered", async () => {
  const gate = Promise.withResolvers<string>();
  await using end = await RawEnd.open({ methods: { wait: () => gate.promise } });
  await end.send('{"jsonrpc":"2.0","id":5,"method":"wait"}');
  const { id, error } = await end.ask('{"jsonrpc":"2.0","id":5,"method":"wait"}') as Answer;
  assertEquals([id, error?.code], [5, -32600]);
  gate.resolve("done");
  assertEquals(await end.receive(), { jsonrpc: "2.0", id: 5, result: "done" });
  assertEquals(end.errors.length, 1);
});

test("the answers are the same wherever the messages are split", async () => {
  const bytes = encode(`${PING}\nnot JSON\n[${PING},1]\n{"jsonrpc":"2.0","method":"update"}\n`);
  for (let at = 1; at < bytes.length; at++) {
    await using end = await RawEnd.open();
    await end.conn.write(bytes.subarray(0, at));
    await end.conn.write(bytes.subarray(at));
    assertEquals(await end.receive(), PONG);
    assertEquals((await end.receive() as Answer).error?.code, -32700);
    const [first, second] = await end.receive() as Answer[];
    assertEquals<unknown>(first, PONG);
    assertEquals(second?.error?.code, -32600);
  }
}, { deadline: 30_000 });

const FRAMES = { lengthPrefixed: lengthPrefixed(), contentLength: contentLength() };
for (const [name, frames] of Object.entries(FRAMES)) {
  test(`a frame of ${name}() that is not JSON or not UTF-8 is answered, and calls go on`, async () => {
    const [own, other] = await socketpair();
    await using raw = messages(other, frames);
    using _peer = rpc(own, { codec: json(frames), methods: METHODS, onError() {} });
    const ask = async (message: Uint8Array) => {
      await raw.send(message);
      return JSON.parse(new TextDecoder().decode(await raw.receive()));
    };
    assertEquals((await ask(encode("{"))).error.code, -32700);
    assertEquals((await ask(new Uint8Array([0xff]))).error.code, -32700);
    assertEquals((await ask(new Uint8Array(0))).error.code, -32700);
    assertEquals(await ask(encode(PING)), PONG);
  });
}

test("a value that the parser of json() refuses is answered with -32700, and calls go on", async () => {
  const codec = json(lines(), (value) => {
    if (JSON.stringify(value).includes("secret")) throw new TypeError("no secrets");
    return value;
  });
  await using end = await RawEnd.open({ codec });
  const { error } = await end.ask('{"secret":1}') as Answer;
  assertEquals(error, { code: -32700, message: "Parse error: no secrets" });
  assertEquals(await end.ask(PING), PONG);
});

test("a message that is too large is answered with -32700 and ends the connection", async () => {
  await using end = await RawEnd.open({ codec: json(lines({ maxBytes: 1000 })) });
  await end.send("x".repeat(1001));
  const { id, error } = await end.receive() as Answer;
  assertEquals([id, error?.code], [null, -32700]);
  assertEquals(await end.receive(), undefined);
  await end.peer.closed;
  assertEquals((end.errors[0] as Error).name, "MessageTooLarge");
});

const BAD_LINES: [what: string, line: Uint8Array, state: string][] = [
  ["not JSON", encode("{\n"), "its text is not JSON"],
  ["not UTF-8", new Uint8Array([0xff, 10]), "a line of 1 bytes is not UTF-8"],
  ["not a request", encode("{}\n"), "it is not a request: its jsonrpc"],
  ["the answer to no call", encode('{"jsonrpc":"2.0","id":7,"result":1}\n'), "the id of an answer"],
  ["too large", encode("x".repeat(101) + "\n"), "it has 101 bytes, and the limit is 100"],
  ["cut short", encode("{"), "the end of file came after 1 bytes"],
];
for (const [what, line, state] of BAD_LINES) {
  test(`a report about a message that is ${what} names the client, and the answer does not`, async () => {
    await using dir = new TempDir();
    const path = dir.file("r.sock");
    const reported = Promise.withResolvers<unknown>();
    await using _server = await serve(path, async (conn) => {
      const codec = json(lines({ maxBytes: 100 }));
      using peer = rpc(conn, { methods: METHODS, codec, onError: reported.resolve });
      await peer.closed;
    });
    await using client = await connect(path);
    await client.write(line);
    await client.closeWrite();
    const error = await reported.promise;
    assert(isSocketError(error));
    assertEquals([error.operation, error.path], ["decode", path]);
    const peer = `from a client of ${JSON.stringify(path)}: ${state}`;
    assertMatch(error.message, /^Cannot decode (a|the last) message from /);
    assertStringIncludes(error.message, peer);
    const answer = await readText(client) ?? "";
    assert(!answer.includes(path), answer);
  });
}

test("what a method throws is reported as it is, also an error about the bytes of others", async () => {
  const stream = ReadableStream.from([encode("{\n")]).pipeThrough(decodeStream(json(lines())));
  const thrown = await Array.fromAsync(stream).catch((error) => error);
  const fail = () => Promise.reject(thrown);
  await using end = await RawEnd.open({ methods: { fail } });
  await end.ask('{"jsonrpc":"2.0","id":1,"method":"fail"}');
  assert(end.errors[0] === thrown);
});

const LARGE = JSON.stringify("x".repeat(4_000_000));
const REQUEST = `{"jsonrpc":"2.0","id":${LARGE},"method":"wait"}`;
const FLOODS: Record<string, [lines: string[], answers: number]> = {
  "a text": [[LARGE], 1],
  "texts in a batch": [[`[${LARGE},${LARGE}]`], 1],
  "an id that is in use": [[REQUEST, REQUEST], 2],
  "an id of a wrong kind": [[`{"jsonrpc":"2.0","id":[${LARGE}],"method":"wait"}`], 1],
  "a version": [[`{"jsonrpc":${LARGE},"id":1,"method":"wait"}`], 1],
  "parameters of a wrong kind": [[`{"jsonrpc":"2.0","id":1,"method":"wait","params":${LARGE}}`], 1],
  "a method": [[`{"jsonrpc":"2.0","id":1,"method":${LARGE}}`], 1],
  "an unknown id": [[`{"jsonrpc":"2.0","id":${LARGE},"result":1}`], 0],
  "the message of an error": [
    [`{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":${LARGE}}}`],
    0,
  ],
  "an error that is a text": [[`{"jsonrpc":"2.0","id":null,"error":${LARGE}}`], 0],
  "what is not JSON": [["x".repeat(4_000_000)], 1],
};
for (const [name, [texts, answers]] of Object.entries(FLOODS)) {
  test(`4 MB of the peer's, as ${name}, are not printed`, async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    await using program = fixture("rpc_one_client.ts", ["-A"], [path]);
    assertEquals(await program.line(), "listening");
    {
      await using client = messages(await connect(path), lines());
      for (const text of texts) await client.send(text);
      await client.send(PING.replace("sum", "none"));
      const ids: unknown[] = [];
      while (ids.length <= answers) {
        const answer = JSON.parse(await client.receive() ?? "null") as Answer | Answer[];
        ids.push([answer].flat()[0]!.id);
      }
      // An answer has the whole id of its request.
      if (texts[0] === REQUEST) {
        assertEquals(ids.filter((id) => id === JSON.parse(LARGE)).length, 2);
      }
    }
    assertEquals((await program.status).code, 0);
    // The path of this folder, which may be of any length, is in each line of a stack.
    const printed = (await program.stderr()).replaceAll(ROOT_URL, "");
    const { length } = printed.replaceAll(decodeURI(ROOT_URL), "");
    assert(length < 2000, `${length} characters were printed`);
  });
}
