import {
  connect,
  type Connection,
  isSocketError,
  permissionFlags,
  permissions,
  probe,
  serve,
  SocketNotFound,
} from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  decode,
  denoArgs,
  encode,
  fixture,
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

/** A promise that a test settles when it likes. */
function gate(): { opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** Resolves when a signal aborts. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Connects so many clients at once. */
function connectMany(path: string, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => connect(path)));
}

function closeAll(connections: Connection[]): void {
  for (const conn of connections) conn.close();
}

/** Whatever it is that a read gave: the text, `null` at the end, or the error. */
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
  test(`shutdown() resets nobody: ${clients} clients in a loop, 10 rounds`, async () => {
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
      // Every other server blocks its process: for 30 ms after each 300 answers, when hundreds more
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

test("shutdown() serves everyone who waits in the backlog", async () => {
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

test("shutdown() of an abstract name comes to an end though clients keep coming", async () => {
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
  // One in each turn of the loop, whether the others are answered or not.
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
  // 200 pairs that talk all the time: each of their reads and writes competes with the accept.
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
    // One is served, and so the others do wait in the backlog when the shutdown begins.
    const server = await serve({ path, maxConnections: 1, onError: () => {} }, async (conn) => {
      await first.opened;
      await conn.write(encode(`you said ${await readText(conn)}`));
    });
    const clients = await connectMany(path, 100);
    await Promise.all(clients.map((conn) => conn.write(encode("hello"))));
    const ending = server.shutdown();
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

// Those in the backlog are told apart from a connection of the server's own by what they send first.
const WAITING: Record<string, { say: (conn: Connection) => unknown; heard: string }> = {
  "has said nothing yet": { say: () => {}, heard: "later" },
  "has said little": { say: (conn) => conn.write(encode("hi, ")), heard: "hi, later" },
  "has said much": {
    say: (conn) => conn.write(pseudoRandom(100_000, 5)),
    heard: `100000 bytes, later`,
  },
  "has ended its side": { say: (conn) => conn.closeWrite(), heard: "" },
  "has said something and ended its side": {
    say: (conn) => Promise.all([conn.write(encode("bye")), conn.closeWrite()]),
    heard: "bye",
  },
};

for (const [what, { say, heard }] of Object.entries(WAITING)) {
  test(`shutdown() gives the handler all that a client sends who waits and ${what}`, async () => {
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
    // The file is gone by now, and the listener as well soon.
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

test("shutdown() is not disturbed by clients who wait and have left", async () => {
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

testAlone("shutdown() keeps the idleTimeout of those who come from the backlog", async () => {
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
  // Three are being served, and what `listen` was told is 1,024: one more fits.
  assert(clients.length > 1024, `${clients.length} clients`);
  assertEquals([running, server.connections, served], [3, 3, 0]);
  // Before the shutdown: the test is about places, not about who else uses the event loop.
  await Promise.all(clients.map((conn, i) => conn.write(encode(`${i}`))));
  const ending = server.shutdown();
  first.open();
  const answers = await Promise.all(clients.map(readText));
  assertEquals(answers, clients.map((_, i) => `${i}`));
  assertEquals(await ending, { completed: clients.length, aborted: 0 });
  assertEquals([most, running, served], [3, 0, clients.length]);
  closeAll(clients);
});

test("shutdown() serves the backlog also where descriptors have run out", async () => {
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
  // The rest can be served only when these go. They stay for so many turns of the event loop that
  // somebody who takes "cannot accept" for "nobody is there" has given up.
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

testAlone("shutdown() cuts off at the deadline what is left, and says how many", async () => {
  await using dir = new TempDir();
  const path = dir.file("d.sock");
  const began = gate();
  const signals: boolean[][] = [];
  let handlers = 0;
  let failures = 0;
  const server = await serve({ path, onError: () => failures++ }, async (conn, info) => {
    if (++handlers === 5) began.open();
    await aborted(info.draining);
    signals.push([info.draining.aborted, info.signal.aborted]);
    await aborted(info.signal);
    signals.push([info.draining.aborted, info.signal.aborted]);
    await conn.closed;
    throw new Error("cut off");
  });
  const clients = await connectMany(path, 5);
  await began.opened;
  const start = performance.now();
  const result = await server.shutdown({ timeout: 300 });
  const took = performance.now() - start;
  assertEquals(result, { completed: 0, aborted: 5 });
  assert(took >= 295 && took < 800, `it took ${took} ms`);
  assertEquals(server.connections, 0);
  assertEquals(signals, [
    ...Array.from({ length: 5 }, () => [true, false]),
    ...Array.from({ length: 5 }, () => [true, true]),
  ]);
  assertEquals(await Promise.all(clients.map(readText)), [null, null, null, null, null]);
  // They were counted; they are not reported as well.
  assertEquals(failures, 0);
  await server.finished;
  closeAll(clients);
});

test("shutdown() cuts off a handler that reads and one that writes to a client who does not read", async () => {
  await using dir = new TempDir();
  const path = dir.file("w.sock");
  const began = gate();
  const failures: unknown[] = [];
  const ended: unknown[] = [];
  let handlers = 0;
  const server = await serve({ path, onError: (error) => failures.push(error) }, async (conn) => {
    const mine = ++handlers;
    if (mine === 2) began.open();
    const work = mine === 1 ? conn.read(new Uint8Array(1)) : conn.write(new Uint8Array(4_000_000));
    await work.catch((error) => ended.push([mine, error.name, error.operation]));
  });
  const reader = await connect(path);
  const stalled = await connect(path);
  await began.opened;
  assertEquals(await server.shutdown({ timeout: 100 }), { completed: 0, aborted: 2 });
  // The handlers go on to their end by themselves.
  assertEquals(await readText(reader), null);
  await readAll(stalled);
  assertEquals(ended.sort(), [[1, "ConnectionClosed", "read"], [2, "ConnectionClosed", "write"]]);
  assertEquals(failures, []);
  reader.close();
  stalled.close();
});

test("shutdown() counts those as aborted that maxConnections kept waiting to the end", async () => {
  await using dir = new TempDir();
  const path = dir.file("k.sock");
  let handlers = 0;
  const server = await serve({ path, maxConnections: 1 }, async (conn) => {
    handlers++;
    await conn.closed;
  });
  const clients = await connectMany(path, 4);
  assertEquals(await server.shutdown({ timeout: 100 }), { completed: 0, aborted: 4 });
  assertEquals(handlers, 1);
  assertEquals(await Promise.all(clients.map(readText)), [null, null, null, null]);
  closeAll(clients);
});

test("shutdown() called twice is one shutdown", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  const finish = gate();
  const server = await serve(path, () => finish.opened);
  const client = await connect(path);
  const first = server.shutdown();
  const second = server.shutdown({ timeout: 0 });
  assertStrictEquals(second, first);
  finish.open();
  assertEquals(await first, { completed: 1, aborted: 0 });
  assertStrictEquals(server.shutdown(), first);
  client.close();
});

testAlone("shutdown() tells idle connections by draining, and they finish at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("i.sock");
  const idle = gate();
  let waiting = 0;
  const server = await serve(path, async (conn, { draining }) => {
    const reading = conn.read(new Uint8Array(1)).catch(() => {});
    if (++waiting === 4) idle.open();
    await Promise.race([reading, aborted(draining)]);
    await conn.write(encode("bye"));
  });
  const clients = await connectMany(path, 4);
  await idle.opened;
  const start = performance.now();
  const [result, ...farewells] = await Promise.all([server.shutdown(), ...clients.map(readText)]);
  assertEquals(result, { completed: 4, aborted: 0 });
  assertEquals(farewells, ["bye", "bye", "bye", "bye"]);
  assert(performance.now() - start < 2500, "it waited for something else than the handlers");
  closeAll(clients);
});

for (const timeout of [0, 1, 20]) {
  test(`shutdown() with timeout ${timeout} shows its own connection to no handler`, async () => {
    await using dir = new TempDir();
    for (let round = 0; round < 20; round++) {
      let calls = 0;
      const server = await serve(dir.file("n.sock"), () => Promise.resolve(calls++));
      const ending = server.shutdown({ timeout });
      // A processor that is busy: the time is over before the connection is looked at.
      const until = performance.now() + 3;
      while (performance.now() < until);
      assertEquals([await ending, calls], [{ completed: 0, aborted: 0 }, 0]);
    }
  });
}

for (
  const [what, mode] of [["", "600"], [", and does not serve its own connection", "666"]] as const
) {
  test(`shutdown() closes the listener also where the files cannot be removed${what}`, async () => {
    await using dir = new TempDir(0o777);
    const path = dir.file("d.sock");
    // Nobody else may connect to a file of mode 600, the server itself neither.
    await using server = fixture("server_fallen.ts", ["--allow-all"], [path, mode]);
    assertEquals(await server.line(), "listening");
    // It ends by itself, and says in one line of ours what it could not remove.
    const lines = await within(4000, server.output());
    assertEquals(JSON.parse(lines[0]!), ["PermissionDenied", "serve", path, "EACCES", 0]);
    assertEquals((await server.status).code, 0);
    assertEquals((await probe(path)).state, "stale");
  }, { root: true });
}

testAlone("shutdown() with timeout 0 cuts off at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("z.sock");
  const began = gate();
  const server = await serve(path, async (conn) => {
    began.open();
    await conn.closed;
  });
  const client = await connect(path);
  await began.opened;
  const start = performance.now();
  assertEquals(await server.shutdown({ timeout: 0 }), { completed: 0, aborted: 1 });
  assert(performance.now() - start < 250);
  assertEquals(await readText(client), null);
  assertEquals(dir.list(), []);
  client.close();
});

test("shutdown() with timeout Infinity waits for every handler", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  const finish = gate();
  const draining = gate();
  const server = await serve(path, async (_conn, info) => {
    info.draining.addEventListener("abort", draining.open, { once: true });
    await finish.opened;
  });
  const client = await connect(path);
  const ending = server.shutdown({ timeout: Infinity });
  await draining.opened;
  // A timer that was given Infinity would be over by now.
  const early = await Promise.race([
    ending.then(() => "shutdown() resolved"),
    server.finished.then(() => "finished resolved"),
    new Promise((resolve) => setTimeout(resolve, 50, "neither")),
  ]);
  assertEquals(early, "neither");
  finish.open();
  assertEquals(await ending, { completed: 1, aborted: 0 });
  client.close();
});

test("shutdown() counts whose handler ends meanwhile, also by a failure, and nobody before", async () => {
  await using dir = new TempDir();
  const path = dir.file("c.sock");
  const failures: unknown[] = [];
  const server = await serve({ path, onError: (error) => failures.push(error) }, async (conn) => {
    const text = await readText(conn);
    if (text === "fail") throw new Error("it failed");
    await conn.write(encode("done"));
  });
  const before = await connect(path);
  await before.write(encode("x"));
  assertEquals(await readText(before), "done");
  assertEquals(await readText(before), null);
  assertEquals(server.connections, 0);

  const clients = await connectMany(path, 3);
  const ending = server.shutdown();
  for (const [i, text] of ["x", "fail", "x"].entries()) await clients[i]?.write(encode(text));
  assertEquals(await ending, { completed: 3, aborted: 0 });
  assertEquals(await Promise.all(clients.map(readText)), ["done", null, "done"]);
  assertEquals(failures.map(String), ["Error: it failed"]);
  closeAll([before, ...clients]);
});

test("shutdown() leaves neither file nor lock, and resolves finished", async () => {
  await using dir = new TempDir();
  const path = dir.file("g.sock");
  const server = await serve(path, async () => {});
  assertEquals(dir.list(), ["g.sock", "g.sock.lock"]);
  assertEquals(await server.shutdown(), { completed: 0, aborted: 0 });
  assertEquals(dir.list(), []);
  await within(1000, server.finished);
});

test("shutdown() lets a successor start while old handlers still run", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const finish = gate();
  const draining = gate();
  const old = await serve(path, async (conn, info) => {
    info.draining.addEventListener("abort", draining.open, { once: true });
    await finish.opened;
    await conn.write(encode("old"));
  });
  const first = await connect(path);
  const ending = old.shutdown();
  await draining.opened;

  await using _successor = await serve(path, async (conn) => {
    await conn.write(encode("new"));
  });
  const inode = Deno.lstatSync(path).ino;
  const second = await connect(path);
  assertEquals(await readText(second), "new");
  assertEquals(old.connections, 1);
  finish.open();
  assertEquals(await readText(first), "old");
  assertEquals(await ending, { completed: 1, aborted: 0 });
  // The end of the old one takes nothing from the new one.
  assertEquals(dir.list(), ["s.sock", "s.sock.lock"]);
  assertEquals(Deno.lstatSync(path).ino, inode);
  const third = await connect(path);
  assertEquals(await readText(third), "new");
  closeAll([first, second, third]);
});

test("serve() can serve the path again as soon as shutdown() has resolved", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  for (let round = 0; round < 20; round++) {
    const server = await serve(path, async (conn) => void await conn.write(encode(`${round}`)));
    const client = await connect(path);
    assertEquals(await readText(client), `${round}`);
    client.close();
    await server.shutdown();
    assertEquals(dir.list(), []);
  }
});

test("Disposing of a server is its shutdown", async () => {
  await using dir = new TempDir();
  const path = dir.file("u.sock");
  let client;
  {
    await using _server = await serve(path, async (conn) => {
      await conn.write(encode(`you said ${await readText(conn)}`));
    });
    client = await connect(path);
    await client.write(encode("hello"));
  }
  assertEquals(dir.list(), []);
  assertEquals(await readText(client), "you said hello");
  client.close();
});

test("shutdown() can be called by a handler, which is then one of those it waits for", async () => {
  await using dir = new TempDir();
  const path = dir.file("h.sock");
  const server = await serve(path, async (conn, { draining }) => {
    server.shutdown();
    await aborted(draining);
    await conn.write(encode("the last one"));
  });
  const client = await connect(path);
  assertEquals(await readText(client), "the last one");
  await server.finished;
  assertEquals(await server.shutdown(), { completed: 1, aborted: 0 });
  client.close();
});

for (
  const [what, name] of [["the path", "p.sock"], ["the path of publish", "p.sock.new"]] as const
) {
  test(`shutdown() leaves a stranger's file at ${what}, put there during the drain`, async () => {
    await using dir = new TempDir();
    const path = dir.file("p.sock");
    const publish = name === "p.sock" ? "direct" : "rename";
    const server = await serve({ path, publish }, async () => {});
    const ending = server.shutdown();
    // The name is given up before anything is waited for; Deno will yet unlink what it bound.
    assert(!dir.list().includes("p.sock"));
    Deno.writeTextFileSync(dir.file(name), "a stranger's");
    await ending;
    assertEquals(dir.list(), [name]);
    assertEquals(Deno.readTextFileSync(dir.file(name)), "a stranger's");
  });
}

test("shutdown() leaves a stranger's server at the path, put there during the drain", async () => {
  await using dir = new TempDir();
  const path = dir.file("q.sock");
  const server = await serve(path, async () => {});
  const ending = server.shutdown();
  using stranger = Deno.listen({ transport: "unix", path });
  await ending;
  assertEquals(dir.list(), ["q.sock"]);
  const [theirs, ours] = await Promise.all([stranger.accept(), connect(path)]);
  theirs.close();
  ours.close();
});

test("shutdown() refuses a timeout that is none, and unknown options", async () => {
  await using dir = new TempDir();
  await using server = await serve(dir.file("o.sock"), async () => {});
  await assertRejects(
    async () => void await server.shutdown({ timeout: -1 }),
    RangeError,
    "timeout",
  );
  await assertRejects(
    async () => void await server.shutdown({ timeout: "1" } as never),
    TypeError,
    "timeout",
  );
  await assertRejects(
    async () => void await server.shutdown({ deadline: 1 } as never),
    TypeError,
    '"deadline"',
  );
  // None of them has begun a shutdown.
  const client = await connect(dir.file("o.sock"));
  assertEquals(await readText(client), null);
  client.close();
});
