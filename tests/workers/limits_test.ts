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
