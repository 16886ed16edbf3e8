import { serve } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { encode, fixture, type Program, TempDir, test } from "../_helpers.ts";

/** Returns exactly the flags that a program needs to own a path. */
function flags(path: string, ...more: string[]): string[] {
  const files = [path, `${path}.lock`, ...more].join();
  return [`--allow-read=${files}`, `--allow-write=${files}`, `--allow-net=unix:${path}`];
}

/** Writes a line to a program. */
async function tell(program: Program, command: string): Promise<void> {
  const writer = program.stdin.getWriter();
  await writer.write(encode(`${command}\n`));
  writer.releaseLock();
}

/** Starts a program that owns the path on command. */
async function contender(path: string, how: "serve" | "listen"): Promise<Program> {
  const program = fixture("race_contender.ts", flags(path), [path, how], { stdin: "piped" });
  assertEquals(await program.line(), "ready");
  return program;
}

/** Returns the greeting of the server at a path, which is its pid. */
async function greetingAt(path: string): Promise<string> {
  const conn = await Deno.connect({ transport: "unix", path });
  return await new Response(conn.readable).text();
}

test("serve() in twelve processes at once: one wins, and the others name it", async () => {
  const COUNT = 12;
  const ROUNDS = 20;
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using stack = new AsyncDisposableStack();
  const start = async () => stack.use(await contender(path, "serve"));
  const contenders = await Promise.all(Array.from({ length: COUNT }, start));

  for (let round = 0; round < ROUNDS; round++) {
    // Every second round begins with what a killed winner left: its socket, and its lock.
    const leftovers = round % 2 === 1;
    assertEquals(dir.list(), leftovers ? ["a.sock", "a.sock.lock"] : []);
    await Promise.all(contenders.map((one) => tell(one, "try")));
    const answers = await Promise.all(contenders.map((one) => one.line()));
    const winners = contenders.filter((_, i) => answers[i]!.startsWith("won"));
    assertEquals(winners.length, 1, `round ${round}: ${answers}`);
    const winner = winners[0]!;
    assertEquals(
      answers.toSorted(),
      [...Array(COUNT - 1).fill(`in use by ${winner.pid}`), `won ${winner.pid}`],
      `round ${round}`,
    );
    assertEquals(await greetingAt(path), `${winner.pid}`);
    if (leftovers) {
      await tell(winner, "stop");
      assertEquals(await winner.line(), "stopped");
    } else {
      const next = start();
      winner.kill("SIGKILL");
      await winner.status;
      contenders[contenders.indexOf(winner)] = await next;
    }
  }
  assertEquals(dir.list(), []);
}, { deadline: 60_000 });

test(
  "listen() and serve() in eight processes, over and over: never two owners at once",
  async () => {
    const COUNT = 8;
    const SECONDS = 20;
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const witness = dir.file("witness");
    await using stack = new AsyncDisposableStack();
    const programs = Array.from(
      { length: COUNT },
      () =>
        stack.use(
          fixture("race_owner_loop.ts", flags(path, witness), [path, witness, `${SECONDS}`]),
        ),
    );
    const results = (await Promise.all(programs.map((program) => program.line())))
      .map((line) => JSON.parse(line));
    for (const program of programs) assertEquals((await program.status).code, 0);

    const refusals = results.reduce((sum, result) => sum + result.refusals, 0);
    const acquisitions = [0, 1, 2].map((way) =>
      results.reduce((sum, result) => sum + result.acquisitions[way], 0)
    );
    const [idle, pending, served] = acquisitions;
    console.log(
      `acquisitions: ${idle} idle, ${pending} with an accept pending, ${served} by serve(); ` +
        `refusals: ${refusals}`,
    );
    assertEquals(results.flatMap((result) => result.violations), []);
    // Every process owned the path, in each of the ways.
    for (const result of results) assert(Math.min(...result.acquisitions) > 0);
    assert(refusals > 0);
    assertEquals(dir.list(), []);
  },
  { deadline: 60_000 },
);

/**
 * Ways for a server to end without a shutdown, each with its exit status and the files it leaves.
 */
const ENDINGS: Record<string, { code: number; signal: Deno.Signal | null; left: string[] }> = {
  // Deno removes the socket then, but not our lock.
  "unref()": { code: 0, signal: null, left: ["a.sock.lock"] },
  "an uncaught error": { code: 1, signal: null, left: ["a.sock.lock"] },
  "Deno.exit()": { code: 0, signal: null, left: ["a.sock", "a.sock.lock"] },
  SIGTERM: { code: 143, signal: "SIGTERM", left: ["a.sock", "a.sock.lock"] },
  SIGKILL: { code: 137, signal: "SIGKILL", left: ["a.sock", "a.sock.lock"] },
};

for (const [how, ending] of Object.entries(ENDINGS)) {
  test(`serve() starts after a server that ended by ${how}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using program = fixture("race_exit.ts", flags(path), [path, how]);
    assertEquals(await program.line(), "ready");
    if (how.startsWith("SIG")) program.kill(how as Deno.Signal);
    const { code, signal } = await program.status;
    assertEquals({ code, signal, left: dir.list() }, ending);
    {
      await using _server = await serve(path, async (conn) => {
        await conn.write(encode("next"));
      });
      assertEquals(await greetingAt(path), "next");
    }
    assertEquals(dir.list(), []);
  });
}

for (
  const [first, second] of [["serve", "serve"], ["serve", "listen"], ["listen", "listen"]] as const
) {
  const what = `${first}() and ${second}() in two processes`;
  test(`${what} hand the path over while the other one waits`, async () => {
    const HANDOVERS = 70;
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using one = await contender(path, first);
    await using two = await contender(path, second);
    let [owner, other] = [one, two];
    await tell(owner, "try");
    assertEquals(await owner.line(), `won ${owner.pid}`);

    for (let handover = 0; handover < HANDOVERS; handover++) {
      await tell(other, "wait");
      assertEquals(await other.line(), "waiting");
      await tell(owner, "stop");
      // It would report it if the late unlink of the other one had removed its file.
      assertEquals(await owner.line(), "stopped");
      let answer = await other.line();
      // On a busy machine the other one may have timed out and tried again.
      while (answer === `in use by ${owner.pid}`) answer = await other.line();
      assertEquals(answer, `won ${other.pid}`);
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      [owner, other] = [other, owner];
    }
    await tell(owner, "stop");
    assertEquals(await owner.line(), "stopped");
    assertEquals(dir.list(), []);
  }, { deadline: 30_000 });
}
