/** Clients that a server admits by their user and groups. */

import { connect, type Connection, listen, serve } from "@uds/uds";
import { allow, type AllowRules } from "@uds/uds/native";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { fieldsOf } from "../server/_server.ts";
import { fixture, fixturePath, Program, TempDir, test } from "../_helpers.ts";
import "./_libc.ts";

interface Outcome {
  readonly served: number;
  readonly errors: readonly Error[];
  readonly path: string;
  readonly pid: string;
}

/** Serves one client, which runs as another user. */
async function serveOne(
  rules: AllowRules,
  client: [uid: number, gid: number, groups: string],
): Promise<Outcome> {
  await using dir = new TempDir(0o755);
  const path = dir.file("app.sock");
  const errors: Error[] = [];
  let served = 0;
  await using _server = await serve({
    path,
    mode: 0o666,
    authorize: allow(rules),
    onError: (error) => errors.push(error as Error),
  }, (conn: Connection) => {
    served++;
    conn.close();
    return Promise.resolve();
  });
  await using program = new Program("python3", [
    fixturePath("native_client.py"),
    ...[path, ...client.map(String), "stay"],
  ]);
  const pid = await program.line();
  await program.status;
  return { served, errors, path, pid };
}

const ADMITTED: [what: string, rules: AllowRules, client: [number, number, string]][] = [
  ["by its user", { uids: [7, 8] }, [7, 7, ""]],
  ["by its group", { gids: 9 }, [7, 9, ""]],
  ["by a supplementary group", { uids: [1], gids: [24] }, [7, 7, "4,24"]],
];
for (const [what, rules, client] of ADMITTED) {
  test(`allow() admits a client ${what}`, async () => {
    const { served, errors } = await serveOne(rules, client);
    assertEquals([served, errors], [1, []]);
  }, { root: true, needs: ["python3"] });
}

test("allow() refuses a client, and the error names it", async () => {
  const { served, errors, path, pid } = await serveOne({ uids: [0, 8], gids: [9] }, [7, 6, "4,5"]);
  assertEquals(served, 0);
  assertEquals(errors.map((error) => error.message), [
    `Cannot authorize a client of "${path}": process ${pid} has uid 7, gid 6, groups 4, 5, and ` +
    "only uid 0, 8 or gid 9 may connect",
  ]);
  assertEquals(errors.map(fieldsOf), [["PermissionDenied", "authorize", path, undefined]]);
  assertEquals(errors[0] instanceof Deno.errors.PermissionDenied, true);
}, { root: true, needs: ["python3"] });

test("allow() does not admit root by itself", async () => {
  const { served, errors } = await serveOne({ uids: [7] }, [0, 0, ""]);
  assertEquals([served, errors.length], [0, 1]);
}, { root: true, needs: ["python3"] });

test("allow() for listen(), and for the server that a client has reached", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using listener = await listen(path);
  using client = await connect(path);
  using server = await listener.accept();
  const own = allow({ uids: Deno.uid()! });
  assertEquals([own(client), own(server)], [true, true]);
  const other = allow({ uids: 12345 });
  assertThrows(
    () => other(client),
    Deno.errors.PermissionDenied,
    `Cannot authorize "${path}": proc`,
  );
});

const WRONG: [rules: unknown, message: string][] = [
  [{}, "Invalid rules of allow(): they admit no client. Give uids or gids"],
  [{ uids: [], gids: [] }, "Invalid rules of allow(): they admit no client. Give uids or gids"],
  [undefined, "Invalid options of allow(): expected an object, got undefined"],
  [{ uids: ["root"] }, 'Invalid uids: expected a number, got "root"'],
  [{ users: [0] }, 'Invalid option "users" of allow(): it has "uids", "gids"'],
];
for (const [rules, message] of WRONG) {
  test(`allow(${JSON.stringify(rules)}) is refused`, () => {
    assertEquals(assertThrows(() => allow(rules as AllowRules), TypeError).message, message);
  });
}

test("allow({ uids: [-1] }) is out of range", () => {
  assertThrows(() => allow({ uids: [-1] }), RangeError, "Invalid uids: expected a whole number");
});

test("without --allow-ffi a server with allow() does not start, and the flag is named", async () => {
  await using program = fixture("native_allow.ts", [
    "--allow-read",
    "--allow-write",
    "--allow-net",
  ]);
  assertEquals((await program.status).code, 1);
  const stderr = await program.stderr();
  assertStringIncludes(
    stderr,
    "NotCapable: Cannot identify clients: a Deno permission is missing. Run again with --allow-ffi=",
  );
});

test("with libc's path alone granted a server with allow() serves", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const flags = ["--allow-read", "--allow-write", "--allow-net"];
  const ffi = "--allow-ffi=/lib/x86_64-linux-gnu/libc.so.6,/lib/aarch64-linux-gnu/libc.so.6";
  await using program = fixture("native_allow.ts", [...flags, ffi], [path]);
  assertEquals(await program.line(), "listening");
  using conn = await connect(path);
  assertEquals(await new Response(conn.readable).text(), "welcome");
});
