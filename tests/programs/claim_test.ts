import { claim, connect, json, lines, messages, probe, serve, SocketInUse } from "@uds/uds";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { encode, fixture, IS_ROOT, makeStale, readText, run, TempDir, test } from "../_helpers.ts";
import { checked, output, start, stop, UserDir } from "./_programs.ts";

const REDIS = ["redis-server", "-v"];

test("serve() refuses the path of a running Redis, and reclaims that of a killed one", async () => {
  await using dir = new UserDir();
  const path = dir.file("redis.sock");
  const command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""];
  {
    await using redis = await start(command, path, { cwd: dir.path });
    await assertRejects(() => serve(path, () => Promise.resolve()), SocketInUse);
    await assertRejects(() => claim(path), SocketInUse);
    assertEquals(await output(["redis-cli", "-s", path, "ping"]), "PONG\n");
    await stop(redis, "SIGKILL");
  }
  assertEquals((await probe(path)).state, "stale");
  {
    await using _server = await serve(path, (conn) => conn.write(encode("ours")).then(() => {}));
    await using conn = await connect(path);
    assertEquals(await readText(conn), "ours");
  }
  await using redis = await start(command, path, { cwd: dir.path });
  assertEquals(await output(["redis-cli", "-s", path, "ping"]), "PONG\n");
  await stop(redis);
  const what = "a running server refused, a stale path reclaimed, and served by it again";
  await checked("Redis", REDIS, "`serve()`, `claim()`, `probe()`", what);
}, { needs: ["redis-server", "redis-cli"], deadline: 30_000 });

/** A program that binds a path itself. */
interface Daemon {
  name: string;
  version: string[];
  /** Its command line, in which "PATH" is the path. */
  command: string[];
  publish?: "rename";
  needs?: string[];
  /** Uses it, and asserts that it answers. */
  use(path: string): Promise<void>;
}

/** Runs a client of a daemon, and compares what it prints. */
async function printed([program = "", ...args]: string[], text: string): Promise<void> {
  const { stdout, stderr } = await run(program, args);
  assertEquals(stdout + stderr, text);
}

const DAEMONS: Daemon[] = [
  {
    name: "Redis",
    version: REDIS,
    command: ["redis-server", "--port", "0", "--save", "", "--unixsocket", "PATH"],
    needs: ["redis-cli"],
    use: (path) => printed(["redis-cli", "-s", path, "ping"], "PONG\n"),
  },
  {
    name: "memcached",
    version: ["memcached", "-V"],
    command: ["memcached", ...IS_ROOT ? ["-u", "root"] : [], "-s", "PATH"],
    async use(path) {
      await using conn = await connect(path);
      await conn.write(encode("verbosity 0\r\n"));
      assertEquals(await readText(conn), "OK\r\n");
    },
  },
  {
    name: "OpenSSH, `ssh-agent`",
    version: ["ssh", "-V"],
    command: ["ssh-agent", "-D", "-a", "PATH"],
    needs: ["ssh-add"],
    use: (path) =>
      printed(["env", `SSH_AUTH_SOCK=${path}`, "ssh-add", "-D"], "All identities removed.\n"),
  },
  {
    name: "mpv",
    version: ["mpv", "--version"],
    command: ["mpv", "--no-config", "--idle", "--input-ipc-server=PATH"],
    async use(path) {
      const codec = json<Record<string, unknown>>(lines());
      await using session = messages(await connect(path), codec);
      await session.send({ command: ["get_property", "idle-active"], request_id: 7 });
      let answer = await session.receive();
      // Events may come first.
      while (answer?.event) answer = await session.receive();
      assertEquals(answer, { data: true, request_id: 7, error: "success" });
    },
  },
  {
    // It waits for the lock of the path that it binds. With rename, that is another lock than the
    // claim's.
    name: "tmux",
    version: ["tmux", "-V"],
    command: ["tmux", "-D", "-f", "/dev/null", "-S", "PATH"],
    publish: "rename",
    use: (path) =>
      printed(["tmux", "-S", path, "show-options", "-s", "exit-empty"], "exit-empty off\n"),
  },
];

/** Returns the process in "runs PID". */
function pidIn(line = ""): number {
  assertMatch(line, /^runs \d+$/);
  return Number(line.split(" ")[1]);
}

/** Kills a process at the end of a test, if it is still there. */
function killedAtEnd(pid: number): Disposable & { kill(): void } {
  const kill = () => {
    try {
      Deno.kill(pid, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  };
  return { kill, [Symbol.dispose]: kill };
}

for (const { name, version, command, publish, needs = [], use } of DAEMONS) {
  const way = publish === undefined ? "`claim()`" : `\`claim()\` with \`publish: "${publish}"\``;

  test(
    `claim() protects ${name}: one of two starters, never replaced alive, reclaimed`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("daemon.sock");
      await makeStale(path);
      const starter = () =>
        fixture("claim_program.ts", ["-A"], [path, publish ?? "direct", "660", ...command], {
          stdin: "piped",
        });
      /** Asserts that the path is in use, and its program unharmed. */
      const refused = async (holder: number | undefined) => {
        const error = await assertRejects(() => claim(path), SocketInUse);
        assertEquals(error.holder, holder);
        await assertRejects(() => serve(path, () => Promise.resolve()), SocketInUse);
        await use(path);
      };

      await using first = starter();
      await using second = starter();
      const lines = await Promise.all([first.line(), second.line()]);
      const [owner, other] = lines[0]?.startsWith("runs") ? [first, second] : [second, first];
      const [refusal, runs] = lines.sort();
      using daemon = killedAtEnd(pidIn(runs));
      assertEquals(refusal, `refused, held by ${owner.pid}`);
      assertEquals((await other.status).code, 0);
      assertEquals((await Deno.stat(path)).mode! & 0o777, 0o660);
      await refused(owner.pid);

      // The daemon outlives the process that has claimed the path.
      await stop(owner, "SIGKILL");
      await refused(undefined);
      daemon.kill();
      while ((await probe(path)).state === "alive");
      await using third = starter();
      const [, pid] = /^runs (\d+)$/.exec(await third.line() ?? "")!;
      using _daemon = killedAtEnd(Number(pid));
      await use(path);
      await third.stdin.close();
      assertEquals((await third.status).code, 0);
      assertEquals(dir.list(), []);
      const what =
        "one of two starters gets the path; never replaced alive, reclaimed when killed; mode, removal";
      await checked(name, version, way, what);
    },
    { needs: [command[0]!, ...needs], deadline: 30_000 },
  );
}
