import { connect, lengthPrefixed, messages } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { Process } from "../_cli.ts";
import { decode, encode, type Program, test } from "../_helpers.ts";
import { asUser, checked, output, Relay, start, stop, UserDir } from "./_programs.ts";

const NEEDS = ["initdb", "postgres", "psql", "sha256sum"];
const VERSION = ["postgres", "--version"];
const SOCKET = ".s.PGSQL.5432";

/** Makes a database with the superuser `test`, and starts its server. */
async function startPostgres(dir: UserDir): Promise<Program> {
  const data = dir.file("data");
  await output(["initdb", "-D", data, "-A", "trust", "-U", "test", "--no-sync"]);
  const options = ["-c", "listen_addresses=", "-c", "fsync=off"];
  const server = await start(
    ["postgres", "-D", data, "-k", dir.path, ...options],
    dir.file(SOCKET),
    { cwd: "/" },
  );
  // While it starts it answers with an error.
  await psql(dir.path, `until psql -c "select 1" >/dev/null 2>&1; do :; done`);
  return server;
}

function psqlArgs(directory: string): string[] {
  return ["-h", directory, "-U", "test", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtX"];
}

/** Runs `psql` in a shell, for its pipes. Returns what the shell prints. */
async function psql(directory: string, script: string): Promise<string> {
  const command = `psql() { command psql ${psqlArgs(directory).join(" ")} "$@"; }; ${script}`;
  return (await output(["sh", "-c", command], { cwd: "/" })).trim();
}

/** Relays from the directory "relayed", because clients name the directory of a socket. */
async function startRelay(dir: UserDir, way: "relay" | "tap" = "relay"): Promise<Relay> {
  await output(["mkdir", "-m", "700", dir.file("relayed")]);
  return await Relay.run(way, dir.file(`relayed/${SOCKET}`), dir.file(SOCKET));
}

/** How many lines COPY sends: 100 characters and a line end each, so 202 MB. */
const LINES = 2_000_000;
/** As many through a tap, which prints them: 20 MB. */
const TAPPED_LINES = 200_000;
/** The format of a line. */
const LINE = "0123456789abcdef".repeat(5) + "%020.0f";

test("PostgreSQL copies 200 MB into a table and out of it through uds relay", async () => {
  await using dir = new UserDir();
  await using server = await startPostgres(dir);
  const relayed = dir.file("relayed");
  await using relay = await startRelay(dir);
  const file = dir.file("lines");
  await output(["sh", "-c", `seq -f ${LINE} ${LINES} > ${file}`]);
  assertEquals((await Deno.stat(file)).size, 101 * LINES);
  const digest = (await output(["sh", "-c", `sha256sum < ${file}`])).trim();

  await psql(relayed, `psql -c "create unlogged table t (line text)"`);
  await psql(relayed, `psql -c "copy t from stdin" < ${file}`);
  assertEquals(await psql(relayed, `psql -c "select count(*) from t"`), String(LINES));
  assertEquals(await psql(relayed, `psql -c "copy t to stdout" | sha256sum`), digest);
  await relay.end();
  await stop(server, "SIGINT");
  const what = "`COPY` of 202 MB into a table and out of it, compared by checksum";
  await checked("PostgreSQL, `psql`", VERSION, "`uds relay`", what);
}, { needs: NEEDS, deadline: 180_000 });

test("psql copies 20 MB into PostgreSQL and out of it through uds tap", async () => {
  await using dir = new UserDir();
  await using server = await startPostgres(dir);
  const relayed = dir.file("relayed");
  await using tap = await startRelay(dir, "tap");
  await psql(relayed, `psql -c "create unlogged table t (line text)"`);
  const lines = `seq -f ${LINE} ${TAPPED_LINES}`;
  await psql(relayed, `${lines} | psql -c "copy t from stdin"`);
  const copied = await psql(relayed, `psql -c "copy t to stdout" | sha256sum`);
  assertEquals(copied, await psql(relayed, `${lines} | sha256sum`));
  const shown = { "to-target": 0, "to-client": 0 };
  for (const line of (await tap.end()).trimEnd().split("\n")) {
    const { event, direction, text, hex } = JSON.parse(line) as Shown;
    if (event === "data") shown[direction] += hex ? hex.length / 2 : encode(text).length;
  }
  for (const bytes of Object.values(shown)) assert(bytes > 101 * TAPPED_LINES, String(bytes));
  await stop(server, "SIGINT");
  const what = "`COPY` of 20 MB into a table and out of it, compared by checksum, all of it shown";
  await checked("PostgreSQL, `psql`", VERSION, "`uds tap`", what);
}, { needs: NEEDS, deadline: 60_000 });

/** A line of the tap, which has a text or bytes in hexadecimal if the event is "data". */
interface Shown {
  event: string;
  direction: "to-target" | "to-client";
  text: string;
  hex?: string;
}

test("psql cancels a query of PostgreSQL through uds relay", async () => {
  await using dir = new UserDir();
  await using server = await startPostgres(dir);
  await using relay = await startRelay(dir);
  const query = [...psqlArgs(dir.file("relayed")), "-c", "select pg_sleep(600)"];
  await using sleeping = new Process(asUser("psql", ...query), { cwd: "/" });
  const isAsleep = `psql -c "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"`;
  while (await psql(dir.path, isAsleep) !== "1");
  // psql sends the cancellation over a new connection.
  sleeping.kill("SIGINT");
  const { code, stderr } = await sleeping.ended;
  const message = "Cancel request sent\nERROR:  canceling statement due to user request\n";
  assertEquals([code, stderr], [1, message]);
  await relay.end();
  await stop(server, "SIGINT");
  await checked("PostgreSQL, `psql`", VERSION, "`uds relay`", "a query that is canceled by Ctrl-C");
}, { needs: NEEDS, deadline: 60_000 });

test("messages() and lengthPrefixed() query PostgreSQL", async () => {
  await using dir = new UserDir();
  await using server = await startPostgres(dir);
  const startUp = messages(await connect(dir.file(SOCKET)), lengthPrefixed({ adjust: -4 }));
  await startUp.send(encode("\0\x03\0\0user\0test\0database\0postgres\0\0"));
  const typed = lengthPrefixed({ offset: 1, adjust: -4, keepHeader: true });
  await using session = messages(startUp.detach(), typed);
  /** Receives until the server is ready. Returns the types of the messages, and the data rows. */
  const answer = async () => {
    const rows = [];
    for (let types = "";;) {
      const message = await session.receive();
      const type = String.fromCharCode(message![0]!);
      types += type;
      // After the type and the length: the number of columns, and the length of the only one.
      if (type === "D") rows.push(decode(message!.subarray(11)));
      if (type === "Z") return { types, rows };
    }
  };
  // Authentication, parameters, the key for cancellations, ready.
  assertEquals((await answer()).types.replace(/S+/, "S"), "RSKZ");
  await session.send(encode("Q\0\0\0\0select repeat('x', 3) from generate_series(1, 10000)\0"));
  const { types, rows } = await answer();
  assertEquals(types, `T${"D".repeat(10_000)}CZ`);
  assertEquals(rows, Array.from({ length: 10_000 }, () => "xxx"));
  await session.send(encode("Q\0\0\0\0select wrong\0"));
  assertEquals((await answer()).types, "EZ");
  await session.send(encode("X\0\0\0\0"));
  assertEquals(await session.receive(), undefined);
  await stop(server, "SIGINT");
  const what = "start-up, a query of 10,000 rows, an error, the end";
  await checked("PostgreSQL", VERSION, "`messages()` with `lengthPrefixed()`", what);
}, { needs: NEEDS, deadline: 60_000 });
