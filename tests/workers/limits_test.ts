import { connect } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Process } from "../_cli.ts";
import { denoArgs, fixturePath, Program, readText, TempDir, test } from "../_helpers.ts";

const DESCRIPTORS = 48;
const CLIENTS = 60;

test("a worker without descriptors reports it, and serves all clients later", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const limited = ["sh", "-c", `ulimit -n ${DESCRIPTORS}; exec "$0" "$@"`, Deno.execPath()];
  await using owner = new Process([
    ...limited,
    ...denoArgs("workers_owner.ts", ["-A"], [path, "1"]),
  ]);
  await owner.stdout.until("]");
  let greeted = 0;
  const report = owner.stderr.until("this process has too many open files. Raise its limit");
  const clients = Array.from({ length: CLIENTS }, async () => {
    await using conn = await connect(path);
    await readText(conn);
    greeted++;
    await report;
  });
  await report;
  assertMatch(
    await owner.stderr.text(),
    /Cannot accept on descriptor \d+: this process has too many/,
  );
  assert(greeted < DESCRIPTORS, `${greeted} were greeted with ${DESCRIPTORS} descriptors`);
  await Promise.all(clients);
  assertEquals(greeted, CLIENTS);
}, { deadline: 20_000 });

test("serveWorkers({ fd }) without a descriptor left says so, and serves it later", async () => {
  await using dir = new TempDir();
  const launch = ["python3", fixturePath("fd_launch.py"), dir.path, "a listener", "--"];
  const args = ["-c", 'ulimit -n 64; exec "$0" "$@"', ...launch, Deno.execPath()];
  await using owner = new Program("sh", [...args, ...denoArgs("workers_exhausted.ts", ["-A"])]);
  assertEquals(JSON.parse(await owner.line()), {
    name: "Error",
    message:
      "Cannot serve on descriptor 3: this process has too many open files. Raise its limit " +
      "(ulimit -n)",
    operation: "serve",
    code: "EMFILE",
  });
  assertEquals(await owner.line(), "serving");
}, { needs: ["python3"] });

test("serveWorkers() with few descriptors left starts, or leaves nothing", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const counts = [0, 1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 30];
  const limited = ["-c", 'ulimit -n 128; exec "$0" "$@"', Deno.execPath()];
  const args = [path, ...counts.map(String)];
  await using owner = new Program("sh", [
    ...limited,
    ...denoArgs("workers_starved.ts", ["-A"], args),
  ]);
  const state = "this process has too many open files. Raise its limit (ulimit -n)";
  const module = new URL("../fixtures/workers/pid.ts", import.meta.url);
  let starts = 0;
  for (const count of counts) {
    const { outcome, left } = JSON.parse(await owner.line());
    assertEquals(left, [], `with ${count} descriptors`);
    if (outcome.name === undefined) {
      starts++;
      assertEquals(outcome, { completed: 0, aborted: 0 });
      continue;
    }
    const attempt = outcome.operation === "pair"
      ? `Cannot start "${module}"`
      : `Cannot claim "${path}"`;
    assertEquals([outcome.message, outcome.code], [`${attempt}: ${state}`, "EMFILE"]);
  }
  assert(starts > 0, "no start had enough descriptors");
  assertEquals(await owner.status.then(({ code }) => code), 0);
}, { deadline: 30_000 });
