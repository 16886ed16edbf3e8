/**
 * # Other users
 *
 * The other processes belong to another user.
 */

import {
  connect,
  type Connection,
  InsecurePath,
  isSocketError,
  permissionFlags,
  permissions,
  serve,
  SocketInUse,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import {
  decode,
  denoArgs,
  encode,
  fixture,
  Program,
  readText,
  run,
  TempDir,
  test,
} from "../_helpers.ts";

const NOBODY = 65534;
const AS_NOBODY = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];

// ---- Swaps between check and use
// ------------------------------------------------------------------

/** What root may put in the place of a directory after the check. Another user may not. */
const SWAPS: Record<string, string> = {
  "another directory": 'mkdir -m 0700 "$2"',
  "a symbolic link to another directory": 'mkdir -m 0700 "$2.other"; ln -s "$2.other" "$2"',
};

for (const [what, command] of Object.entries(SWAPS)) {
  for (const publish of ["direct", "rename"]) {
    /**
     * Fault: The directory is swapped for another one, or for a link, between the check and the
     * bind
     * How: `strace` delays the bind, and root renames
     * Then: `InsecurePath`. No file is left in the other directory
     */
    test(
      `verifyDirectory refuses ${what}, swapped in between the check and the bind, publish: "${publish}"`,
      async () => {
        await using dir = new TempDir();
        const directory = dir.file("run");
        Deno.mkdirSync(directory, { mode: 0o700 });
        const path = `${directory}/a.sock`;
        const options = JSON.stringify({ verifyDirectory: true, publish });
        // The bind is delayed by a second, which is enough for the swap.
        const slow = ["-e", "trace=bind", "-e", "inject=bind:delay_enter=1000000"];
        await using owner = new Program("strace", [
          ...["-f", "-qq", "-o", "/dev/null", ...slow],
          ...[Deno.execPath(), ...denoArgs("fault_owner.ts", ["-A"], [path, "listen", options])],
        ]);
        while (!exists(`${path}.lock`)) await new Promise((resolve) => setTimeout(resolve, 5));
        // The check follows the lock immediately. A swap before the check is refused as well.
        await new Promise((resolve) => setTimeout(resolve, 300));
        const swap = `mv "$1" "$1.aside"; ${command.replaceAll("$2", "$1")}`;
        const swapped = await run("sh", ["-c", swap, "sh", directory]);
        assertEquals(swapped, { code: 0, stdout: "", stderr: "" });
        const error = JSON.parse(await owner.line());
        assertEquals([error.name, error.operation, error.path], [
          "InsecurePath",
          "listen",
          directory,
        ]);
        assertStringIncludes(error.message, "is not safe");
        assertEquals((await owner.status).code, 0);
        // The other directory is still empty.
        assertEquals([...Deno.readDirSync(directory)], []);
      },
      { needs: ["strace"], deadline: 20_000 },
    );
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

// ---- Another user who takes the path whenever it is free ----------------------------------------

/** Starts a process of another user that impersonates the server at a path. */
async function startHostile(path: string): Promise<Program> {
  const program = fixture("trust_hostile.ts", ["-A"], [path], { stdin: "piped" });
  assertEquals(await program.line(), "planting");
  return program;
}

/** Returns everything that a server sends. */
async function greeting(conn: Connection): Promise<string> {
  await using _conn = conn;
  return await readText(conn) ?? "";
}

/**
 * Fault: Another user binds the path whenever it is free, while the server restarts 100 times
 * How: A process that binds in a loop, in a sticky directory
 * Then: `connect({ owner })` never connects to it
 */
test(
  "connect() with owner never meets another user who takes the path of a server that restarts",
  async () => {
    await using dir = new TempDir(0o1777);
    const path = dir.file("a.sock");
    await using hostile = await startHostile(path);
    let starts = 0;
    let refusals = 0;
    let ended = false;
    const serving = (async () => {
      while (!ended) {
        try {
          const server = await serve({ path, mode: 0o666, onError() {} }, async (conn) => {
            await conn.write(encode("honest"));
          });
          starts++;
          await new Promise((resolve) => setTimeout(resolve, 5));
          await server.shutdown();
        } catch (error) {
          // The impostor is alive, so the owner of the directory must remove its file.
          assertInstanceOf(error, SocketInUse);
          refusals++;
          if (exists(path)) Deno.removeSync(path);
        }
      }
    })();
    const outcomes: Record<string, number> = {};
    while (starts < 100) {
      let outcome;
      try {
        outcome = await greeting(await connect({ path, owner: 0 }));
      } catch (error) {
        assert(isSocketError(error), `${error}`);
        outcome = error.name;
        // The server runs in this process as well.
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
    ended = true;
    await serving;
    await hostile.stdin.close();
    const { bound, met } = JSON.parse(await hostile.line());
    await hostile.status;
    console.log(
      `${starts} starts, ${refusals} refused; ${bound} times theirs; ` +
        `${JSON.stringify(outcomes)}; ${met} connections reached them and were dropped`,
    );
    assertEquals(outcomes.hostile, undefined);
    assert(outcomes.honest! > 0 && outcomes.InsecurePath! > 0 && bound > 0);
  },
  { root: true, deadline: 60_000 },
);

/**
 * Fault: A live socket of another user is at the path
 * How: A server of that user
 * Then: `SocketInUse` for `serve()`, `InsecurePath` for `connect({ owner })`
 */
test("serve() refuses the live socket of another user, and connect() with owner does", async () => {
  await using dir = new TempDir(0o1777);
  const path = dir.file("a.sock");
  await using hostile = await startHostile(path);
  assertEquals(await greeting(await connect({ path, wait: true, timeout: Infinity })), "hostile");
  const serving = await serve(path, async () => {}).catch((error) => error);
  assertInstanceOf(serving, SocketInUse);
  const connecting = await connect({ path, owner: 0 }).catch((error) => error);
  assertInstanceOf(connecting, InsecurePath);
  assertStringIncludes(connecting.message, "it belongs to uid 65534, and only 0 is trusted");
  using _theirs = await connect({ path, owner: [0, NOBODY] });
  await hostile.stdin.close();
  await hostile.status;
}, { root: true });

/**
 * Fault: A stale socket of another user is at the path
 * How: That server is killed
 * Then: It is replaced by a socket with our owner and mode
 */
test(
  "serve() reclaims a stale socket of another user, and sets its own owner and mode",
  async () => {
    await using dir = new TempDir(0o1777);
    const path = dir.file("a.sock");
    await using hostile = await startHostile(path);
    (await connect({ path, wait: true, timeout: Infinity })).close();
    hostile.kill("SIGKILL");
    await hostile.status;
    assertEquals(Deno.lstatSync(path).uid, NOBODY);
    await using _server = await serve(path, async () => {});
    const { uid, mode } = Deno.lstatSync(path);
    assertEquals([uid, mode! & 0o7777], [0, 0o600]);
  },
  { root: true },
);

// ---- The sockets of common programs -------------------------------------------------------------

/** Runs a client with the least permissions. It sends a question, and prints the first answer. */
async function ask(path: string, question: Uint8Array, owner?: number): Promise<Uint8Array> {
  await using conn = await connect({ path, wait: true, ...(owner !== undefined && { owner }) });
  await conn.write(question);
  const buffer = new Uint8Array(64);
  const count = await conn.read(buffer);
  return buffer.subarray(0, count ?? 0);
}

/**
 * Fault: A false alarm: the defaults refuse a common server
 * How: redis-server with its own settings
 * Then: `connect()` and `uds send` work
 */
test("connect() with its defaults talks to redis-server at its own socket", async () => {
  await using dir = new TempDir();
  const path = dir.file("redis.sock");
  const save = ["--port", "0", "--save", "", "--appendonly", "no", "--dir", dir.path];
  await using server = new Program("redis-server", [...save, "--unixsocket", path]);
  assertEquals(decode(await ask(path, encode("PING\r\n"))), "+PONG\r\n");
  assertEquals(decode(await ask(path, encode("PING\r\n"), Deno.uid()!)), "+PONG\r\n");
  const flags = permissionFlags(permissions("connect", path));
  const sent = await run(
    Deno.execPath(),
    denoArgs("./cli.ts", flags, ["send", path, "PING\r\nQUIT\r\n"]),
  );
  assertEquals(sent, { code: 0, stdout: "+PONG\r\n+OK\r\n", stderr: "" });
  server.kill("SIGTERM");
  await server.status;
}, { needs: ["redis-server"] });

/**
 * Fault: The same
 * How: PostgreSQL in a sticky directory
 * Then: `connect()` works
 */
test("connect() with its defaults talks to PostgreSQL at its own socket", async () => {
  await using dir = new TempDir(0o1777);
  const data = dir.file("data");
  // PostgreSQL refuses to run as root.
  const as = Deno.uid() === 0 ? AS_NOBODY : [];
  const init = ["initdb", "-D", data, "-A", "trust", "-U", "test", "--no-sync"];
  const made = await run("setpriv", [...as, ...init]);
  assertEquals(made.code, 0, made.stderr);
  const quiet = ["-c", "listen_addresses=", "-c", "fsync=off"];
  await using server = new Program("setpriv", [
    ...[...as, "postgres", "-D", data, "-k", dir.path, ...quiet],
  ]);
  const path = dir.file(".s.PGSQL.5432");
  // The start-up message: its length, version 3.0, the user and the database.
  const body = encode("user\0test\0database\0postgres\0\0");
  const message = new Uint8Array(8 + body.length);
  const view = new DataView(message.buffer);
  view.setUint32(0, message.length);
  view.setUint32(4, 3 << 16);
  message.set(body, 8);
  const owner = Deno.uid() === 0 ? NOBODY : Deno.uid()!;
  for (const given of [undefined, owner]) {
    let answer;
    // While it starts up it answers with an error.
    do answer = decode(await ask(path, message, given)); while (answer[0] === "E");
    // "R": authentication. Type 0 means that it is complete.
    assertEquals(answer.slice(0, 9), "R\0\0\0\x08\0\0\0\0");
  }
  server.kill("SIGINT");
  await server.status;
}, { needs: ["initdb", "postgres", "setpriv"], deadline: 60_000 });
