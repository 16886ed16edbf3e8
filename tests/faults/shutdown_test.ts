/**
 * # Shutdown
 *
 * 200 clients (a C program) connect, ask and close, in a loop. Each round has its own server.
 */

import { permissionFlags, permissions } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { encode, fixture, fixturePath, Program, run, TempDir, test, within } from "../_helpers.ts";

const CLIENTS = 200;
const ROUNDS = 50;

/** The outcomes of the requests, as the clients counted them. */
interface Requests {
  answered: number;
  refused: number;
  /** Sent, but not answered. */
  lost: number;
  odd: number;
  firstOddity: string;
}

/** The report of the server. */
interface Report {
  aborted: number;
  started: number;
  answered: number;
  errors: string[];
}

/** A server with clients at work. */
interface Scene {
  path: string;
  dir: TempDir;
  server: Program;
  /** Resolves when every client was refused. */
  requests: Promise<Requests>;
}

/** Runs the rounds. Each has its own server, which is stopped when the load flows. */
async function play(
  args: (round: number) => string[],
  stop: (scene: Scene, round: number) => Promise<void>,
): Promise<void> {
  await using dir = new TempDir();
  const path = dir.file("l.sock");
  const program = dir.file("load_clients");
  const source = fixturePath("load_clients.c");
  assertEquals((await run("gcc", ["-O2", "-o", program, source])).stderr, "");
  const flags = permissionFlags(permissions("serve", path));
  await using load = new Program(program, [path, `${CLIENTS}`, `${2 * CLIENTS}`], {
    stdin: "piped",
  });
  const go = load.stdin.getWriter();
  for (let round = 0; round < ROUNDS; round++) {
    await using server = fixture("stop_server.ts", flags, [path, ...args(round)]);
    assertEquals(await server.line(), "listening");
    await go.write(encode("go\n"));
    assertEquals(await load.line(), "flow");
    const requests: Promise<Requests> = load.line().then((line) => JSON.parse(line));
    // If another assertion fails first, that one is reported.
    requests.catch(() => {});
    await stop({ path, dir, server, requests }, round);
    const { refused, odd, firstOddity } = await requests;
    assertEquals([refused, odd, firstOddity], [CLIENTS, 0, ""], `round ${round}`);
  }
  await go.close();
}

const NEEDS = { needs: ["gcc"], deadline: 120_000 };

/** How long, in milliseconds, a process may take beyond its deadline. */
const SLACK = 3000;

/**
 * Fault: SIGTERM
 * How: 50 rounds
 * Then: Every request is answered. The process ends by itself, in time. Path and lock are removed
 */
test(`SIGTERM under load: every request is answered, in ${ROUNDS} rounds`, async () => {
  let answers = 0;
  let slowest = 0;
  await play(() => ["0", "5000"], async ({ server, requests, dir }, round) => {
    const start = performance.now();
    server.kill("SIGTERM");
    assertEquals(await server.line(), "stopping");
    const report: Report = JSON.parse(await server.line());
    const { success, code } = await within(5000 + SLACK, server.status);
    slowest = Math.max(slowest, performance.now() - start);
    const { answered, lost } = await requests;
    assertEquals([success, code, lost], [true, 0, 0], `round ${round}`);
    assertEquals([report.started, report.answered, report.aborted, report.errors], [
      answered,
      answered,
      0,
      [],
    ]);
    assertEquals(dir.list(), ["load_clients"]);
    answers += answered;
  });
  console.log(`${answers} requests, 0 lost; the slowest end took ${slowest.toFixed(0)} ms`);
}, NEEDS);

/**
 * Fault: SIGTERM while handlers hang
 * How: 50 rounds, in which each 150th handler never returns
 * Then: The server counts every request that it cuts off, and answers all others. The process ends
 * at the deadline. Path and lock are removed
 */
test(
  `SIGTERM under load with handlers that never return: each cut is counted, in ${ROUNDS} rounds`,
  async () => {
    const timeout = 300;
    let answers = 0;
    let cut = 0;
    let slowest = 0;
    await play(() => ["150", `${timeout}`], async ({ server, requests, dir }, round) => {
      const start = performance.now();
      server.kill("SIGTERM");
      assertEquals(await server.line(), "stopping");
      const report: Report = JSON.parse(await server.line());
      const { code } = await within(timeout + SLACK, server.status);
      slowest = Math.max(slowest, performance.now() - start);
      const { answered, lost } = await requests;
      assertEquals(code, 0, `round ${round}`);
      assertEquals([report.started, report.answered, report.aborted], [
        answered + lost,
        answered,
        lost,
      ]);
      assert(lost > 0);
      assertEquals(report.errors, []);
      assertEquals(dir.list(), ["load_clients"]);
      answers += answered;
      cut += lost;
    });
    console.log(
      `${answers} requests answered, ${cut} cut off and counted; the slowest end took ` +
        `${slowest.toFixed(0)} ms of ${timeout}`,
    );
  },
  NEEDS,
);

/**
 * Fault: A second SIGTERM
 * How: 50 rounds: at once, or when the path has been released
 * Then: The process ends at once. No client hangs. The next start gets the path
 */
test(`A second SIGTERM under load ends the process at once, in ${ROUNDS} rounds`, async () => {
  let answers = 0;
  let cut = 0;
  let slowest = 0;
  await play(() => ["150", "60000"], async ({ server, requests, dir }, round) => {
    server.kill("SIGTERM");
    assertEquals(await server.line(), "stopping");
    // In every other round after the path and the lock were released, else at any step.
    const isLate = round % 2 === 0;
    while (isLate && dir.list().length > 1) await new Promise((resolve) => setTimeout(resolve, 1));
    const start = performance.now();
    server.kill("SIGTERM");
    const { signal } = await within(SLACK, server.status);
    slowest = Math.max(slowest, performance.now() - start);
    assertEquals(signal, "SIGTERM", `round ${round}`);
    const { answered, lost } = await requests;
    // No client hangs, and the next server gets the path despite any leftover.
    if (isLate) assertEquals(dir.list(), ["load_clients"]);
    answers += answered;
    cut += lost;
  });
  console.log(
    `${answers} requests answered, ${cut} cut off; the slowest end took ${slowest.toFixed(0)} ms`,
  );
}, NEEDS);
