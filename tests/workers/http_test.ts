import { connect, type Connection } from "@uds/uds";
import { serveWorkers, type ServeWorkersOptions, type WorkerServer } from "@uds/uds/workers";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { decode, encode, readAll, readText, TempDir, test } from "../_helpers.ts";
import { accepting, moduleOf } from "./_workers.ts";

/** Starts one worker of `fetch.ts` on a new path, with a client that keeps its connections. */
async function started(options: Partial<ServeWorkersOptions> = {}) {
  await using stack = new AsyncDisposableStack();
  const path = stack.use(new TempDir()).file("http.sock");
  const server = stack.use(
    await serveWorkers({ path, count: 1, ...options }, moduleOf("fetch.ts")),
  );
  const client = stack.use(Deno.createHttpClient({ proxy: { transport: "unix", path } }));
  const ask = (resource: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://localhost${resource}`, { client, ...init });
  /** Returns what has become of the clients that left. */
  const left = async () => await (await ask("/left")).json();
  const all = stack.move();
  return { path, server, ask, left, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** Returns a request. */
const GET = (resource: string, more = ""): string =>
  `GET ${resource} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;

/** Sends bytes on a new connection, and returns all that comes, which ends with it. */
async function raw(path: string, text: string): Promise<string> {
  await using conn = await connect(path);
  await conn.write(encode(text));
  return decode(await readAll(conn));
}

test("a module that exports fetch answers requests, with their bodies and headers", async () => {
  await using http = await started();
  const { ask } = http;
  const asked = await ask("/url?q=1", { headers: { "x-one": "1" } });
  assertEquals(await asked.json(), ["http://localhost/url?q=1", "1", {
    transport: "unix",
    path: null,
  }]);
  const body = new Uint8Array(3_000_000).fill(7);
  const echoed = await ask("/echo", { method: "PUT", body });
  assertEquals([echoed.status, echoed.headers.get("x-method")], [201, "PUT"]);
  assertEquals(await echoed.bytes(), body);
  const cookies = await ask("/cookies");
  assertEquals([cookies.status, cookies.headers.getSetCookie()], [204, ["a", "b"]]);
  const head = await ask("/pid", { method: "HEAD" });
  assertMatch(head.headers.get("content-length") ?? "", /^\d+$/);
  assertEquals((await ask("/endless", { method: "HEAD" })).status, 200);
  // The body that was not read does not disturb the next request.
  assertEquals(await (await ask("/ignore", { method: "POST", body })).text(), "not read");
  const none = await ask("/none");
  assertEquals([none.status, await none.text()], [500, "Internal Server Error"]);
  const thrown = await ask("/throw");
  assertEquals([thrown.status, await thrown.text()], [500, "Internal Server Error"]);
});

test("a kept connection serves one request after the other, also pipelined ones", async () => {
  await using http = await started();
  const { path, server } = http;
  const all = await raw(path, GET("/late") + GET("/url") + GET("/pid", "Connection: close\r\n"));
  assertEquals(all.match(/HTTP\/1.1 200 OK/g)?.length, 3);
  assertMatch(all, /late[^]*http:\/\/a\/url[^]*\d+$/);
  const { workers } = await server.statistics();
  assertEquals(workers[0]?.accepted, 1);
});

for (const resource of ["/part", "/ignore", "/too-late"]) {
  for (const size of [1, 1_000_000]) {
    test(`a client sends ${size} bytes for ${resource}, and asks again`, async () => {
      await using http = await started();
      const { path } = http;
      const body = "a".repeat(size);
      const chunked = `${size.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
      const last = GET("/pid", "Connection: close\r\n");
      for (
        const rest of [
          `Content-Length: ${size}\r\n\r\n${body}`,
          `Transfer-Encoding: chunked\r\n\r\n${chunked}`,
          `Expect: 100-continue\r\nContent-Length: ${size}\r\n\r\n${body}`,
          `Expect: nothing\r\nContent-Length: ${size}\r\n\r\n${body}`,
        ]
      ) {
        const all = await raw(path, `POST ${resource} HTTP/1.1\r\nHost: a\r\n${rest}${last}`);
        assertMatch(all, /(?:too large|not read|read too late)HTTP\/1.1 200 OK[^]*\d+$/);
      }
    });
  }
}

test("a GET with a body is answered, and the next request, too", async () => {
  await using http = await started();
  const { path } = http;
  const first = `GET /url HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n`;
  const last = GET("/pid", "Connection: close\r\n");
  assertMatch(await raw(path, first + "a".repeat(1_000_000) + last), /a\/url[^]*200 OK[^]*\d+$/);
});

test("a connection ends when more than 16 MiB of a body were not wanted", async () => {
  await using http = await started();
  const { path } = http;
  await using conn = await connect(path);
  await conn.write(encode("POST /part HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n"));
  await conn.write(new Uint8Array(16 * 1024 * 1024));
  await assertRejects(() => conn.write(new Uint8Array(3_000_000)), Deno.errors.BrokenPipe);
  assertMatch(await readText(conn) ?? "", /413[^]*too large$/);
});

test("fetch may read a body after the answer, if it has begun before", async () => {
  await using http = await started();
  const { path, left } = http;
  await using conn = await connect(path);
  for (const resource of ["/afterwards", "/too-late"]) {
    await conn.write(
      encode(`POST ${resource} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n`),
    );
    assertMatch(await readText(conn) ?? "", /200 OK/);
    await conn.write(new Uint8Array(1_000_000));
  }
  while ((await left()).read !== 1_000_000);
  assertEquals((await left()).tooLate, "The answer was sent before the body was read");
});

test("idleTimeout ends the wait for a body, also for one that is not read after the answer", async () => {
  await using http = await started({ idleTimeout: 150 });
  const { path, server } = http;
  const body = "a".repeat(100_000);
  for (const resource of ["/part", "/ignore", "/locked"]) {
    await using conn = await connect(path);
    const head = "HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    await conn.write(encode(`POST ${resource} ${head}${body}`));
    assertMatch(await readText(conn) ?? "", /^HTTP/);
    while ((await server.statistics()).workers[0]?.connections !== 0);
  }
});

test("what is not a request of this server is refused by name", async () => {
  await using http = await started();
  const { path } = http;
  const get = (resource: string, host: string) =>
    raw(path, `GET ${resource} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  assertMatch(await get("/url", "a/b"), /^HTTP\/1.1 400 [^]*The host is not valid\n$/);
  assertMatch(await get("ftp://a/url", "a"), /^HTTP\/1.1 400 [^]*The URL is not valid\n$/);
  assertMatch(await get("//b/url", "a"), /^HTTP\/1.1 404 /);
  assertMatch(await raw(path, "nonsense\r\n\r\n"), /^HTTP\/1.1 400 Bad Request/);
  const upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
  const refused = await raw(path, `GET /url HTTP/1.1\r\nHost: a\r\n${upgrade}\r\n`);
  assertMatch(refused, /^HTTP\/1.1 501 [^]*does not upgrade connections/);
});

const LAST = GET("/hello", "Connection: close\r\n");

/** Returns how the first of two answers frames its body, and the bodies of both. */
async function framesOf(path: string, request: string): Promise<string[]> {
  const all = await raw(path, request + LAST);
  const [frame] = all.match(/^(?:content-length|transfer-encoding|trailer):.*/im) ?? ["none"];
  return [frame!.toLowerCase(), ...all.split(/HTTP\/1.1 [^]*?\r\n\r\n/).slice(1)];
}

test("headers of a response that frame its body are not sent as they are", async () => {
  await using http = await started();
  const { path, server } = http;
  const before = await accepting(server);
  const framings = ["content-length=3", "content-length=9", "content-length=x", "trailer=x"];
  for (const framing of [...framings, "transfer-encoding=gzip&content-length=5"]) {
    const known = await framesOf(path, GET(`/hello?${framing}`));
    assertEquals(known, ["content-length: 5", "hello", "hello"], framing);
    const none = await framesOf(path, GET(`/null?${framing}`));
    assertEquals(none, ["content-length: 0", "", "hello"], framing);
  }
  const chunks = "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
  for (const framing of ["content-length=x", "trailer=x", "transfer-encoding=gzip"]) {
    const streamed = await framesOf(path, GET(`/streamed?${framing}`));
    assertEquals(streamed, ["transfer-encoding: chunked", chunks, "hello"], framing);
  }
  const whole = await framesOf(path, GET("/streamed?content-length=5"));
  assertEquals(whole, ["content-length: 5", "hello", "hello"]);
  const head = await framesOf(path, GET("/null?content-length=9").replace("GET", "HEAD"));
  assertEquals(head, ["content-length: 9", "", "hello"]);
  assertEquals(await accepting(server), before);
});

test("the connection header of fetch may end a connection, not keep it", async () => {
  await using http = await started();
  const { path } = http;
  for (const connection of ["keep-alive", "upgrade", "close"]) {
    const resource = `/hello?connection=${connection}&keep-alive=timeout%3D5`;
    const old = GET(resource).replace("HTTP/1.1", "HTTP/1.0");
    for (const request of [old, GET(resource, "Connection: close\r\n")]) {
      const all = await raw(path, request);
      assertMatch(all, /^HTTP[^]*?\r\nConnection: close\r\n[^]*hello$/i);
      assert(!/keep-alive/i.test(all), all);
    }
  }
  const answers = async (connection: string) =>
    (await raw(path, GET(`/hello?connection=${connection}`) + LAST)).match(/200 OK/g)?.length;
  assertEquals([await answers("close"), await answers("keep-alive")], [1, 2]);
});

/** Returns what comes until its end matches, or the connection ends. */
async function readUntil(conn: Connection, end: RegExp): Promise<string> {
  let all = "";
  for (let text; !end.test(all) && (text = await readText(conn)) !== null;) all += text;
  return all;
}

test("a client that waits for 100 Continue gets it, behind the answers that are due", async () => {
  await using http = await started();
  const { path } = http;
  const expect = (resource: string) =>
    GET(resource, "Expect: 100-continue\r\nContent-Length: 3\r\n").replace("GET", "POST");
  await using conn = await connect(path);
  await conn.write(encode(expect("/text")));
  assertEquals(await readUntil(conn, /\r\n\r\n/), "HTTP/1.1 100 Continue\r\n\r\n");
  await conn.write(encode("abc"));
  assertMatch(await readUntil(conn, /abc$/), /^HTTP\/1.1 200 [^]*abc$/);
  // One that waits for its turn.
  for (const resource of ["/text", "/echo"]) {
    await conn.write(encode(GET("/late") + expect(resource)));
    let all = await readUntil(conn, /Continue\r\n\r\n/);
    await conn.write(encode("abc"));
    const end = resource === "/echo" ? /abc\r\n0\r\n\r\n$/ : /abc$/;
    all += await readUntil(conn, end);
    assertMatch(all, /lateHTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 20/);
  }
  for (const resource of ["/ignore", "/text", "/part", "/echo"]) {
    const all = await raw(path, GET("/late") + `${expect(resource)}abc${LAST}`);
    assertMatch(all, /lateHTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 [24][^]*hello$/);
    assertEquals(all.match(/HTTP\/1.1/g)?.length, 4);
  }
});

test("a stream of another length than its content-length ends the connection", async () => {
  await using http = await started();
  const { path } = http;
  const short = await framesOf(path, GET("/streamed?content-length=9"));
  assertEquals(short, ["content-length: 9", "hello"]);
  const long = await framesOf(path, GET("/streamed?content-length=4"));
  assertEquals(long, ["content-length: 4", "hel"]);
});

test("a body of text instead of bytes is cancelled, and answered with 500", async () => {
  await using http = await started();
  const { path, left } = http;
  assertMatch(await raw(path, GET("/chunks-of-text") + LAST), /^HTTP\/1.1 500 [^]*hello$/);
  assertEquals((await left()).cancelled, 1);
});

test("a response that cannot be sent leaves nothing in the answer with 500", async () => {
  await using http = await started();
  const { path } = http;
  const headers = "content-encoding=gzip&set-cookie=a&set-cookie=b&connection=close&x=%01";
  const all = await raw(path, GET(`/status?status=201&text=Fine&${headers}`));
  assertMatch(all, /^HTTP\/1.1 500 Internal Server Error\r\n[^]*\r\n\r\nInternal Server Error$/);
  assert(!/content-encoding|cookie/i.test(all), all);
});

test("HEAD cancels the body of a response, and the next request is answered", async () => {
  await using http = await started();
  const { path, left } = http;
  const head = (resource: string) => GET(resource).replace("GET", "HEAD");
  for (const resource of ["/endless", "/cannot-cancel"]) {
    const all = await raw(path, head(resource) + LAST);
    assertMatch(all, /^HTTP\/1.1 200 OK\r\n[^]*HTTP\/1.1 200 OK[^]*hello$/, resource);
  }
  while ((await left()).cancelled !== 1);
});

test("an answer without a body keeps the content-length of fetch", async () => {
  await using http = await started();
  const { path } = http;
  const head = await framesOf(path, GET("/streamed?content-length=9").replace("GET", "HEAD"));
  assertEquals(head, ["content-length: 9", "", "hello"]);
  const known = await framesOf(path, GET("/hello?content-length=9").replace("GET", "HEAD"));
  assertEquals(known, ["content-length: 9", "", "hello"]);
  const unchanged = await framesOf(path, GET("/status?status=304&text=&content-length=9"));
  assertEquals(unchanged, ["content-length: 9", "", "hello"]);
});

test("a response with status 101 is answered with 500", async () => {
  await using http = await started();
  const { path } = http;
  const all = await raw(path, GET("/status?status=101&text=") + LAST);
  assertMatch(all, /^HTTP\/1.1 500 Internal Server Error[^]*HTTP\/1.1 200 OK[^]*hello$/);
});

test("a request behind one that fails is answered", async () => {
  await using http = await started();
  const { path } = http;
  for (const resource of ["/throw", "/none", "/broken", "ftp://a/url"]) {
    const all = await raw(path, GET(resource) + LAST);
    assertMatch(
      all,
      /^HTTP\/1.1 (?:500 Internal Server Error|400 Bad Request)[^]*200 OK[^]*hello$/,
    );
  }
});

test("a request that asks for another protocol is answered, and its connection ends", async () => {
  await using http = await started();
  const { path } = http;
  for (const protocol of ["h2c", "other"]) {
    const upgrade = `Connection: Upgrade\r\nUpgrade: ${protocol}\r\n`;
    const get = await raw(path, GET("/hello", upgrade) + LAST);
    assertMatch(get, /^HTTP\/1.1 200 OK\r\nconnection: close\r\n[^]*\r\n\r\nhello$/i);
    const post = GET("/text", `${upgrade}Content-Length: 3\r\n`).replace("GET", "POST");
    assertMatch(await raw(path, `${post}abc${LAST}`), /connection: close[^]*\r\n\r\nabc$/i);
  }
  await using conn = await connect(path);
  const more = "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n";
  await conn.write(encode(GET("/text", more).replace("GET", "POST")));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await conn.write(encode("abc"));
  assertMatch(decode(await readAll(conn)), /^HTTP\/1.1 200 [^]*connection: close[^]*\r\n\r\nabc$/i);
  const socket = await raw(path, GET("/hello", "Connection: upgrade\r\nUpgrade: WebSocket\r\n"));
  assertMatch(socket, /^HTTP\/1.1 501 /);
});

test("fetch gets the host and all headers of a request", async () => {
  await using http = await started();
  const { path } = http;
  const headersOf = async (more: string): Promise<string[]> => {
    const all = await raw(path, `GET /headers HTTP/1.1\r\n${more}Connection: close\r\n\r\n`);
    return all.startsWith("HTTP/1.1 200")
      ? JSON.parse(all.split("\r\n\r\n")[1]!)
      : [all.slice(9, 12)];
  };
  const cookies = "Cookie: a=1\r\nX-A: 1\r\ncookie: b=2\r\nX-A: 2\r\n";
  assertEquals(await headersOf(`Host: a\r\n${cookies}`), [
    "http://a/headers",
    ...[["connection", "close"], ["cookie", "a=1; b=2"], ["host", "a"], ["x-a", "1, 2"]],
  ] as never);
  assertEquals((await headersOf("Host: \r\n"))[0], "http://localhost/headers");
  assertEquals(await headersOf("Host: a\r\nHost: b\r\n"), ["400"]);
  assertEquals(await headersOf("Host: a\r\nHost: a\r\n"), ["400"]);
  assertEquals((await headersOf("Host: a\r\nconstructor: b\r\n")).length, 4);
  const many = await headersOf(`Host: a\r\n${"X:y\r\n".repeat(2000)}X-Last: z\r\n`);
  assertEquals(many.at(-1), ["x-last", "z"] as never);
});

/** Returns how many bytes of a body follow the head of an answer, until the connection ends. */
async function lengthOfBody(conn: Connection): Promise<number> {
  const all = await readAll(conn);
  return all.length - decode(all).indexOf("\r\n\r\n") - 4;
}

test("a client that ends its direction gets answers that are complete", async () => {
  await using http = await started();
  const { path, server, left } = http;
  for (const requests of [GET("/big"), GET("/hello") + GET("/big")]) {
    await using conn = await connect(path);
    await conn.write(encode(requests));
    await conn.read(new Uint8Array(1));
    await conn.closeWrite();
    assert(await lengthOfBody(conn) >= 3_000_000, requests);
  }
  while ((await server.statistics()).workers[0]?.connections !== 0);
  const { completed, aborted } = await left();
  assertEquals([completed, aborted], ["completed", 0]);
});

test("a client that ends its direction during an answer that is not complete has left", async () => {
  await using http = await started();
  const { path, left } = http;
  await using conn = await connect(path);
  await conn.write(encode(GET("/endless")));
  await conn.read(new Uint8Array(1));
  await conn.closeWrite();
  while ((await left()).cancelled !== 1);
  await readAll(conn);
});

test("a client that leaves aborts its request", async () => {
  await using http = await started();
  const { ask, left } = http;
  const abort = new AbortController();
  const waiting = ask("/wait", { signal: abort.signal });
  while ((await left()).waits === 0);
  abort.abort();
  await assertRejects(() => waiting, DOMException);
  while ((await left()).aborted === 0);
  assertEquals((await left()).completed, "Interrupted");
});

test("a client that leaves aborts pipelined requests, and cancels their answers", async () => {
  await using http = await started();
  const { path, left } = http;
  const conn = await connect(path);
  await conn.write(encode(GET("/wait") + GET("/wait") + GET("/endless")));
  while ((await left()).pulled === 0);
  conn.close();
  for (;;) {
    const { aborted, cancelled } = await left();
    if (aborted === 2 && cancelled === 1) break;
  }
});

test("a response that comes after its client has left is cancelled", async () => {
  await using http = await started();
  const { path, left } = http;
  const conn = await connect(path);
  await conn.write(encode(GET("/abandoned") + GET("/abandoned")));
  while ((await left()).waits !== 2);
  conn.close();
  while ((await left()).cancelled !== 2);
});

test("a client that leaves during an answer that is complete aborts its request", async () => {
  await using http = await started();
  const { path, left } = http;
  const conn = await connect(path);
  await conn.write(encode(GET("/big")));
  await conn.read(new Uint8Array(1));
  conn.close();
  while ((await left()).completed === "");
  const { completed, aborted } = await left();
  assertEquals([completed, aborted], ["Interrupted", 1]);
});

for (const count of [1, 1300]) {
  test(`a client that leaves after ${count} more requests aborts its first`, async () => {
    await using http = await started();
    const { path, server, left } = http;
    const conn = await connect(path);
    await conn.write(encode(GET("/wait")));
    while ((await left()).waits === 0);
    await conn.write(encode(GET("/pid").repeat(count)));
    conn.close();
    while ((await left()).aborted === 0);
    while ((await server.statistics()).workers[0]?.connections !== 1);
  });
}

test("pipelined requests, with bodies, are answered in their order", async () => {
  await using http = await started();
  const { path } = http;
  const numbers = Array.from({ length: 60 }, (_, i) => i);
  const requests = numbers.map((i) => {
    const body = `<${i}>`.padEnd(i % 50 === 49 ? 50_000 : 5 + i);
    return `POST ${i % 3 === 0 ? "/part" : "/echo"} HTTP/1.1\r\nHost: a\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`;
  });
  const last = GET("/pid", "Connection: close\r\n");
  await using conn = await connect(path);
  const [all] = await Promise.all([readAll(conn), conn.write(encode(requests.join("") + last))]);
  const answers = decode(all).match(/too large|<\d+>/g);
  assertEquals(answers, numbers.map((i) => i % 3 === 0 ? "too large" : `<${i}>`));
});

for (const [count, size] of [[2000, 100], [100, 3000], [60, 30_000], [20, 300_000]] as const) {
  test(`${count} pipelined requests of ${size} bytes are answered, if the last body comes later`, async () => {
    await using http = await started();
    const { path } = http;
    await using conn = await connect(path);
    const body = "~".repeat(size);
    const request = `POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n${body}`;
    const last = `POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\n`;
    const send = async () => {
      await conn.write(encode(request.repeat(count) + last));
      await conn.write(encode("end"));
    };
    const [all] = await Promise.all([readAll(conn), send()]);
    const answers = decode(all).split("HTTP/1.1 201 Created").slice(1);
    const sizes = answers.map((answer) => answer.split("~").length - 1);
    assertEquals(sizes, [...Array(count).fill(size), 0]);
    assertMatch(answers[count] ?? "", /end/);
  });
}

test("a body waits for a client that does not read, and is cancelled when it leaves", async () => {
  await using http = await started();
  const { path, ask, left } = http;
  const conn = await connect(path);
  await conn.write(encode("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"));
  await readText(conn);
  for (let before = -1; before !== (before = (await left()).pulled);) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { pulled } = await left();
  assert(pulled < 20, `${pulled} chunks of 64 KiB were asked for`);
  conn.close();
  while ((await left()).cancelled === 0);
  // The head does not wait for the body.
  const silent = await ask("/silent");
  assertEquals(silent.status, 200);
  await silent.body?.cancel();
  const broken = await ask("/broken");
  assertEquals([broken.status, await broken.text()], [500, "Internal Server Error"]);
});

/** Asks on a kept connection while its worker begins to drain. Returns all answers. */
async function answersOf(server: WorkerServer, request: string, end: RegExp): Promise<string[]> {
  for (;;) {
    await using kept = await connect(server.addr.path!);
    await kept.write(encode(request));
    const answers = [await readUntil(kept, end)];
    assertMatch(answers[0]!, /Connection: keep-alive/i);
    await server.reload();
    // If this process stalls for a second, the worker ends the connection without an answer.
    for (let answer = "none yet"; answer !== "";) {
      answer = await kept.write(encode(request)).then(() => readUntil(kept, end)).catch(() => "");
      answers.push(answer);
      if (!/connection: close/i.test(answer)) continue;
      assertEquals(await readText(kept), null);
      return answers;
    }
  }
}

test("a worker that drains answers, and ends its kept connections", async () => {
  await using http = await started();
  const { path, server } = http;
  await using idle = await connect(path);
  await idle.write(encode(GET("/pid")));
  await readText(idle);
  const answers = await answersOf(server, GET("/pid"), /\r\n\r\n\d+$/);
  const [pid, ...others] = new Set(answers.map((answer) => Number(answer.match(/\d+$/))));
  assertEquals(others, []);
  assert(!(await accepting(server)).includes(pid!), `${pid}`);
  assertEquals(await readText(idle), null);
});

for (
  const [kind, request, end] of [
    ["that fails", GET("/throw"), /Internal Server Error$/],
    ["that is refused", GET("/hello").replace("Host: a", "Host: a/b"), /The host is not valid\n$/],
    ["behind another", GET("/throw") + GET("/hello"), /keep-alive[^]*hello$/i],
  ] as const
) {
  test(`a worker that drains ends a connection after a request ${kind}, too`, async () => {
    await using http = await started();
    const answers = await answersOf(http.server, request, end);
    assertMatch(answers.at(-1)!, end);
  });
}

test("reload() under load loses no request of kept connections", async () => {
  await using http = await started({ count: 2 });
  const { server, ask } = http;
  const before = await accepting(server);
  let requests = 0;
  // Each goes on until a new worker answers.
  const clients = Array.from({ length: 8 }, async () => {
    for (let pid = before[0]!; before.includes(pid); requests++) {
      pid = Number(await (await ask("/pid")).text());
    }
  });
  await server.reload();
  await Promise.all(clients);
  assert(requests > 16, `${requests} requests`);
});

test("idleTimeout counts the silence of a client, not the time of an answer", async () => {
  await using http = await started({ idleTimeout: 150 });
  const { path } = http;
  await using conn = await connect(path);
  await conn.write(encode("GET /late HTTP/1.1\r\nHost: a\r\n\r\n"));
  assertMatch(decode(await readAll(conn)), /200 OK[^]*late$/);
});

test("fetch and connection are called on the default export, also on an instance of a class", async () => {
  await using dir = new TempDir();
  const path = dir.file("http.sock");
  const methods = {
    fetch: "fetch() { return new Response(this.name); }",
    connection:
      "async connection(conn) { await conn.read(new Uint8Array(1000)); await conn.writeText(this.name); }",
  };
  for (const [name, method] of Object.entries(methods)) {
    const exports = {
      object: `{ name: "ada", ${method} }`,
      class: `new (class { name = "ada"; ${method} })()`,
    };
    for (const [kind, value] of Object.entries(exports)) {
      const module = dir.file(`${name}_${kind}.js`);
      await Deno.writeTextFile(module, `export default ${value};`);
      await using _server = await serveWorkers({ path, count: 1 }, new URL(`file://${module}`));
      const all = await raw(path, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
      assertMatch(all, /ada$/, `${name} of ${kind}`);
    }
  }
});

test("serveWorkers() rejects when a module exports both connection and fetch", async () => {
  await using dir = new TempDir();
  const path = dir.file("http.sock");
  const module = dir.file("both.ts");
  await Deno.writeTextFile(module, "export const connection = () => {}, fetch = () => {};");
  await assertRejects(
    () => serveWorkers({ path, count: 1 }, new URL(`file://${module}`)),
    Deno.errors.InvalidData,
    'both.ts": it exports both "connection" and "fetch". Export one of them',
  );
});
