/**
 * # Zero-downtime restart and healing
 */

import { connect, permissionFlags, permissions, serve, SocketInUse } from "@uds/uds";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  denoArgs,
  DIES,
  encode,
  fixture,
  Program,
  readText,
  TempDir,
  test,
  turn,
  within,
} from "../_helpers.ts";
import { lockContent } from "../_lock.ts";

/** Returns the permission flags of a server that publishes by rename. */
function flags(path: string): string[] {
  return permissionFlags(permissions("serve", path, { publish: "rename" }));
}

/** Starts a server that replaces the holder of the path. */
function successor(path: string, options: Record<string, unknown> = {}): Program {
  return fixture("takeover_server.ts", flags(path), [path, JSON.stringify(options)]);
}

/** Starts clients in a loop. */
async function clients(path: string, count: number, minimum: number): Promise<Program> {
  const flags = permissionFlags(permissions("connect", path));
  const args = [path, `${count}`, `${minimum}`];
  const program = fixture("takeover_clients.ts", flags, args, { stdin: "piped" });
  assertEquals(await program.line(), "asking");
  return program;
}

interface Counts {
  answered: number;
  servers: number;
  lost: string[];
  refused: string[];
}

/** Ends the clients and returns their counts. */
async function ended(program: Program): Promise<Counts> {
  await writeLine(program, "end");
  return JSON.parse(await program.line());
}

/** Writes a line to a program. */
async function writeLine(program: Program, line: string): Promise<void> {
  const writer = program.stdin.getWriter();
  await writer.write(encode(`${line}\n`));
  writer.releaseLock();
}

/** Returns the pid, or the name, of the server that answers at a path. */
async function ask(path: string): Promise<string> {
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(encode("pid\n"));
  return `${await readText(conn)}`.split(" ")[0] as string;
}

for (const count of [1, 20]) {
  /**
   * Fault: A server is replaced by fresh processes 20 times
   * How: One client, or 20, that connect in a loop with one request each
   * Then: No refusal, no reset, no lost request
   */
  test(
    `20 replacements by fresh processes lose none of 20,000 connections, ${count} at a time`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      await using stack = new AsyncDisposableStack();
      let server = stack.use(successor(path));
      assertEquals(await server.line(), "ready");
      const replaced: Program[] = [];
      const load = stack.use(await clients(path, count, 20_000));
      for (let i = 0; i < 20; i++) {
        replaced.push(server);
        server = stack.use(successor(path));
        assertEquals(await server.line(), "ready");
      }
      for (const old of replaced) {
        assertEquals(await old.line(), "replaced");
        assertEquals(JSON.parse(await old.line()).errors, []);
        assertEquals((await old.status).code, 0);
      }
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      const { answered, ...counts } = await ended(load);
      console.log(`${answered} connections`);
      assertEquals(counts, { servers: 21, lost: [], refused: [] });
      assert(answered >= 20_000);
    },
    { deadline: 120_000 },
  );
}

/**
 * Fault: Four successors start at once, 200 times
 * How: Four processes, and clients in a loop
 * Then: Each becomes the owner, and one of them stays the owner
 */
test(
  "Four successors at once, 200 rounds: each becomes the owner, and one of them stays the owner",
  async () => {
    const ROUNDS = 200;
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using stack = new AsyncDisposableStack();
    const contenders = await Promise.all(Array.from({ length: 4 }, async () => {
      const program = stack.use(
        fixture("takeover_contender.ts", flags(path), [path], { stdin: "piped" }),
      );
      assertEquals(await program.line(), "ready");
      return program;
    }));
    /** The events of each server. */
    const events = new Map<string, Set<string>>([["started", new Set()], ["replaced", new Set()], [
      "ended",
      new Set(),
    ]]);
    const failures: string[] = [];
    let onEvent = () => {};
    for (const program of contenders) {
      (async () => {
        for (;;) {
          const line = await program.line().catch(() => undefined);
          if (line === undefined) return;
          const [what, id] = line.split(" ") as [string, string];
          const all = events.get(what);
          if (all === undefined || all.has(id)) failures.push(line);
          else all.add(id);
          onEvent();
        }
      })();
    }
    const until = async (what: string, count: number) => {
      while (events.get(what)!.size < count && failures.length === 0) {
        await new Promise<void>((resolve) => onEvent = resolve);
      }
    };
    let load: Program | undefined;
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all(contenders.map((program, i) => writeLine(program, `${round}.${i}`)));
      await until("started", 4 * (round + 1));
      load ??= stack.use(await clients(path, 4, 0));
      // All servers but the last one report that they were replaced.
      await within(5000, until("replaced", 4 * (round + 1) - 1));
      assertEquals(failures, [], `round ${round}`);
      const owner = await ask(path);
      assertEquals([...events.get("started")!].filter((id) => !events.get("replaced")!.has(id)), [
        owner,
      ]);
      assertEquals(owner.split(".")[0], `${round}`);
    }
    await within(20_000, until("ended", 4 * ROUNDS - 1));
    assertEquals(failures, []);
    assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
    const counts = await ended(load as Program);
    console.log(`${4 * ROUNDS} servers, ${counts.answered} connections`);
    assertEquals([counts.lost, counts.refused], [[], []]);
  },
  { deadline: 300_000 },
);

/**
 * Fault: A server is replaced while its process is busy
 * How: 800 other socket pairs in it that never rest
 * Then: The clients in its backlog are served
 */
test(
  "A server that is replaced loses no client while its process is busy with 800 pairs",
  async () => {
    const ROUNDS = 5;
    const CLIENTS = 100;
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const start = (round: number) => {
      const other = dir.file(`other.${round}`);
      const own = flags(path).map((flag) =>
        flag.startsWith("--allow-net") ? `${flag},unix:${other}` : `${flag},${other}`
      );
      return fixture("takeover_busy.ts", own, [path, other, "800"]);
    };
    await using stack = new AsyncDisposableStack();
    let server = stack.use(start(0));
    assertEquals(await server.line(), "ready");
    for (let round = 1; round <= ROUNDS; round++) {
      const waiting = await Promise.all(Array.from({ length: CLIENTS }, () => connect(path)));
      await Promise.all(waiting.map((conn) => conn.write(encode("hello"))));
      const old = server;
      server = stack.use(start(round));
      assertEquals(await server.line(), "ready");
      const answers = await Promise.all(
        waiting.map((conn) => readText(conn).catch((error) => `${error}`)),
      );
      assertEquals(answers.filter((answer) => answer !== "you said hello"), [], `round ${round}`);
      assertEquals(await old.line(), `${CLIENTS}`);
      for (const conn of waiting) conn.close();
      await old.status;
    }
  },
  { deadline: 120_000 },
);

/**
 * Fault: The socket file is removed or moved
 * How: `rm` and `mv`, 16 times, under 50 clients
 * Then: It is bound again within a second, and no connection is dropped
 */
test(
  "A socket that is removed 16 times under 50 clients is bound again 16 times, and drops no connection",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using server = successor(path, { selfHeal: true });
    assertEquals(await server.line(), "ready");
    await using load = await clients(path, 50, 0);
    const gaps: number[] = [];
    for (let i = 0; i < 16; i++) {
      const { ino } = Deno.lstatSync(path);
      const start = performance.now();
      if (i % 2 === 0) Deno.removeSync(path);
      else Deno.renameSync(path, dir.file("elsewhere"));
      assertEquals(await server.line(), "lost nothing true");
      await ask(path);
      gaps.push(Math.round(performance.now() - start));
      assert(Deno.lstatSync(path).ino !== ino);
    }
    const { answered, servers, lost, refused } = await ended(load);
    console.log(`${answered} connections; without the path for at most ${Math.max(...gaps)} ms`);
    assertEquals([servers, lost], [1, []]);
    // The path really was gone for a while.
    assert(refused.length > 0);
    assert(Math.max(...gaps) < 1000, `${gaps}`);
  },
  { deadline: 60_000 },
);

/**
 * Fault: A process keeps the publish lock
 * How: A process with the lock of `<path>.new`
 * Then: The start times out, and names the holder
 */
test("serve() that cannot take the publish lock names its holder", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const file = Deno.openSync(`${path}.lock.new`, { write: true, createNew: true, mode: 0o700 });
  file.writeSync(encode(lockContent(4711)));
  file.lockSync(true);
  const abort = new AbortController();
  const reason = new Error("no longer");
  const starting = serve({ path, publish: "rename", signal: abort.signal }, async () => {});
  abort.abort(reason);
  assertEquals(await assertRejects(() => starting, Error), reason);
  const error = await assertRejects(
    () => serve({ path, publish: "rename" }, async () => {}),
    SocketInUse,
  );
  assertStringIncludes(error.message, "process 4711 has held");
  assertStringIncludes(error.message, "while starting or stopping");
  assertEquals(error.holder, 4711);
  file.close();
  assertEquals(dir.list(), ["a.sock.lock.new"]);
}, { deadline: 15_000 });

// ---- A successor that is killed or fails -------------------------------------------------------

interface Call {
  /** The index of strace's filter that counts it. */
  filter: number;
  name: string;
  when: number;
}

const QUIET = ["-f", "-qq"];

/** Returns strace's filters for the calls of a start: those with a file, and those without. */
function filters(path: string): string[][] {
  const names = [path, `${path}.lock`, `${path}.new`, `${path}.lock.new`];
  return [names.flatMap((name) => ["-P", name]), ["-e", "trace=bind,listen"]];
}

function traced(path: string, strace: string[]): Program {
  const deno = [Deno.execPath(), ...denoArgs("takeover_server.ts", flags(path), [path])];
  return new Program("strace", [...QUIET, ...strace, ...DIES, ...deno]);
}

/** Returns the system calls of a server that takes over the path. */
async function callsOfStart(): Promise<Call[]> {
  const calls: Call[] = [];
  for (const i of [0, 1]) {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const filter = filters(path)[i]!;
    await using old = successor(path);
    assertEquals(await old.line(), "ready");
    const trace = dir.file("trace");
    await using server = traced(path, ["-o", trace, ...filter]);
    assertEquals(await server.line(), "ready");
    server.kill("SIGKILL");
    await server.status;
    // The last step renames the lock. The calls after it belong to the watch.
    const text = Deno.readTextFileSync(trace);
    const end = text.indexOf("\n", text.lastIndexOf(" rename("));
    const counts = new Map<string, number>();
    for (const [, name] of text.slice(0, i === 0 ? end : undefined).matchAll(/^\d+ +(\w+)\(/gm)) {
      const when = (counts.get(name!) ?? 0) + 1;
      counts.set(name!, when);
      calls.push({ filter: i, name: name!, when });
    }
  }
  return calls;
}

/** Injects a fault at each call of a successor's start, one after the other. */
async function injectAtEachCall(
  how: string,
  check: (server: Program, dir: TempDir, call: Call) => Promise<void>,
): Promise<void> {
  const calls = await callsOfStart();
  console.log(
    `${calls.length} calls: ${calls.map(({ name, when }) => `${name} ${when}`).join(", ")}`,
  );
  assert(calls.length > 20);
  assertEquals(calls.filter(({ name }) => name === "rename").length, 2);
  const next = async () => {
    for (let call = calls.shift(); call !== undefined; call = calls.shift()) {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      await using old = successor(path);
      assertEquals(await old.line(), "ready");
      const { filter, name, when } = call;
      const inject = `inject=${name}:${how}:when=${when}`;
      await using server = traced(path, [
        "-o",
        "/dev/null",
        ...filters(path)[filter]!,
        "-e",
        inject,
      ]);
      await check(server, dir, call);
      // Some server answers, and can be replaced.
      const label = `${name} ${when}`;
      const first = await within(3000, ask(path));
      assert(/^\d+$/.test(first), label);
      await using last = successor(path);
      assertEquals(await last.line(), "ready", label);
      assertEquals(await ask(path), `${last.pid}`, label);
      // The old server reports that it was replaced, at the latest by this one.
      assertEquals(
        (await old.line()).split(" ")[0]!.replace("lost", "replaced"),
        "replaced",
        label,
      );
      assertEquals(dir.list().filter((file) => !file.endsWith(".new")), ["a.sock", "a.sock.lock"]);
    }
  };
  await Promise.all([next(), next()]);
}

/**
 * Fault: A successor is killed at any system call of its start
 * How: `strace -e inject=…:signal=SIGKILL` at each call
 * Then: A server answers at the path, and can be replaced
 */
test(
  "A successor that is killed at any system call of its start leaves a server at the path",
  async () => {
    await injectAtEachCall("signal=SIGKILL", async (server) => {
      // strace counts calls per thread, and Deno opens files on several threads. So a call may not
      // occur. Then the successor starts, and is replaced like any other.
      await Promise.race([server.status, server.line().catch(() => server.status)]);
    });
  },
  { deadline: 200_000, needs: ["strace", "setpriv"] },
);

/** How often to look, a millisecond or two apart, whether the old server has its path again. */
const HEALING_LOOKS = 2000;

for (const code of ["EIO", "ENOSPC"]) {
  /**
   * Fault: Any of those calls fails
   * How: `strace -e inject=…:error=…` at each call
   * Then: The same
   */
  test(
    `A successor of which any system call fails with ${code} leaves a server at the path`,
    async () => {
      await injectAtEachCall(`error=${code}`, async (server, dir, { name }) => {
        const event = await Promise.race([
          server.line().catch(() => "failed"),
          server.status.then(() => "failed"),
        ]);
        if (event === "failed") {
          // The error must be one of uds.
          const text = await server.stderr();
          assert(/Cannot serve on/.test(text), `${name}: ${text}`);
          // The old server may hold the publish lock for a moment, to bind its path again.
          const isBusy = () => dir.list().some((file) => file.endsWith(".new"));
          for (let i = 0; i < HEALING_LOOKS && isBusy(); i++) await turn();
          if (name !== "unlink") assertEquals(dir.list(), ["a.sock", "a.sock.lock"], name);
        }
      });
    },
    { deadline: 200_000, needs: ["strace", "setpriv"] },
  );
}
