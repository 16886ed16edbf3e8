import { connect, serve } from "@uds/uds";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { fixture, readText, TempDir, test } from "../_helpers.ts";
import {
  BAD_CALLS,
  BAD_PATHS,
  outcome,
  PATH_TAKERS,
} from "../fixtures/permission_bad_arguments.ts";

for (const { name, value, error, says } of BAD_PATHS) {
  test(`every function that takes a path refuses ${name} with a ${error}`, async () => {
    const refused = Object.keys(PATH_TAKERS).map((taker) => [taker, error]);
    const outcomes = [];
    for (const [taker, take] of Object.entries(PATH_TAKERS)) {
      const [kind, message] = await outcome(() => take(value as never));
      outcomes.push([taker, kind]);
      // Where options are accepted too, any other value is refused as options.
      const direct = taker.endsWith("(path)") && !/^(resolve|probe|claim)/.test(taker);
      if (!direct || typeof value === "string" || value instanceof URL) {
        assertStringIncludes(message, says, taker);
      }
    }
    assertEquals(outcomes, refused);
  });
}

for (const { name, call, error, says } of BAD_CALLS) {
  test(`${name} is refused with a ${error}`, async () => {
    await using dir = new TempDir();
    const [kind, message] = await outcome(() => call(dir.file("x.sock")));
    assertEquals(kind, error, message);
    assertStringIncludes(message, says);
    assertEquals(dir.list(), []);
  });
}

/** Returns the names of the calls in the table that did not end as expected. */
function unexpected(outcomes: Record<string, string>): string[] {
  const expected = [
    ...BAD_PATHS.flatMap(({ name, error }) =>
      Object.keys(PATH_TAKERS).map((taker) => [`${taker}: ${name}`, error] as const)
    ),
    ...BAD_CALLS.map(({ name, error }) => [name, error] as const),
  ];
  return expected.filter(([name, error]) => outcomes[name] !== error)
    .map(([name, error]) => `${name}: ${outcomes[name]}, not ${error}`);
}

test("bad arguments are refused before any permission is asked for", async () => {
  await using dir = new TempDir();
  await using program = fixture("permission_bad_arguments.ts", [], [], { cwd: dir.path });
  const { outcomes, control } = JSON.parse(await program.line());
  assertEquals(unexpected(outcomes), []);
  assertEquals(control, "NotCapable undefined");
});

test("bad arguments leave nothing in the working directory, whatever is granted", async () => {
  await using dir = new TempDir();
  await using program = fixture("permission_bad_arguments.ts", ["-A"], [], { cwd: dir.path });
  const { outcomes, control } = JSON.parse(await program.line());
  assertEquals(unexpected(outcomes), []);
  assertEquals(control, "SocketNotFound ENOENT");
  assertEquals(dir.list(), []);
});

for (
  const [timeout, error] of [
    [-1, "RangeError"],
    [0.5, "RangeError"],
    [NaN, "RangeError"],
    [2 ** 31, "RangeError"],
    ["5", "TypeError"],
    [null, "TypeError"],
  ] as const
) {
  const shown = JSON.stringify(timeout) ?? "";
  const name = Number.isNaN(timeout) ? "NaN" : shown;
  test(`shutdown({ timeout: ${name} }) is refused with a ${error}, and the server goes on`, async () => {
    await using dir = new TempDir();
    await using server = await serve(dir.file("x.sock"), async () => {});
    const [kind, message] = await outcome(() => server.shutdown({ timeout: timeout as never }));
    assertEquals(kind, error);
    assertStringIncludes(message, "Invalid timeout");
    await using conn = await connect(dir.file("x.sock"));
    assertEquals(await readText(conn), null);
  });
}

test("shutdown() refuses options that do not exist, and the server goes on", async () => {
  await using dir = new TempDir();
  await using server = await serve(dir.file("x.sock"), async () => {});
  const [kind, message] = await outcome(() => server.shutdown({ timout: 5 } as never));
  assertEquals(kind, "TypeError");
  assertStringIncludes(message, '"timout" of shutdown()');
  await using conn = await connect(dir.file("x.sock"));
  assertEquals(await readText(conn), null);
});
