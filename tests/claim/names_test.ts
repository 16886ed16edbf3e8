// Names that are not plain text: abstract ones with NULs and other bytes, and files that are not
// UTF-8.
import { connect, listen, probe, resolveSocketPath, serve } from "@uds/uds";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { InvalidValue, shownPath, socketPath } from "../../_cli/parse/parameters.ts";
import { quoteAddress } from "../../_internal/base/shown_address.ts";
import { Process, uds, udsCommand } from "../_cli.ts";
import { encode, Program, readText, run, TempDir, test } from "../_helpers.ts";

const LINUX = { needs: Deno.build.os === "linux" ? ["python3"] : ["abstract names"] };

/** Returns a name that is padded with NULs to the end of the address, as HAProxy pads it. */
function padded(): string {
  return `\0uds-${crypto.randomUUID().slice(0, 8)}`.padEnd(108, "\0");
}

test("connect() reaches a program with an abstract name that is padded with NULs", async () => {
  const name = padded();
  const bare = name.replaceAll("\0", "");
  const program = new Program("python3", [
    "-c",
    `
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind(b"\\0${bare}" + b"\\0" * ${107 - bare.length})
listener.listen()
print("ready", flush=True)
while True:
    conn, _ = listener.accept()
    try:
        conn.sendall(b"hello")
    except BrokenPipeError:
        pass  # a probe, which closes at once
    conn.close()
`,
  ]);
  await using _program = program;
  await program.line();
  await using conn = await connect(name);
  assertEquals(await readText(conn), "hello");
  assertEquals(conn.remoteAddr.path, name);
  assertEquals(await probe(name), { state: "alive" });
  const escaped = `@${bare}${"\\0".repeat(107 - bare.length)}`;
  assertEquals((await uds(["connect", escaped])).stdout, "hello");
  const unpadded = await uds(["connect", `@${bare}`]);
  assertEquals(unpadded.code, 4);
  assertStringIncludes(unpadded.stderr, `Cannot connect to "@${bare}": no server listens on it`);
}, LINUX);

test("serve() and listen() keep NULs within an abstract name", async () => {
  const name = `\0uds\0${crypto.randomUUID()}\0`;
  await using listener = await listen(name);
  assertEquals(listener.addr.path, name);
  const error = await assertRejects(() => serve(name, async () => {}), Deno.errors.AddrInUse);
  const shown = name.replaceAll("\0", "\\0").slice(2);
  assertStringIncludes(error.message, `Cannot serve on "@${shown}": it is in use`);
}, LINUX);

test("an abstract name that is too long is refused with its length, and shortened", () => {
  const error = assertThrows(() => resolveSocketPath("\0padded".padEnd(120, "\0")), RangeError);
  assertEquals(
    error.message,
    'Invalid socket path "@padded\\0…": it has 120 bytes, and the system allows at most 108. ' +
      "Choose a shorter name",
  );
}, LINUX);

for (
  const [address, shown] of [
    ["/run/a b.sock", '"/run/a b.sock"'],
    ["\0name", '"@name"'],
    ["\0padded\0", '"@padded\\0"'],
    ["\0padded\0\0\0", '"@padded\\0…"'],
    ["\0a\0b\\\x1b", '"@a\\0b\\\\\\x1b"'],
  ] as const
) {
  test(`quoteAddress() shows ${shown}`, () => assertEquals(quoteAddress(address), shown));
}

test("quoteAddress() takes linear time for many NULs, as a wrong argument may have them", () => {
  // At each NUL, a regular expression would look at all NULs behind it.
  const nuls = "\0".repeat(1_000_000);
  assertEquals(quoteAddress(`${nuls}a`).length, 2 * nuls.length + 2);
});

for (
  const [written, name] of [
    ["@name", "\0name"],
    ["@padded\\0\\0", "\0padded\0\0"],
    ["@\\x41\\xC3\\xa9", "\0Aé"],
    ["@a\\\\b", "\0a\\b"],
    ["@\\x00x", "\0\0x"],
    ["@\\xef\\xbb\\xbfx", "\0\ufeffx"],
    ["./@name\\0", "./@name\\0"],
  ] as const
) {
  test(`the command line takes ${written} for ${JSON.stringify(name)}`, () => {
    assertEquals(socketPath(written), name);
    assertEquals(socketPath(shownPath(name)), name);
  });
}

for (
  const [written, says] of [
    ["@a\\q", "must be @name, where a backslash begins \\0, \\xNN or \\\\"],
    ["@a\\", "must be @name, where a backslash begins \\0, \\xNN or \\\\"],
    ["@a\\x4", "must be @name, where a backslash begins \\0, \\xNN or \\\\"],
    ["@name\\xff", "must be an abstract name in UTF-8, because Deno cannot name others"],
    ["@name\ufffd", "must be UTF-8"],
    ["caf\ufffd.sock", "must be UTF-8"],
  ] as const
) {
  test(`the command line refuses ${written}`, () => {
    assertStringIncludes(assertThrows(() => socketPath(written), InvalidValue).message, says);
  });
}

test(
  "uds echo listens on an abstract name with NULs, shows it short, and in JSON as it is written",
  async () => {
    const written = `@uds-${crypto.randomUUID().slice(0, 8)}\\0\\0\\0`;
    for (const flags of [[], ["--json"]]) {
      await using echo = new Process(udsCommand(["echo", ...flags, written]));
      await echo.stderr.until("\n");
      const expected = flags.length > 0
        ? JSON.stringify({ event: "listening", path: written })
        : `listening on ${written.replace("\\0\\0\\0", "\\0…")}`;
      assertEquals(await echo.stderr.text(), `${expected}\n`);
      await using conn = await connect(socketPath(written));
      await conn.write(encode("x"));
      assertEquals(await conn.read(new Uint8Array(1)), 1);
      // An open connection would delay the end by five seconds.
      conn.close();
      echo.kill("SIGTERM");
      await echo.ended;
    }
  },
  LINUX,
);

test("a live server that is bound to a name that is not UTF-8 counts as alive", async () => {
  await using dir = new TempDir();
  const path = dir.file("plain.sock");
  const program = new Program("python3", [
    "-c",
    `
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
name = sys.argv[1].encode() + b"\\xff"
listener.bind(name)
listener.listen()
os.rename(name, sys.argv[1])
print("ready", flush=True)
sys.stdin.read()`,
    path,
  ], { stdin: "piped" });
  await using _program = program;
  assertEquals(await program.line(), "ready");
  assertEquals((await probe(path)).state, "alive");
  const refused = await assertRejects(() => serve(path, async () => {}), Deno.errors.AddrInUse);
  assertStringIncludes(refused.message, "Cannot serve on");
  const error = await assertRejects(() => connect(path), Deno.errors.InvalidData);
  assertEquals(
    error.message,
    `Cannot connect to "${path}": its server is bound to a name that is not UTF-8, which Deno refuses. ` +
      `Bind the server to another name`,
  );
  assertEquals((await uds(["ls", "--probe", dir.path])).code, 0);
}, { needs: ["python3"] });

// ---- Files --------------------------------------------------------------------------------------

test("uds reports that Deno cannot name a socket if the name is not UTF-8", async () => {
  await using dir = new TempDir();
  const bind = `
import socket, sys
for name in (b"caf\\xe9.sock", b"dead.sock"):
    socket.socket(socket.AF_UNIX).bind(sys.argv[1].encode() + b"/" + name)`;
  await run("python3", ["-c", bind, dir.path]);

  const listed = await uds(["ls", "--json", dir.path]);
  assertEquals(JSON.parse(listed.stdout).map(({ path }: { path: string }) => path), [
    dir.file("dead.sock"),
  ]);
  assertEquals(listed.code, 1);
  assertEquals(
    JSON.parse(listed.stderr).error.message,
    `Cannot list "${
      dir.file("caf\ufffd.sock")
    }": its name is not UTF-8, and Deno cannot name it. ` +
      `It may be a socket`,
  );
  const [command, ...args] = udsCommand([]);
  const call = `cd "$1"; shift; name=$(printf 'caf\\351.sock'); exec "$@" "$name"`;
  for (const name of ["probe", "rm", "connect", "echo", "serve"]) {
    const line = [command!, ...args, name];
    const { code, stderr } = await run("sh", ["-c", call, "sh", dir.path, ...line]);
    assertEquals([name, code], [name, 2], stderr);
    if (name !== "serve") {
      assertStringIncludes(
        stderr,
        'PATH must be UTF-8, because Deno loses all other bytes, got "caf',
      );
    }
  }
  assertEquals(dir.list().length, 2);
}, { needs: ["python3"] });
