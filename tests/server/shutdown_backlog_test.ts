import {
  connect,
  type Connection,
  isSocketError,
  permissionFlags,
  permissions,
  serve,
  SocketNotFound,
} from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  decode,
  denoArgs,
  encode,
  fixture,
  gate,
  Program,
  pseudoRandom,
  readAll,
  readText,
  ROOT,
  run,
  TempDir,
  test,
  testAlone,
  within,
} from "../_helpers.ts";
import { closeAll, connectMany } from "./_shutdown.ts";

/** Returns the outcome of a read: the text, `null` at the end of file, or the error. */
async function outcome(conn: Connection): Promise<unknown> {
  try {
    return await readText(conn);
  } catch (error) {
    return error;
  }
}

// The load comes from another process, and so does the server: clients that share its event loop
// would hold their requests back while the server is busy, which is when connections get lost.
for (const clients of [200, 1200]) {
  test(`shutdown() resets no client: ${clients} clients in a loop, 10 rounds`, async () => {
    await using dir = new TempDir();
    const path = dir.file("l.sock");
    const program = dir.file("load_clients");
    const source = `${ROOT}/tests/fixtures/load_clients.c`;
    const compiled = await run("gcc", ["-O2", "-o", program, source]);
    assertEquals(compiled.stderr, "");
    await using server = fixture("load_server.ts", permissionFlags(permissions("serve", path)), [
      path,
    ], { stdin: "piped" });
    await using load = new Program(program, [path, `${clients}`, `${2 * clients}`], {
      stdin: "piped",
    });
    const toServer = server.stdin.getWriter();
    const toLoad = load.stdin.getWriter();
    const expected = { refused: clients, lost: 0, firstLoss: "", odd: 0, firstOddity: "" };

    for (let round = 1; round <= 10; round++) {
      // Every other server blocks its process for 30 ms after each 300 answers, while hundreds more
      // connect behind its back.
      await toServer.write(encode(round % 2 === 1 ? "start 300 30\n" : "start 0 0\n"));
      assertEquals(await server.line(), "listening");
      await toLoad.write(encode("go\n"));
      assertEquals(await load.line(), "flow");
      await toServer.write(encode("stop\n"));
      const { answered, ...counts } = JSON.parse(await load.line());
      const told = JSON.parse(await server.line());
      assertEquals(counts, expected, `round ${round}`);
      assertEquals([told.answered, told.errors, told.aborted], [answered, [], 0]);
      assert(answered >= 2 * clients);
    }
    await Promise.all([toServer.close(), toLoad.close()]);
    assertEquals((await server.status).code, 0);
    assertEquals((await load.status).code, 0);
    assertEquals(dir.list(), ["load_clients"]);
  }, { needs: ["gcc"], deadline: 30_000 });
}

test("shutdown() serves every client in the backlog", async () => {
  await using dir = new TempDir();
  const path = dir.file("b.sock");
  const server = await serve(path, async (conn) => {
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  const clients = await connectMany(path, 300);
  const questions = clients.map((conn, i) => conn.write(encode(`${i}`)));
  const ending = server.shutdown();
  await assertRejects(() => connect(path), SocketNotFound);
  await Promise.all(questions);
  assertEquals(
    await Promise.all(clients.map(readText)),
    clients.map((_, i) => `you said ${i}`),
  );
  assertEquals((await ending).aborted, 0);
  assertEquals(dir.list(), []);
  closeAll(clients);
});

test("shutdown() of an abstract name ends although clients keep coming", async () => {
  const name = `\0uds-shutdown-test-${Deno.pid}`;
  const coming = gate();
  let served = 0;
  const server = await serve(name, async (conn) => {
    if (++served === 10) coming.open();
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  let isEnding = false;
  const answers: Promise<unknown>[] = [];
  const ask = async () => {
    using conn = await connect({ path: name, timeout: 0 });
    await conn.write(encode("hello"));
    return await readText(conn);
  };
  // One client in each turn of the event loop, whether the others are answered or not.
  const timer = setInterval(() => {
    const answer = ask().catch((error) => error);
    if (!isEnding) answers.push(answer);
  }, 0);
  await coming.opened;
  isEnding = true;
  const { aborted } = await within(10_000, server.shutdown({ timeout: Infinity }));
  clearInterval(timer);
  assertEquals(aborted, 0);
  assertEquals(new Set(await Promise.all(answers)), new Set(["you said hello"]));
});

test("shutdown() serves the backlog while the process is busy with other connections", async () => {
  await using dir = new TempDir();
  const path = dir.file("y.sock");
  // 200 busy pairs of connections: each of their reads and writes competes with the accept.
  const other = { transport: "unix", path: dir.file("other.sock") } as const;
  using listener = Deno.listen(other);
  let over = false;
  const talk = async (near: Deno.UnixConn, far: Deno.UnixConn) => {
    const byte = new Uint8Array(1);
    while (!over) {
      await near.write(byte);
      await far.read(byte);
    }
    near.close();
    far.close();
  };
  const talks: Promise<void>[] = [];
  for (let i = 0; i < 200; i++) {
    talks.push(talk(...await Promise.all([listener.accept(), Deno.connect(other)])));
  }
  let lost = 0;
  for (let round = 0; round < 3; round++) {
    const first = gate();
    // One client is served, so the others wait in the backlog when the shutdown begins.
    const server = await serve({ path, maxConnections: 1, onError: () => {} }, async (conn) => {
      await first.opened;
      await conn.write(encode(`you said ${await readText(conn)}`));
    });
    const clients = await connectMany(path, 100);
    await Promise.all(clients.map((conn) => conn.write(encode("hello"))));
    // The deadline is not the subject: on a busy machine, 100 clients may take longer than 5 s.
    const ending = server.shutdown({ timeout: Infinity });
    first.open();
    const answers = await Promise.all(clients.map(outcome));
    lost += answers.filter((answer) => answer !== "you said hello").length;
    await ending;
    closeAll(clients);
  }
  over = true;
  await Promise.all(talks);
  assertEquals(lost, 0, `${lost} of 300 clients were reset`);
}, { deadline: 30_000 });

// The first bytes of a client tell it apart from the server's connection to itself.
const WAITING: Record<string, { say: (conn: Connection) => unknown; heard: string }> = {
  "has sent nothing yet": { say: () => {}, heard: "later" },
  "has sent little": { say: (conn) => conn.write(encode("hi, ")), heard: "hi, later" },
  "has sent much": {
    say: (conn) => conn.write(pseudoRandom(100_000, 5)),
    heard: `100000 bytes, later`,
  },
  "has ended its side": { say: (conn) => conn.closeWrite(), heard: "" },
  "has sent something and ended its side": {
    say: (conn) => Promise.all([conn.write(encode("bye")), conn.closeWrite()]),
    heard: "bye",
  },
};

for (const [what, { say, heard }] of Object.entries(WAITING)) {
  test(`shutdown() loses no byte of a queued client that ${what}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("v.sock");
    const first = gate();
    const failures: unknown[] = [];
    let handled = 0;
    const options = { path, maxConnections: 1, onError: (error: unknown) => failures.push(error) };
    const server = await serve(options, async (conn) => {
      if (++handled === 1) return await first.opened;
      const bytes = await readAll(conn);
      const text = bytes.length < 100
        ? decode(bytes)
        : `${bytes.length - 5} bytes, ${decode(bytes.slice(-5))}`;
      await conn.write(encode(`${text}|${conn.bytesRead - bytes.length}`));
    });
    const holder = await connect(path);
    const client = await connect(path);
    await say(client);
    const ending = server.shutdown();
    first.open();
    // The file is gone by now, and the listener will be soon.
    await readText(holder);
    if (!what.includes("ended")) {
      await client.write(encode("later"));
      await client.closeWrite();
    }
    assertEquals(await readText(client), `${heard}|0`);
    assertEquals(await ending, { completed: 2, aborted: 0 });
    assertEquals(failures, []);
    closeAll([holder, client]);
  });
}

test("shutdown() ignores queued clients that have left", async () => {
  await using dir = new TempDir();
  const path = dir.file("x.sock");
  const first = gate();
  const failures: unknown[] = [];
  const read: unknown[] = [];
  let handled = 0;
  const options = { path, maxConnections: 1, onError: (error: unknown) => failures.push(error) };
  const server = await serve(options, async (conn) => {
    if (++handled === 1) return await first.opened;
    read.push(await readText(conn));
  });
  const clients = await connectMany(path, 10);
  await clients[4]?.write(encode("farewell"));
  closeAll(clients.slice(1));
  const ending = server.shutdown();
  first.open();
  assertEquals(await ending, { completed: 10, aborted: 0 });
  assertEquals(read, [null, null, null, "farewell", null, null, null, null, null]);
  assertEquals(failures, []);
  clients[0]?.close();
});

testAlone("shutdown() applies idleTimeout to clients from the backlog", async () => {
  await using dir = new TempDir();
  const path = dir.file("j.sock");
  const first = gate();
  const failures: unknown[] = [];
  let handled = 0;
  const server = await serve({
    path,
    maxConnections: 1,
    idleTimeout: 80,
    onError: (error) => failures.push(error),
  }, async (conn) => {
    if (++handled === 1) return await first.opened;
    await conn.read(new Uint8Array(1));
  });
  const clients = await connectMany(path, 2);
  const start = performance.now();
  const ending = server.shutdown();
  first.open();
  assertEquals(await Promise.all(clients.map(readText)), [null, null]);
  const result = await ending;
  const took = performance.now() - start;
  assert(took < 2500, `it took ${took} ms`);
  assertEquals(result, { completed: 2, aborted: 0 });
  assertEquals(failures.map((error) => (error as Error).name), ["TimedOut"]);
  closeAll(clients);
});

test("shutdown() with maxConnections serves a full backlog, never more than that at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  const first = gate();
  let running = 0;
  let most = 0;
  let served = 0;
  const server = await serve({ path, maxConnections: 3 }, async (conn) => {
    most = Math.max(most, ++running);
    await first.opened;
    await conn.write(encode(`${await readText(conn)}`));
    running--;
    served++;
  });
  const clients: Connection[] = [];
  for (let full = false; !full;) {
    try {
      clients.push(await connect({ path, timeout: 0 }));
    } catch (error) {
      assert(isSocketError(error) && error.code === "EAGAIN");
      full = true;
    }
  }
  // Three are being served. The backlog is 1,024, and one more fits.
  assert(clients.length > 1024, `${clients.length} clients`);
  assertEquals([running, server.connections, served], [3, 3, 0]);
  // Written before the shutdown, because the test is about slots, not about a busy event loop.
  await Promise.all(clients.map((conn, i) => conn.write(encode(`${i}`))));
  const ending = server.shutdown();
  first.open();
  const answers = await Promise.all(clients.map(readText));
  assertEquals(answers, clients.map((_, i) => `${i}`));
  assertEquals(await ending, { completed: clients.length, aborted: 0 });
  assertEquals([most, running, served], [3, 0, clients.length]);
  closeAll(clients);
});

test("shutdown() serves the backlog also when descriptors have run out", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const flags = permissionFlags(permissions("serve", path));
  const args = denoArgs("server_until_line.ts", flags, [path]);
  const limited = ["-c", 'ulimit -n 40; exec "$0" "$@"', Deno.execPath(), ...args];
  await using server = new Program("sh", limited, { stdin: "piped" });
  assertEquals(await server.line(), "listening");
  // A quarter of them is accepted; the others find the process without a descriptor.
  const clients = await connectMany(path, 100);
  const greetings = clients.map(readText);
  assertEquals(await Promise.race(greetings), "\x01");
  const stdin = server.stdin.getWriter();
  await stdin.write(encode("end\n"));
  // The rest can be served only when these leave. They stay for many turns of the event loop: a
  // server that takes a failing accept for an empty backlog has given up by then.
  while (dir.list().includes("e.sock")) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await Promise.all(greetings.map(async (greeting, i) => {
    assertEquals(await greeting, "\x01");
    clients[i]?.close();
  }));
  const { served, aborted, errors } = JSON.parse(await server.line());
  assertEquals([served, aborted], [100, 0]);
  assert(errors.length > 0, "descriptors never ran out");
  await stdin.close();
  assertEquals((await server.status).code, 0);
});
