import { connect, lengthPrefixed, messages } from "@uds/uds";
import { assertEquals, assertMatch } from "@std/assert";
import { decode, type Program, test } from "../_helpers.ts";
import { checked, output, Relay, start, stop, UserDir } from "./_programs.ts";

const NEEDS = ["mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump", "sha256sum"];
const VERSION = ["mariadbd", "--version"];

/** Makes a database, and starts its server at "db.sock". Its user "root" has no password. */
async function startMariadb(dir: UserDir): Promise<Program> {
  const data = dir.file("data");
  const files = ["--no-defaults", `--datadir=${data}`, `--tmpdir=${dir.path}`];
  const normal = "--auth-root-authentication-method=normal";
  await output(["mariadb-install-db", ...files, normal, "--skip-test-db"], { cwd: "/" });
  const path = dir.file("db.sock");
  const options = [`--socket=${path}`, "--skip-networking", `--pid-file=${dir.file("pid")}`];
  return await start(["mariadbd", ...files, ...options], path, { cwd: "/" });
}

/** The arguments of clients. */
function at(path: string): string {
  return `--no-defaults --socket=${path} --user=root`;
}

test("MariaDB loads 60 MB and dumps them through uds relay", async () => {
  await using dir = new UserDir();
  await using server = await startMariadb(dir);
  const [path, relayed] = [dir.file("db.sock"), dir.file("relayed.sock")];
  await using relay = await Relay.start(relayed, path);
  const file = dir.file("lines");
  const line = "0123456789abcdef".repeat(5) + "%020.0f";
  await output(["sh", "-c", `seq -f ${line} 600000 > ${file}`]);
  const digest = await output(["sh", "-c", `sha256sum < ${file}`]);
  const query = (sql: string) =>
    output(["sh", "-c", `mariadb ${at(relayed)} --local-infile -N -B --quick -e "${sql}"`]);
  await query("create database d; create table d.t (line char(100) character set ascii)");
  await query(`load data local infile '${file}' into table d.t`);
  assertEquals(await query("select count(*) from d.t"), "600000\n");
  const select = `mariadb ${at(relayed)} -N -B --quick -e "select line from d.t"`;
  assertEquals(await output(["sh", "-c", `${select} | sha256sum`]), digest);
  const dump = `mariadb-dump ${at(relayed)} d t | grep -o "[0-9a-f]\\{100\\}" | sha256sum`;
  assertEquals(await output(["sh", "-c", dump]), digest);
  await relay.end();
  await stop(server);
  const what = "`LOAD DATA` of 60 MB, a query and a dump of them, compared by checksum";
  await checked("MariaDB, `mariadb`, `mariadb-dump`", VERSION, "`uds relay`", what);
}, { needs: NEEDS, deadline: 120_000 });

test("messages() and lengthPrefixed() log in to MariaDB, and query it", async () => {
  await using dir = new UserDir();
  await using server = await startMariadb(dir);
  // Each packet has three bytes of its length, and its number.
  const packets = lengthPrefixed({ prefix: 3, littleEndian: true, adjust: 1 });
  await using session = messages(await connect(dir.file("db.sock")), packets);
  /** Receives a packet without its number. */
  const receive = async () => (await session.receive())!.subarray(1);
  // Protocol 10, and the version.
  assertMatch(decode((await receive()).subarray(1)), /^[\d.-]+MariaDB/);
  // Capabilities (4.1, secure), the largest packet, UTF-8, 23 bytes; user and empty password.
  const login = new Uint8Array(1 + 32 + 6);
  login[0] = 1;
  new DataView(login.buffer).setUint32(1, 0x8200, true);
  new DataView(login.buffer).setUint32(5, 1 << 24, true);
  login[9] = 33;
  login.set(new TextEncoder().encode("root\0\0"), 33);
  await session.send(login);
  assertEquals((await receive())[0], 0);
  const query = "select repeat('x', 5) from mysql.seq_1_to_10000";
  await session.send(new TextEncoder().encode(`\0\x03${query}`));
  assertEquals([...await receive()], [1]);
  // The column, and the end of columns. Rows follow, and their end, which begins with 0xfe.
  await receive();
  assertEquals((await receive())[0], 0xfe);
  for (let i = 0; i < 10_000; i++) assertEquals(decode(await receive()), "\x05xxxxx");
  assertEquals((await receive())[0], 0xfe);
  // COM_QUIT
  await session.send(new Uint8Array([0, 1]));
  assertEquals(await session.receive(), undefined);
  await stop(server);
  const what = "greeting, login, a query of 10,000 rows, the end";
  await checked("MariaDB", VERSION, "`messages()` with `lengthPrefixed()`", what);
}, { needs: NEEDS, deadline: 60_000 });
