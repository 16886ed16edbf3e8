import {
  type Codec,
  connect,
  contentLength,
  json,
  lengthPrefixed,
  lines,
  listen,
  type Messages,
  messages,
  socketpair,
  text,
} from "@uds/uds";
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { RpcSession, RpcTarget, type RpcTransport } from "capnweb";
import {
  decode,
  encode,
  fixturePath,
  Program,
  pseudoRandom,
  run,
  TempDir,
  test,
} from "../_helpers.ts";

// ---- ssh-agent: a codec over lengthPrefixed() ---------------------------------------------------

interface AgentMessage {
  type: number;
  body: Uint8Array;
}

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

const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;

/** Lists the keys of an agent, each with its comment. */
async function identities(
  agent: Messages<AgentMessage>,
): Promise<{ key: string; comment: string }[]> {
  await agent.send({ type: REQUEST_IDENTITIES, body: new Uint8Array() });
  const { type, body } = (await agent.receive())!;
  assertEquals(type, IDENTITIES_ANSWER);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  let at = 4;
  const string = () => {
    const start = at + 4;
    at = start + view.getUint32(at);
    return body.subarray(start, at);
  };
  const all = Array.from({ length: view.getUint32(0) }, () => ({
    key: btoa(String.fromCharCode(...string())),
    comment: decode(string()),
  }));
  assertEquals(at, body.length);
  return all;
}

test("a codec over lengthPrefixed() lists the keys of ssh-agent", async () => {
  await using dir = new TempDir();
  const path = dir.file("agent.sock");
  await using _agent = new Program("ssh-agent", ["-D", "-a", path]);
  await using agent = messages(await connect({ path, wait: true, timeout: Infinity }), agentCodec);
  assertEquals(await identities(agent), []);

  const file = dir.file("key");
  const made = await run("ssh-keygen", [
    "-q",
    "-t",
    "ed25519",
    "-N",
    "",
    "-C",
    "ünser",
    "-f",
    file,
  ]);
  assertEquals(made.code, 0, made.stderr);
  await using adding = new Program("ssh-add", ["-q", file], { env: { SSH_AUTH_SOCK: path } });
  assertEquals((await adding.status).code, 0);

  const [, key] = (await Deno.readTextFile(`${file}.pub`)).split(" ");
  assertEquals(await identities(agent), [{ key: key!, comment: "ünser" }]);
  // A request that the agent does not know, and one that is too short.
  await agent.send({ type: 255, body: new Uint8Array([1, 2, 3]) });
  assertEquals((await agent.receive())?.type, 5);
}, { needs: ["ssh-agent", "ssh-add", "ssh-keygen"] });

// ---- Redis: a codec from scratch ----------------------------------------------------------------

type Reply = string | number | Uint8Array | null | Error | Reply[];

/** RESP 2. Commands are arrays of byte strings; the first byte of a reply is its type. */
const redisCodec: Codec<Reply> = {
  maxBytes: 16 * 1024 * 1024,
  encode(command, out) {
    const words = command as Uint8Array[];
    out.text(`*${words.length}\r\n`);
    for (const word of words) {
      out.text(`$${word.length}\r\n`);
      out.bytes(word);
      out.text("\r\n");
    }
  },
  decode(bytes) {
    const found = parseReply(bytes, 0);
    return typeof found === "object" ? found : undefined;
  },
};

function parseReply(bytes: Uint8Array, at: number): { message: Reply; end: number } | undefined {
  const cr = bytes.indexOf(13, at);
  if (cr < 0 || cr + 2 > bytes.length) return undefined;
  const line = decode(bytes.subarray(at + 1, cr));
  const end = cr + 2;
  const kind = String.fromCharCode(bytes[at]!);
  if (kind === "+") return { message: line, end };
  if (kind === "-") return { message: new Error(line), end };
  if (kind === ":") return { message: Number(line), end };
  if (kind !== "$" && kind !== "*") throw new Deno.errors.InvalidData(`No reply: ${kind}`);
  if (line === "-1") return { message: null, end };
  if (kind === "$") {
    const last = end + Number(line);
    return last + 2 > bytes.length
      ? undefined
      : { message: bytes.subarray(end, last), end: last + 2 };
  }
  const all: Reply[] = [];
  let next = end;
  for (let i = 0; i < Number(line); i++) {
    const element = parseReply(bytes, next);
    if (element === undefined) return undefined;
    all.push(element.message);
    next = element.end;
  }
  return { message: all, end: next };
}

function command(...words: (string | Uint8Array)[]): Uint8Array[] {
  return words.map((word) => typeof word === "string" ? encode(word) : word);
}

test(
  "a custom codec talks to Redis: binary values, errors, a pipeline of 10,000",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("redis.sock");
    await using _redis = new Program("redis-server", [
      "--port",
      "0",
      "--unixsocket",
      path,
      "--save",
      "",
      "--appendonly",
      "no",
      "--dir",
      dir.path,
    ]);
    await using redis = messages(
      await connect({ path, wait: true, timeout: Infinity }),
      redisCodec,
    );
    const ask = async (...words: (string | Uint8Array)[]) => {
      await redis.send(command(...words));
      return await redis.receive();
    };
    assertEquals(await ask("PING"), "PONG");
    const every = new Uint8Array(256).map((_, i) => i);
    assertEquals(await ask("SET", every, pseudoRandom(300_000, 1)), "OK");
    assertEquals(await ask("GET", every), pseudoRandom(300_000, 1));
    assertEquals(await ask("GET", "absent"), null);
    assertInstanceOf(await ask("NONSENSE"), Error);
    assertEquals(await ask("RPUSH", "list", "a", "", every), 3);
    assertEquals(await ask("LRANGE", "list", "0", "-1"), [encode("a"), new Uint8Array(), every]);

    // Reading starts only when everything is sent.
    const count = 10_000;
    for (let i = 0; i < count; i++) redis.send(command("INCRBY", "sum", `${i}`));
    let sum = 0;
    for (let i = 0; i < count; i++) assertEquals(await redis.receive(), sum += i);
    await redis.send(command("QUIT"));
    assertEquals(await Array.fromAsync(redis), ["OK"]);
  },
  { needs: ["redis-server"] },
);

// ---- Language servers: contentLength() ----------------------------------------------------------

interface Rpc {
  jsonrpc: "2.0";
  id?: number;
  method?: string;
  params?: unknown;
  result?: unknown;
}

test("json(contentLength()) talks to vscode-jsonrpc in a Node process, both ways", async () => {
  await using dir = new TempDir();
  const installed = await run("npm", [
    "install",
    "--silent",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    "--prefix",
    dir.path,
    "vscode-jsonrpc@8.2.1",
  ]);
  assertEquals(installed.code, 0, installed.stderr);
  const path = dir.file("rpc.sock");
  await using peer = new Program("node", [fixturePath("peer_jsonrpc.mjs"), path, dir.path]);
  await using server = messages(
    await connect({ path, wait: true, timeout: Infinity }),
    json<Rpc>(contentLength()),
  );

  const long = "grün ".repeat(100_000);
  await server.send({ jsonrpc: "2.0", id: 1, method: "upper", params: [long] });
  assertEquals(await server.receive(), { jsonrpc: "2.0", id: 1, result: long.toUpperCase() });

  // The server asks back before it answers.
  await server.send({ jsonrpc: "2.0", id: 2, method: "ask", params: [100] });
  let asked = 0;
  for await (const { id, method, params, result } of server) {
    if (method === undefined) {
      assertEquals([id, result], [2, 9900]);
      break;
    }
    assertEquals(method, "double");
    asked++;
    await server.send({ jsonrpc: "2.0", id: id!, result: 2 * (params as number[])[0]! });
  }
  assertEquals(asked, 100);

  // Many requests at once.
  for (let i = 0; i < 1000; i++) {
    server.send({ jsonrpc: "2.0", id: 1000 + i, method: "upper", params: [`a${i}`] });
  }
  for (let i = 0; i < 1000; i++) {
    assertEquals(await server.receive(), { jsonrpc: "2.0", id: 1000 + i, result: `A${i}` });
  }
  await server.send({ jsonrpc: "2.0", method: "end" });
  assertEquals(await server.receive(), { jsonrpc: "2.0", method: "bye", params: { done: true } });
  await server.closeWrite();
  assertEquals((await peer.status).code, 0);
}, { needs: ["node", "npm"], deadline: 60_000 });

// ---- JSON lines with Python ---------------------------------------------------------------------

test("json(lines()) talks to Python", async () => {
  await using dir = new TempDir();
  const path = dir.file("py.sock");
  await using listener = await listen(path);
  await using peer = new Program("python3", [fixturePath("peer_json_lines.py"), path]);
  await using python = messages(await listener.accept(), json<Record<string, unknown>>(lines()));
  const values = Array.from({ length: 500 }, (_, id) => ({
    id,
    text: 'ü😀\u2028\n\r\t"\\'.repeat(id % 40),
    number: id / 7,
    nothing: null,
  }));
  for (const value of values) python.send(value);
  await python.closeWrite();
  let i = 0;
  for await (const answer of python) {
    if (answer.bye) break;
    const value = values[i++]!;
    assertEquals(answer.echo, value);
    assertEquals(answer.length, JSON.stringify(value).length + 1 - surrogates(value.text));
  }
  assertEquals(i, values.length);
  assertEquals(await python.receive(), undefined);
  assertEquals((await peer.status).code, 0);
}, { needs: ["python3"] });

/** Returns how many surrogate pairs a text has. JavaScript counts them as two characters. */
function surrogates(text: string): number {
  return text.length - [...text].length;
}

// ---- RPC of a library over messages -------------------------------------------------------------

/** Returns a transport for capnweb over messages. */
function transport(channel: Messages<string>): RpcTransport {
  return {
    send: (message) => channel.send(message),
    async receive() {
      const message = await channel.receive();
      if (message === undefined) throw new Error("the connection has ended");
      return message;
    },
    abort: () => channel.close(),
  };
}

class Counter extends RpcTarget {
  #count = 0;

  add(by: number): number {
    return this.#count += by;
  }

  each(count: number, call: (n: number) => void): void {
    for (let i = 0; i < count; i++) call(i);
  }

  fail(): never {
    throw new RangeError("no");
  }
}

class Api extends RpcTarget {
  counter(): Counter {
    return new Counter();
  }
}

test("capnweb runs over messages(): pipelined calls, callbacks, errors, and the end of file", async () => {
  const [a, b] = await socketpair();
  const server = messages(b, text(lengthPrefixed()));
  new RpcSession(transport(server), new Api());
  const client = messages(a, text(lengthPrefixed()));
  using api = new RpcSession<Api>(transport(client)).getRemoteMain();

  // Calls a method of a result that has not arrived yet.
  using counter = api.counter();
  assertEquals(await counter.add(2), 2);
  const sums = await Promise.all(Array.from({ length: 1000 }, () => counter.add(1)));
  assertEquals(sums, Array.from({ length: 1000 }, (_, i) => 3 + i));
  const seen: number[] = [];
  await counter.each(10, (n) => void seen.push(n));
  assertEquals(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await assertRejects(async () => await counter.fail(), RangeError, "no");

  server.close();
  await assertRejects(async () => await counter.add(1), Error);
  client.close();
});
