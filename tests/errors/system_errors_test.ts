import { connect, listen, serve } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { exitCodeOf } from "../../_cli/exit_codes.ts";
import { changing, denoArgs, encode, Program, readText, run, TempDir, test } from "../_helpers.ts";

/**
 * Failures of the system, injected by strace. Each call's failure is reported in the common shape.
 */

/** The error that a program prints. */
interface Told {
  class: string;
  message: string;
  operation: string;
  path: string | null;
  code?: string;
  cleanupError?: Told;
}

/** A failing call of a start, a connection or an end. */
interface Row {
  call: string;
  errors: string[];
  how?: "listen" | "connect" | "probe";
  options?: Record<string, unknown>;
  /** The end of the path for which the call fails, such as that of the lock. By default any. */
  suffix?: string;
  /** The message after the path, for each error that has a message of its own. */
  says?: Record<string, string>;
  start?: string;
}

const NO_SPACE = "Free some space, or choose a directory on another file system";
const NO_MODE = "Choose a directory on a file system that keeps the mode of a socket";
const RENAMED = { publish: "rename" };

const ROWS: Row[] = [
  {
    call: "bind",
    errors: ["EDQUOT", "EPERM", "EACCES", "EINVAL", "ENFILE"],
    says: {
      EDQUOT: `the disk quota is used up. ${NO_SPACE}`,
      EPERM: "operation not permitted. Choose a directory on a file system that can hold a socket",
      EACCES: "its directory would let this process make a file, but a security policy denies it",
      ENFILE: "the system has too many open files",
    },
  },
  { call: "listen", errors: ["EIO"] },
  {
    call: "chmod",
    errors: ["EPERM", "EINVAL", "EIO", "ESTALE"],
    says: {
      EPERM: `its mode could not be set to 0600: operation not permitted. ${NO_MODE}`,
      EINVAL: `its mode could not be set to 0600: invalid argument. ${NO_MODE}`,
      EIO: "its mode could not be set to 0600: input/output error",
    },
  },
  { call: "chown", errors: ["EPERM", "EINVAL"], options: { uid: 1 } },
  { call: "openat", suffix: ".lock", errors: ["EDQUOT", "ENFILE", "EACCES"] },
  { call: "rename", suffix: ".new", errors: ["EDQUOT"], options: RENAMED },
  { call: "unlink", errors: ["EIO", "ESTALE"], suffix: "", start: "Cannot remove" },
  {
    call: "connect",
    how: "connect",
    errors: ["EPERM", "EACCES", "EIO", "EINVAL"],
    says: {
      EACCES: "its mode 0666 and owner 0:0 would let this process connect, but a security policy",
    },
  },
  { call: "connect", how: "probe", errors: ["EINVAL", "ENETDOWN"] },
];

/** Uses a socket under strace. Returns the error. */
async function use(
  how: string,
  path: string,
  options: object,
  strace: string[],
): Promise<Told> {
  const args = denoArgs("system_error_use.ts", ["-A"], [how, path, JSON.stringify(options)]);
  const { stdout, stderr } = await run("strace", [
    ...[...strace, Deno.execPath(), ...args],
  ]);
  assertEquals(stderr.replace(/^.*strace: Requested path .*\n/gm, ""), "");
  return JSON.parse(stdout);
}

/** Returns the options of strace that make a call fail, if given only for one path. */
function failing(call: string, error: string, path?: string): string[] {
  return [...(path === undefined ? [] : ["-P", path]), ...changing(`${call}:error=${error}`)];
}

for (const row of ROWS) {
  const { call, errors, how = "listen", options = {}, suffix, says = {}, start = "Cannot" } = row;
  const where = suffix === undefined ? "" : ` of <path>${suffix}`;
  test(
    `${how}() reports a failing ${call}${where} in the common shape: ${errors.join()}`,
    async () => {
      await Promise.all(errors.map(async (error) => {
        await using dir = new TempDir();
        const path = dir.file("a.sock");
        await using _server = how === "listen"
          ? undefined
          : await serve({ path, mode: 0o666 }, async () => {});
        const file = suffix === undefined ? undefined : path + suffix;
        const told = await use(how, path, options, failing(call, error, file));
        const fields = [told.operation, told.path, told.code];
        assertEquals(fields, [how, path, error], `${error}: ${JSON.stringify(told)}`);
        assert(told.message.startsWith(`${start} `), told.message);
        assertMatch(told.message, /^Cannot [a-z ]+ "[^"]*a\.sock[^"]*"[a-z ]*: [a-z]/);
        assert(!/os error/.test(told.message), told.message);
        if (says[error] !== undefined) {
          assert(told.message.includes(`"${path}": ${says[error]}`), told.message);
        }
        if (call !== "unlink" && how === "listen") assertEquals(dir.list(), [], error);
      }));
    },
    { needs: ["strace"], root: true, deadline: 20_000 },
  );
}

test(
  "listen() reports why it failed, and also what it could not remove afterwards",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const strace = changing("chmod:error=EPERM", "unlink:error=EIO");
    const { cleanupError, ...told } = await use("listen", path, {}, strace);
    assertEquals([told.class, told.operation, told.code], ["PermissionDenied", "listen", "EPERM"]);
    assertMatch(told.message, /its mode could not be set to 0600/);
    assertEquals([cleanupError?.operation, cleanupError?.code], ["listen", "EIO"]);
    assertMatch(cleanupError!.message, /^Cannot remove ".*" and its lock: input\/output error$/);
  },
  { needs: ["strace"] },
);

test(
  "uds exits with 1 or 6 for a failure of the system, and reports each failure on a line",
  async () => {
    const rows = [
      [["chmod:error=EINVAL"], 1],
      [["bind:error=EDQUOT"], 1],
      [["bind:error=EINVAL"], 1],
      [["chmod:error=EPERM", "unlink:error=EIO"], 6],
    ] as const;
    await Promise.all(rows.map(async ([inject, expected]) => {
      await using dir = new TempDir();
      const path = dir.file("a.sock");
      const { code, stderr } = await run("strace", [
        ...changing(...inject),
        ...[Deno.execPath(), ...denoArgs("./cli.ts", ["-A"], ["echo", path])],
      ]);
      assertEquals(code, expected, stderr);
      const lines = stderr.trim().split("\n");
      assertEquals(lines.length, inject.length, stderr);
      assertMatch(lines[0]!, /^uds: Cannot serve on "/);
      if (lines[1] !== undefined) assertMatch(lines[1], /^uds: Cannot remove "/);
    }));
  },
  { needs: ["strace"], deadline: 20_000 },
);

test("uds exits with 2 for a wrong argument alone", () => {
  assertEquals(exitCodeOf(new TypeError("Invalid socket path")), 2);
  assertEquals(exitCodeOf(new RangeError("Invalid mode")), 2);
  const cause = Object.assign(new TypeError("Invalid argument (os error 22)"), { code: "EINVAL" });
  assertEquals(exitCodeOf(cause), 1);
  assertEquals(
    exitCodeOf(new TypeError("Cannot listen on port 1: invalid argument", { cause })),
    1,
  );
  const shaped = { operation: "serve", path: "/run/a.sock" };
  assertEquals(exitCodeOf(Object.assign(new TypeError("Cannot serve on"), shaped)), 1);
});

test("listen() leaves no socket behind if it cannot look at it after the bind", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  // The third stat of the path: two come before the bind, one after it.
  const strace = ["-P", path, ...changing("statx:error=EIO:when=3")];
  const told = await use("listen", path, {}, strace);
  assertEquals([told.operation, told.code], ["listen", "EIO"]);
  assertEquals(dir.list(), []);
}, { needs: ["strace"] });

// ---- Denied by the system -----------------------------------------------------------------------

for (const [how, call] of [["connect", "connect"], ["listen", "bind"]] as const) {
  test(`${how}() of a denied abstract name names a security policy`, async () => {
    const name = `uds-${crypto.randomUUID()}`;
    const told = await use(how, `@${name}`, {}, failing(call, "EPERM"));
    assertEquals([told.path, told.code], [`\0${name}`, "EPERM"]);
    assertMatch(told.message, /^Cannot [a-z ]+ "[^"]*": a security policy denies it \(such as/);
  }, { needs: ["strace"] });
}

test("connect() names the mode or the directory that denies it", async () => {
  await using dir = new TempDir(0o755);
  const path = dir.file("a.sock");
  await using _listener = await listen({ path, mode: 0o620 });
  const asNobody = (target: string) =>
    run("setpriv", [
      ...["--reuid=65534", "--regid=65534", "--clear-groups"],
      ...[Deno.execPath(), ...denoArgs("system_error_use.ts", ["-A"], ["connect", target, "{}"])],
    ]);
  const byMode = JSON.parse((await asNobody(path)).stdout);
  assertMatch(byMode.message, /its mode 0620 and owner 0:0 do not let this process write/);
  Deno.mkdirSync(dir.file("closed"), { mode: 0o700 });
  const byDirectory = JSON.parse((await asNobody(dir.file("closed/a.sock"))).stdout);
  assertMatch(byDirectory.message, /a directory on the way denies it$/);
}, { root: true, needs: ["setpriv"] });

// ---- Other calls --------------------------------------------------------------------------------

test("serve() goes on when the system has no descriptor left for an accept", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using server = new Program("strace", [
    ...changing("accept4:error=ENFILE:when=1"),
    ...[Deno.execPath(), ...denoArgs("server_until_line.ts", ["-A"], [path])],
  ], { stdin: "piped" });
  assertEquals(await server.line(), "listening");
  {
    await using conn = await connect(path);
    assertEquals(await readText(conn), "\x01");
  }
  const stdin = server.stdin.getWriter();
  await stdin.write(encode("end\n"));
  const { errors, finished } = JSON.parse(await server.line());
  assertEquals([errors[0].code, errors[0].operation, finished], ["ENFILE", "accept", null]);
  await stdin.close();
}, { needs: ["strace"] });

test("socketpair() reports failing calls in the common shape, without a path", async () => {
  const rows = [["bind", "ENFILE"], ["connect", "EMFILE"], ["bind", "EPERM"]] as const;
  await Promise.all(rows.map(async ([call, error]) => {
    const told = await use("socketpair", "", {}, failing(call, error));
    assertEquals([told.operation, told.path, told.code], ["socketpair", null, error]);
    assertMatch(told.message, /^Cannot make a socket pair: [a-z]/);
  }));
}, { needs: ["strace"] });
