import {
  connect,
  type Connection,
  isSocketError,
  listen,
  permissionFlags,
  permissions,
  serve,
  type ServeHandlerInfo,
  SocketNotFound,
  type UnixAddr,
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

/** Everything that a server sends to a client who says nothing. */
async function fetchText(path: string): Promise<string> {
  const conn = await connect(path);
  const text = decode(await readAll(conn));
  conn.close();
  return text;
}

/** What an error of this package has, beside its text. */
function fieldsOf(error: unknown): unknown[] {
  assert(isSocketError(error), `${error} has no operation and path`);
  return [error.name, error.operation, error.path, error.code];
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// ---- One connection's failure is its own ----------------------------------------------------------

const FAILURES = {
  "rejects": () => Promise.reject(new Error("it failed")),
  "throws synchronously": () => {
    throw new Error("it failed");
  },
};

for (const [how, fail] of Object.entries(FAILURES)) {
  test(`serve() tells onError once of a handler that ${how}, and goes on`, async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    const told: [unknown, ServeHandlerInfo | undefined][] = [];
    let handled = 0;
    let given: ServeHandlerInfo | undefined;
    await using server = await serve(
      { path, onError: (error, info) => void told.push([error, info]) },
      (conn, info) => {
        if (++handled > 1) return conn.write(encode("served"));
        given = info;
        return fail();
      },
    );
    assertEquals(await fetchText(path), "");
    assertEquals(await fetchText(path), "served");
    assertEquals(told.map(([error]) => `${error}`), ["Error: it failed"]);
    assertStrictEquals(told[0]?.[1], given);
    assertEquals(server.connections, 0);
  });
}

test("serve() tells onError once of a client that resets, and goes on", async () => {
  await using dir = new TempDir();
  const path = dir.file("r.sock");
  const told: unknown[] = [];
  const over = gate();
  await using server = await serve({
    path,
    onError: (error) => {
      told.push(error);
      over.open();
    },
  }, async (conn) => {
    await conn.write(encode("ab"));
    while (await conn.read(new Uint8Array(8)) !== null);
  });
  const client = await connect(path);
  await client.read(new Uint8Array(1));
  // The kernel resets a connection that is closed with bytes unread.
  client.close();
  await over.opened;
  const calm = await connect(path);
  assertEquals(await readText(calm), "ab");
  assertEquals(server.connections, 1);
  calm.close();
  await server.shutdown();
  assertEquals(told.map(fieldsOf), [["ConnectionReset", "read", path, "ECONNRESET"]]);
  assert(told[0] instanceof Deno.errors.ConnectionReset);
});

test("serve() holds back the handler of a client who never reads, and serves the others", async () => {
  await using dir = new TempDir();
  const path = dir.file("n.sock");
  const told: unknown[] = [];
  let handled = 0;
  let written = 0;
  await using server = await serve(
    { path, onError: (error) => void told.push(error) },
    async (c) => {
      const data = new Uint8Array(++handled === 1 ? 8_000_000 : 10);
      const count = await c.write(data);
      written += count;
    },
  );
  const stalled = await connect(path);
  for (let i = 0; i < 10; i++) assertEquals((await fetchText(path)).length, 10);
  assertEquals([handled, written, server.connections], [11, 100, 1]);
  assertEquals(told, []);
  assertEquals((await readAll(stalled)).length, 8_000_000);
  assertEquals(written, 8_000_100);
  stalled.close();
});

// ---- Callbacks that fail --------------------------------------------------------------------------

const CALLBACKS = {
  "default": ["the handler fails"],
  "onError throws": ["the callback fails"],
  "onError rejects": ["the callback fails"],
  "onListen throws": ["the callback fails"],
};

for (const [mode, expected] of Object.entries(CALLBACKS)) {
  const title = mode === "default"
    ? "serve() without onError writes a handler's failure to standard error, and goes on"
    : `serve() goes on when ${mode}, and writes that to standard error`;
  test(title, async () => {
    await using dir = new TempDir();
    const path = dir.file("c.sock");
    const flags = permissionFlags(permissions("serve", path));
    await using program = fixture("server_faulty_callbacks.ts", flags, [path, mode]);
    // The client of the failed handler got nothing, the next one was served.
    assertEquals(await program.output(), ['""', '"served"']);
    const { code } = await program.status;
    const stderr = await program.stderr();
    for (const text of expected) assertEquals(stderr.split(`Error: ${text}`).length, 2, stderr);
    assertEquals(code, 0, stderr);
  });
}

// ---- Accepting that fails -------------------------------------------------------------------------

testAlone("serve() outlives a lack of descriptors: 100 clients at 40, no busy loop", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  await using server = limited(path);
  assertEquals(await server.line(), "listening");

  const before = processorTime(server.pid);
  const start = performance.now();
  const greetings = await Promise.all(Array.from({ length: 100 }, async () => {
    await using conn = await connect(path);
    const greeting = await readText(conn);
    // Holding it for a while is what makes the others wait.
    await delay(200);
    return greeting;
  }));
  const wall = performance.now() - start;
  const used = processorTime(server.pid) - before;

  assertEquals(greetings, Array.from({ length: 100 }, () => "\x01"));
  const stdin = server.stdin.getWriter();
  await stdin.write(encode("end\n"));
  const told = JSON.parse(await server.line());
  assertEquals(told.served, 100);
  assert(used < 0.3, `${used} s of processor time in ${wall} ms`);
  assert(wall > 600, "the descriptors sufficed");
  for (const { code, operation, info, message } of told.errors) {
    assertEquals([code, operation, info], ["EMFILE", "accept", false]);
    assertEquals(
      message,
      `Cannot accept on ${JSON.stringify(path)}: this process has too many open files. ` +
        `Raise its limit (ulimit -n)`,
    );
  }
  assert(told.errors.length >= 1, "there was no report");
  await stdin.close();
  assertEquals((await server.status).code, 0);
});

test("serve() reports a lack of descriptors once, also where clients leave one by one", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  await using server = limited(path);
  assertEquals(await server.line(), "listening");
  const before = sockets(server.pid);
  const clients: Connection[] = [];
  for (let i = 0; i < 60; i++) clients.push(await connect(path));
  const greetings = clients.map(readText);
  const places = await exhausted(server.pid) - before;
  for (const [i, client] of clients.entries()) {
    // Everyone who finds a place is there before the next one leaves: the lack never ends.
    const last = Math.min(places + i, clients.length) - 1;
    assertEquals(await greetings[last], "\x01", `client ${last} of ${places} at a time`);
    client.close();
  }
  const stdin = server.stdin.getWriter();
  await stdin.write(encode("end\n"));
  const { served, errors } = JSON.parse(await server.line());
  assertEquals(served, 60);
  assert(errors.length >= 1 && errors.length <= 3, `${errors.length} reports`);
  await stdin.close();
  assertEquals((await server.status).code, 0);
});

testAlone(
  "serve() that lacks descriptors accepts the next client as soon as one leaves",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("w.sock");
    await using server = limited(path);
    assertEquals(await server.line(), "listening");
    const before = sockets(server.pid);
    const clients: Connection[] = [];
    for (let i = 0; i < 40; i++) clients.push(await connect(path));
    const greetings = clients.map(readText);
    const places = await exhausted(server.pid) - before;
    await greetings[places - 1];
    // By now it tries again every 640 ms.
    await delay(700);
    const start = performance.now();
    clients[0]?.close();
    assertEquals(await greetings[places], "\x01");
    const took = performance.now() - start;
    assert(took < 250, `it took ${took} ms`);
    for (const [i, client] of clients.entries()) {
      await greetings[i];
      client.close();
    }
    const stdin = server.stdin.getWriter();
    await stdin.write(encode("end\n"));
    assertEquals(JSON.parse(await server.line()).served, clients.length);
    await stdin.close();
    assertEquals((await server.status).code, 0);
  },
);

/** A server that has no more than 40 descriptors. */
function limited(path: string): Program {
  const flags = permissionFlags(permissions("serve", path));
  const args = denoArgs("server_until_line.ts", flags, [path]);
  return new Program("sh", ["-c", 'ulimit -n 40; exec "$0" "$@"', Deno.execPath(), ...args], {
    stdin: "piped",
  });
}

/** What the descriptors of a process stand for. */
function descriptors(pid: number): string[] {
  const targets = [];
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      targets.push(Deno.readLinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // It was closed since.
    }
  }
  return targets;
}

/** How many sockets a process has. */
function sockets(pid: number): number {
  return descriptors(pid).filter((target) => target.startsWith("socket:")).length;
}

/** Waits until a process has all its 40 descriptors, and says how many sockets are among them. */
async function exhausted(pid: number): Promise<number> {
  while (descriptors(pid).length < 40) await delay(1);
  return sockets(pid);
}

/** The seconds of processor time that a process has used, as user and in the kernel. */
function processorTime(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // Fields 14 and 15 of proc(5), counted from the state, the third; 100 ticks a second.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** A server whose first accept fails. */
function failingAccept(path: string, error: string): Program {
  const flags = permissionFlags(permissions("serve", path));
  const args = denoArgs("server_until_line.ts", flags, [path]);
  const inject = ["-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace=accept4"];
  inject.push("-e", `inject=accept4:error=${error}:when=1`);
  return new Program("strace", [...inject, Deno.execPath(), ...args], { stdin: "piped" });
}

test("serve() goes on when a client gives up before it is accepted", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using server = failingAccept(path, "ECONNABORTED");
  assertEquals(await server.line(), "listening");
  const conn = await connect(path);
  assertEquals(await readText(conn), "\x01");
  conn.close();
  const stdin = server.stdin.getWriter();
  await stdin.write(encode("end\n"));
  const { errors, served, finished } = JSON.parse(await server.line());
  assertEquals([errors.length, served, finished], [1, 1, null]);
  assertEquals([errors[0].code, errors[0].operation, errors[0].info], [
    "ECONNABORTED",
    "accept",
    false,
  ]);
  await stdin.close();
  assertEquals((await server.status).code, 0);
}, { needs: ["strace"] });

testAlone(
  "serve() rejects finished, and frees the path, when accepting ends by itself",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("x.sock");
    await using server = failingAccept(path, "EINVAL");
    assertEquals(await server.line(), "listening");
    // The failure comes when there is something to accept.
    await connect(path).then((conn) => conn.close(), () => {});
    const start = performance.now();
    const { errors, finished } = JSON.parse(await server.line());
    // Nobody is connected and nobody can be accepted: there is nothing to wait for.
    const took = performance.now() - start;
    assert(took < 2500, `it took ${took} ms`);
    assertEquals(errors, []);
    assert(finished.includes(`Cannot accept on ${JSON.stringify(path)}: `), finished);
    await server.stdin.close();
    assertEquals((await server.status).code, 0);
    assertEquals(dir.list(), []);
  },
  { needs: ["strace"] },
);

// ---- Limits ---------------------------------------------------------------------------------------

test("serve() with maxConnections keeps the rest waiting, and then serves them all", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  let running = 0;
  let most = 0;
  const gates: (() => void)[] = [];
  const full = gate();
  await using server = await serve({ path, maxConnections: 3 }, async (conn) => {
    most = Math.max(most, ++running, server.connections);
    const { opened, open } = gate();
    gates.push(open);
    if (running === 3) full.open();
    await opened;
    running--;
    await conn.write(encode("served"));
  });
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(path)));
  await full.opened;
  // Enough turns of the event loop for a fourth one to be accepted, if it were.
  for (let i = 0; i < 20; i++) await delay(0);
  assertEquals([running, server.connections, gates.length], [3, 3, 3]);

  // One place at a time: whenever somebody has been served, exactly one more comes in.
  const answers = clients.map(readText);
  for (let next = 0; next < 20; next++) {
    while (gates[next] === undefined) await delay(0);
    assert(running <= 3 && server.connections <= 3);
    gates[next]?.();
  }
  assertEquals(await Promise.all(answers), clients.map(() => "served"));
  assertEquals([most, gates.length], [3, 20]);
  for (const conn of clients) conn.close();
});

testAlone(
  "serve() with idleTimeout ends a read that waits too long, and the client sees the end",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("i.sock");
    const told: unknown[] = [];
    await using server = await serve(
      { path, idleTimeout: 60, onError: (error) => void told.push(error) },
      async (conn) => void await conn.read(new Uint8Array(8)),
    );
    const start = performance.now();
    const client = await connect(path);
    assertEquals(await readText(client), null);
    const took = performance.now() - start;
    assert(took >= 55 && took < 1000, `it took ${took} ms`);
    client.close();
    await server.shutdown();
    assertEquals(told.map(fieldsOf), [["TimedOut", "read", path, "ETIMEDOUT"]]);
    const error = told[0] as Error;
    assert(error instanceof Deno.errors.TimedOut && error.cause instanceof Deno.errors.TimedOut);
    assert(error.message.endsWith("nothing came for 60 ms"), error.message);
  },
);

test("serve() with idleTimeout ends a stream that waits too long", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const told: unknown[] = [];
  await using server = await serve(
    { path, idleTimeout: 60, onError: (error) => void told.push(error) },
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  const client = await connect(path);
  await client.write(encode("echo"));
  assertEquals(decode(await readAll(client)), "echo");
  client.close();
  await server.shutdown();
  assertEquals(told.map(fieldsOf), [["TimedOut", "read", path, "ETIMEDOUT"]]);
});

test("serve() with idleTimeout waits for nothing when a connection has ended before it is read", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const told: unknown[] = [];
  await using server = await serve(
    { path, idleTimeout: 60_000, onError: (error) => void told.push(error) },
    async (conn) => {
      await conn.readable.cancel();
      await conn.closeWrite();
      // A timer that is left behind fails the test.
      await conn.read(new Uint8Array(8));
    },
  );
  const client = await connect(path);
  assertEquals(await readText(client), null);
  client.close();
  await server.shutdown();
  assertEquals(told.map(fieldsOf), [["ConnectionClosed", "read", path, undefined]]);
});

test("serve() with idleTimeout does not cut a handler that is busy and does not read", async () => {
  await using dir = new TempDir();
  const path = dir.file("b.sock");
  const told: unknown[] = [];
  await using _server = await serve(
    { path, idleTimeout: 50, onError: (error) => void told.push(error) },
    async (conn) => {
      await conn.read(new Uint8Array(8));
      await delay(200);
      await conn.write(encode("at last"));
      // What comes in time after a long pause is not late.
      await conn.write(encode(`, ${await readText(conn)}`));
    },
  );
  const client = await connect(path);
  await client.write(encode("question"));
  assertEquals(await readText(client), "at last");
  await client.write(encode("thanks"));
  assertEquals(await readText(client), ", thanks");
  assertEquals(await readText(client), null);
  assertEquals(told, []);
  client.close();
});

test("serve() with idleTimeout counts from the read, not from what came before", async () => {
  await using dir = new TempDir();
  const path = dir.file("y.sock");
  await using _server = await serve({ path, idleTimeout: 300 }, async (conn) => {
    await conn.read(new Uint8Array(8));
    await delay(200);
    await conn.write(encode("ready"));
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  const client = await connect(path);
  await client.write(encode("question"));
  assertEquals(await readText(client), "ready");
  // 400 ms after the last byte, and 200 ms after the read began.
  await delay(200);
  await client.write(encode("hello"));
  assertEquals(await readText(client), "you said hello");
  client.close();
});

for (const how of ["cancel", "releaseLock"] as const) {
  test(`serve() with idleTimeout does not count a read that was given up by ${how}()`, async () => {
    await using dir = new TempDir();
    const path = dir.file("g.sock");
    const told: unknown[] = [];
    await using _server = await serve(
      { path, idleTimeout: 100, onError: (error) => void told.push(error) },
      async (conn) => {
        const reader = conn.readable.getReader();
        reader.read().catch(() => {});
        await delay(10);
        await reader[how]();
        await delay(300);
        await conn.write(encode("at last"));
        // Who reads then waits for the first time.
        await conn.write(encode(`, ${await readText(conn)}`));
      },
    );
    const client = await connect(path);
    assertEquals(await readText(client), "at last");
    await client.write(encode("thanks"));
    assertEquals(await readText(client), ", thanks");
    assertEquals(told, []);
    client.close();
  });
}

test("serve() with idleTimeout counts from the first of several reads that wait", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const told: unknown[] = [];
  await using _server = await serve(
    { path, idleTimeout: 300, onError: (error) => void told.push(error) },
    async (conn) => {
      const first = conn.read(new Uint8Array(8));
      const timer = setInterval(() => conn.read(new Uint8Array(8)).catch(() => {}), 100);
      await first.finally(() => clearInterval(timer));
    },
  );
  const client = await connect(path);
  assertEquals(await within(2000, readText(client)), null);
  assert(told[0] instanceof Deno.errors.TimedOut);
  client.close();
});

test("serve() with idleTimeout leaves a client alone who sends a byte in time", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  const told: unknown[] = [];
  await using _server = await serve(
    { path, idleTimeout: 400, onError: (error) => void told.push(error) },
    async (conn) => {
      let count = 0;
      while (await conn.read(new Uint8Array(1)) !== null) count++;
      await conn.write(encode(`${count} bytes`));
    },
  );
  const client = await connect(path);
  // Longer than the timeout in all, shorter each time.
  for (let i = 0; i < 6; i++) {
    await delay(100);
    await client.write(new Uint8Array(1));
  }
  await client.closeWrite();
  assertEquals(await readText(client), "6 bytes");
  assertEquals(told, []);
  client.close();
});

test("serve() with firstByteTimeout ends who says nothing, and its place is the next one's", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  const told: unknown[] = [];
  await using server = await serve(
    { path, maxConnections: 2, firstByteTimeout: 60, onError: (error) => void told.push(error) },
    async (conn) => {
      await conn.write(encode(`you said ${await readText(conn)}`));
    },
  );
  const silent = await Promise.all([connect(path), connect(path)]);
  const client = await connect(path);
  await client.write(encode("hello"));
  assertEquals(await readText(client), "you said hello");
  assertEquals(await Promise.all(silent.map(readText)), [null, null]);
  for (const conn of [...silent, client]) conn.close();
  await server.shutdown();
  assertEquals(told.map(fieldsOf), told.map(() => ["TimedOut", "read", path, "ETIMEDOUT"]));
  assertEquals(told.length, 2);
  assert((told[0] as Error).message.endsWith("nothing came for 60 ms"));
});

for (
  const [idle, idleTimeout] of [["no idleTimeout", Infinity], ["a longer one", 60_000]] as const
) {
  test(`serve() with firstByteTimeout and ${idle} leaves who has said something alone`, async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    await using _server = await serve(
      { path, firstByteTimeout: 50, idleTimeout },
      (conn) => conn.readable.pipeTo(conn.writable),
    );
    await using client = await connect(path);
    await client.write(encode("hello"));
    assertEquals(await readText(client), "hello");
    await delay(150);
    await client.write(encode("again"));
    assertEquals(await readText(client), "again");
  });
}

testAlone("serve() with firstByteTimeout counts idleTimeout from the first byte on", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  await using _server = await serve(
    { path, firstByteTimeout: 60_000, idleTimeout: 50, onError() {} },
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  await using client = await connect(path);
  await delay(150);
  await client.write(encode("late"));
  const start = performance.now();
  assertEquals(decode(await readAll(client)), "late");
  assert(performance.now() - start < 5000);
});

test("serve() with firstByteTimeout does not count what comes before the handler reads", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  await using _server = await serve({ path, firstByteTimeout: 50 }, async (conn) => {
    await delay(150);
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  await using client = await connect(path);
  await client.write(encode("hello"));
  assertEquals(await readText(client), "you said hello");
});

// ---- What the server tells ------------------------------------------------------------------------

test("serve() counts its connections", async () => {
  await using dir = new TempDir();
  const path = dir.file("n.sock");
  const arrived: (() => void)[] = [];
  const ended: (() => void)[] = [];
  await using server = await serve(path, async (conn) => {
    arrived.shift()?.();
    await conn.read(new Uint8Array(1));
    await conn[Symbol.asyncDispose]();
    setTimeout(() => ended.shift()?.(), 0);
  });
  const clients: Connection[] = [];
  const counts = [server.connections];
  for (let i = 0; i < 3; i++) {
    const { opened, open } = gate();
    arrived.push(open);
    clients.push(await connect(path));
    await opened;
    counts.push(server.connections);
  }
  for (const client of clients) {
    const { opened, open } = gate();
    ended.push(open);
    client.close();
    await opened;
    counts.push(server.connections);
  }
  assertEquals(counts, [0, 1, 2, 3, 2, 1, 0]);
});

test("serve() calls onListen once, with the address, and is ready then", async () => {
  await using dir = new TempDir();
  const path = dir.file("l.sock");
  const told: UnixAddr[] = [];
  let early: Promise<string> | undefined;
  const onListen = (addr: UnixAddr) => {
    told.push(addr);
    early = fetchText(path);
  };
  await using server = await serve({ path, onListen }, (conn) => conn.write(encode("served")));
  assertEquals(told, [{ transport: "unix", path }]);
  assertEquals(server.addr, { transport: "unix", path });
  assertEquals(await early, "served");
  assertEquals(await fetchText(path), "served");
  assertEquals(told.length, 1);
});

test("serve() gives all handlers the same info, whose signals abort one after the other", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  const infos: ServeHandlerInfo[] = [];
  const both = gate();
  const events: string[] = [];
  const server = await serve(path, async (conn, info) => {
    infos.push(info);
    if (infos.length === 2) {
      info.draining.addEventListener("abort", () => events.push("draining"));
      info.signal.addEventListener("abort", () => events.push("signal"));
      both.open();
    }
    await conn.closed;
  });
  const clients = await Promise.all([connect(path), connect(path)]);
  await both.opened;
  const [first, second] = infos;
  assertStrictEquals(first, second);
  assertEquals([first?.draining.aborted, first?.signal.aborted], [false, false]);
  assertEquals(await server.shutdown({ timeout: 50 }), { completed: 0, aborted: 2 });
  assertEquals(events, ["draining", "signal"]);
  for (const conn of clients) conn.close();
});

// ---- The signal -----------------------------------------------------------------------------------

test("serve() shuts down when its signal aborts", async () => {
  await using dir = new TempDir();
  const path = dir.file("g.sock");
  const abort = new AbortController();
  const server = await serve({ path, signal: abort.signal }, async (conn) => {
    await conn.write(encode(`you said ${await readText(conn)}`));
  });
  const client = await connect(path);
  abort.abort();
  await assertRejects(() => connect(path), SocketNotFound);
  await client.write(encode("hello"));
  assertEquals(await readText(client), "you said hello");
  await server.finished;
  assertEquals(await server.shutdown(), { completed: 1, aborted: 0 });
  assertEquals(dir.list(), []);
  client.close();
});

const STARTS = {
  serve: (path: string, signal: AbortSignal) =>
    serve({ path, signal }, async () => {}).then((server) => () => server.finished),
  listen: (path: string, signal: AbortSignal) =>
    listen({ path, signal }).then((listener) => async () => {
      await assertRejects(() => listener.accept(), Deno.errors.BadResource);
      await listener.close();
    }),
};

for (const [name, start] of Object.entries(STARTS)) {
  test(`${name}() rejects with the reason of a signal that was aborted before`, async () => {
    await using dir = new TempDir();
    const reason = new Error("not now");
    const error = await assertRejects(
      () => start(dir.file("p.sock"), AbortSignal.abort(reason)),
      Error,
    );
    assertStrictEquals(error, reason);
    assertEquals(dir.list(), []);
    const abstract = `\0uds-aborted-${Deno.pid}`;
    const same = await assertRejects(() => start(abstract, AbortSignal.abort(reason)), Error);
    assertStrictEquals(same, reason);
  });

  test(`${name}() rejects or ends when its signal aborts while it starts, at whatever step`, async () => {
    await using dir = new TempDir();
    const path = dir.file("w.sock");
    const reason = new Error("not now");
    let rejected = 0;
    let ended = 0;
    for (let step = 0; step < 40; step++) {
      const abort = new AbortController();
      const starting = start(path, abort.signal);
      starting.catch(() => {});
      // All of its steps are microtasks, where nobody has the path.
      for (let i = 0; i < step; i++) await Promise.resolve();
      abort.abort(reason);
      let wait;
      try {
        wait = await starting;
      } catch (error) {
        assertStrictEquals(error, reason, `after ${step} microtasks`);
        rejected++;
        assertEquals(dir.list(), []);
        continue;
      }
      await within(2000, wait());
      ended++;
      assertEquals(dir.list(), []);
    }
    // Both happened: the steps reach from the call to a server that is ready.
    assert(rejected > 0 && ended > 0, `${rejected} rejected, ${ended} ended`);
  });
}

// ---- Keeping the process alive --------------------------------------------------------------------

for (const how of ["serve", "listen"]) {
  test(`${how}() lets the process end after unref()`, async () => {
    await using dir = new TempDir();
    const path = dir.file("u.sock");
    const flags = permissionFlags(permissions("serve", path));
    await using program = fixture("server_ref.ts", flags, [path, how, "unref"]);
    assertEquals(await program.output(), ["listening"]);
    assertEquals(await program.status.then(({ code, signal }) => [code, signal]), [0, null]);
  });

  test(`${how}() keeps the process alive after ref()`, async () => {
    await using dir = new TempDir();
    const path = dir.file("k.sock");
    const flags = permissionFlags(permissions("serve", path));
    await using program = fixture("server_ref.ts", flags, [path, how, "ref"]);
    assertEquals(await program.line(), "listening");
    assertEquals(await program.line(), "still there");
    (await connect(path)).close();
  });
}

// ---- The handler's connection ---------------------------------------------------------------------

test("serve() flushes what a handler wrote without waiting, and then closes", async () => {
  await using dir = new TempDir();
  const path = dir.file("h.sock");
  const data = pseudoRandom(1 << 20, 7);
  let kept: Connection | undefined;
  await using _server = await serve(path, (conn) => {
    kept = conn;
    for (let i = 0; i < 4; i++) conn.write(data.subarray(i << 18, (i + 1) << 18));
    return Promise.resolve();
  });
  const client = await connect(path);
  assertEquals(await readAll(client), data);
  await kept?.closed;
  assertEquals([kept?.bytesWritten, client.bytesRead], [1 << 20, 1 << 20]);
  client.close();
});

for (const isClosed of [true, false]) {
  const end = isClosed ? ", its end" : "";
  test(`serve() flushes what a handler gave its writable without waiting${end}, and then closes`, async () => {
    await using dir = new TempDir();
    const path = dir.file("w.sock");
    await using _server = await serve(path, (conn) => {
      const writer = conn.writable.getWriter();
      // More than the kernel holds, and chunks that the stream hands over only after that.
      writer.write(new Uint8Array(1024 * 1024));
      for (const text of ["one", "two", "three"]) writer.write(encode(text));
      if (isClosed) writer.close();
      return Promise.resolve();
    });
    using client = await connect(path);
    const bytes = await readAll(client);
    assertEquals(decode(bytes.subarray(1024 * 1024)), "onetwothree");
  });
}

test("serve() flushes what a handler wrote before it failed", async () => {
  await using dir = new TempDir();
  const path = dir.file("j.sock");
  await using _server = await serve({ path, onError: () => {} }, (conn) => {
    conn.write(new Uint8Array(1 << 20));
    return Promise.reject(new Error("it failed"));
  });
  assertEquals((await fetchText(path)).length, 1 << 20);
});

test("serve() takes a handler that returns no promise", async () => {
  await using dir = new TempDir();
  const path = dir.file("v.sock");
  const handler = (conn: Connection) => void conn.write(encode("at once"));
  await using server = await serve(path, handler as never);
  assertEquals(await fetchText(path), "at once");
  assertEquals(await fetchText(path), "at once");
  assertEquals(server.connections, 0);
});

test("serve() takes a handler that has closed its connection", async () => {
  await using dir = new TempDir();
  const path = dir.file("d.sock");
  const told: unknown[] = [];
  await using server = await serve(
    { path, onError: (error) => void told.push(error) },
    (conn) => Promise.resolve(conn.close()),
  );
  assertEquals(await fetchText(path), "");
  await server.shutdown();
  assertEquals(told, []);
});

// ---- Addresses ------------------------------------------------------------------------------------

test("serve() on an abstract name serves 20 clients at once", async () => {
  const name = `\0uds-server-test-${Deno.pid}`;
  const all = gate();
  let handled = 0;
  const server = await serve(name, async (conn) => {
    if (++handled === 20) all.open();
    await all.opened;
    await conn.write(encode(conn.localAddr.path === name ? "served" : "where am I?"));
  });
  assertEquals(server.addr, { transport: "unix", path: name });
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(name)));
  assertEquals(await Promise.all(clients.map(readText)), clients.map(() => "served"));
  assertEquals(clients[0]?.remoteAddr, { transport: "unix", path: name });
  for (const conn of clients) conn.close();
  assertEquals((await server.shutdown()).aborted, 0);
  // The name is free again.
  await (await serve(name, async () => {})).shutdown();
});

test("serve() published by rename is known by its public path alone", async () => {
  await using dir = new TempDir();
  const path = dir.file("q.sock");
  const seen: UnixAddr[] = [];
  const server = await serve({ path, publish: "rename" }, async (conn) => {
    seen.push(conn.localAddr, conn.remoteAddr);
    await conn.write(encode("served"));
  });
  assertEquals(dir.list(), ["q.sock", "q.sock.lock"]);
  assertEquals(Deno.lstatSync(path).mode! & 0o777, 0o600);
  assertEquals(server.addr, { transport: "unix", path });
  const client = await connect(path);
  assertEquals(await readText(client), "served");
  assertEquals([client.localAddr, client.remoteAddr], [
    { transport: "unix", path: null },
    { transport: "unix", path },
  ]);
  assertEquals(seen, [{ transport: "unix", path }, { transport: "unix", path: null }]);
  client.close();
  await server.shutdown();
  assertEquals(dir.list(), []);
});

// ---- listen() -------------------------------------------------------------------------------------

test("accept() serves those who wait in the order in which they asked", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  await using listener = await listen(path);
  const waiting = Array.from({ length: 5 }, () => listener.accept());
  for (const [i, accepting] of waiting.entries()) {
    const client = await connect(path);
    await client.write(encode(`client ${i}`));
    using conn = await accepting;
    assertEquals(await readText(conn), `client ${i}`);
    client.close();
  }
});

test("A listener's for await gives every connection, and ends when it is closed", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const listener = await listen(path);
  const served = (async () => {
    let count = 0;
    for await (const conn of listener) {
      await conn.write(encode(`${++count}`));
      conn.close();
    }
    return count;
  })();
  for (let i = 1; i <= 3; i++) assertEquals(await fetchText(path), `${i}`);
  await listener.close();
  assertEquals(await served, 3);
  assertEquals(dir.list(), []);
});

test("A listener goes on after a for await that was left", async () => {
  await using dir = new TempDir();
  const path = dir.file("b.sock");
  await using listener = await listen(path);
  const [first] = await Promise.all([
    (async () => {
      for await (const conn of listener) return conn;
    })(),
    connect(path).then((conn) => conn.close()),
  ]);
  first?.close();
  const [second, client] = await Promise.all([listener.accept(), connect(path)]);
  second.close();
  client.close();
});

test("accept() of a closed listener rejects with BadResource", async () => {
  await using dir = new TempDir();
  const path = dir.file("c.sock");
  const listener = await listen(path);
  await listener.close();
  const error = await assertRejects(() => listener.accept(), Deno.errors.BadResource);
  assertEquals(
    error.message,
    `Cannot accept on ${JSON.stringify(path)}: the listener was closed`,
  );
  assertEquals(fieldsOf(error), ["BadResource", "accept", path, undefined]);
  assert(error.cause instanceof Deno.errors.BadResource);
});

test("close() of a listener rejects every accept that waits, and is idempotent", async () => {
  await using dir = new TempDir();
  const path = dir.file("d.sock");
  const listener = await listen(path);
  const waiting = Array.from({ length: 3 }, () => listener.accept());
  const closing = listener.close();
  for (const accepting of waiting) {
    const error = await assertRejects(() => accepting, Deno.errors.BadResource, "was closed");
    assertEquals(fieldsOf(error), ["BadResource", "accept", path, undefined]);
  }
  await closing;
  await listener.close();
  await listener[Symbol.asyncDispose]();
  assertEquals(dir.list(), []);
});

test("close() of a listener leaves the connections that were accepted", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const listener = await listen(path);
  const [server, client] = await Promise.all([listener.accept(), connect(path)]);
  await listener.close();
  await assertRejects(() => connect(path), SocketNotFound);
  await client.write(encode("still"));
  assertEquals(await readText(server), "still");
  server.close();
  assertEquals(await readText(client), null);
  client.close();
});

test("close() of a listener frees the path for the next one at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("n.sock");
  for (let round = 0; round < 20; round++) {
    const listener = await listen(path);
    const accepting = listener.accept();
    await Promise.all([
      listener.close(),
      assertRejects(() => accepting, Deno.errors.BadResource),
    ]);
    assertEquals(dir.list(), []);
  }
});

test("listen() closes when its signal aborts", async () => {
  await using dir = new TempDir();
  const path = dir.file("g.sock");
  const abort = new AbortController();
  const listener = await listen({ path, signal: abort.signal });
  const accepting = listener.accept();
  abort.abort();
  await assertRejects(() => accepting, Deno.errors.BadResource);
  await listener.close();
  assertEquals(dir.list(), []);
});

// ---- Arguments ------------------------------------------------------------------------------------

const WRONG = [
  ["maxConnections", 0, RangeError],
  ["maxConnections", 1.5, RangeError],
  ["maxConnections", "3", TypeError],
  ["idleTimeout", 0, RangeError],
  ["idleTimeout", 2 ** 31, RangeError],
  ["firstByteTimeout", 0, RangeError],
  ["firstByteTimeout", "3", TypeError],
  ["onListen", true, TypeError],
  ["onError", {}, TypeError],
  ["signal", {}, TypeError],
  ["publish", "link", TypeError],
  ["maxConnection", 1, TypeError],
] as const;

for (const [name, value, error] of WRONG) {
  test(`serve() refuses ${name}: ${JSON.stringify(value)}`, async () => {
    await using dir = new TempDir();
    const options = { path: dir.file("w.sock"), [name]: value };
    await assertRejects(() => serve(options as never, async () => {}), error, name);
    assertEquals(dir.list(), []);
  });
}

test("serve() refuses a handler that is none", async () => {
  await using dir = new TempDir();
  await assertRejects(() => serve(dir.file("w.sock"), {} as never), TypeError, "handler");
  assertEquals(dir.list(), []);
});
