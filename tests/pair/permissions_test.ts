import { type PairOptions, permissionFlags, permissions } from "@uds/uds";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { denoArgs, fixture, run, test } from "../_helpers.ts";
import { MODULE } from "./_pair.ts";

interface Row {
  name: string;
  command: string | URL;
  options: PairOptions;
  set: Deno.PermissionOptionsObject;
}

/**
 * Arguments of a program that sends hello. It is named by path: a name would need read permission.
 */
const HELLO = { args: ["-c", "printf hello >&3"] };

const ROWS: Row[] = [
  {
    name: "pair() of a program",
    command: "sh",
    options: HELLO,
    set: { run: ["sh"], env: true },
  },
  {
    name: "pair() of a program's path with clearEnv",
    command: "/bin/sh",
    options: { ...HELLO, clearEnv: true },
    set: { run: ["/bin/sh"], env: ["NODE_V8_COVERAGE"] },
  },
  {
    name: "pair() of a module",
    command: MODULE,
    options: {},
    set: { run: [Deno.execPath()], env: ["NODE_V8_COVERAGE"] },
  },
  {
    name: "pair() of a module without clearEnv",
    command: MODULE,
    options: { clearEnv: false },
    set: { run: [Deno.execPath()], env: true },
  },
];

/** Runs a program with the given flags that starts a child. */
async function use({ command, options }: Row, flags: string[]): Promise<string> {
  const args = [command instanceof URL ? command.href : command, JSON.stringify(options)];
  const { stdout, stderr } = await run(
    Deno.execPath(),
    denoArgs("pair_use.ts", flags, args),
  );
  assertEquals(stderr, "");
  return stdout.trimEnd();
}

for (const row of ROWS) {
  const { clearEnv } = row.options;
  const set = permissions("pair", row.command, clearEnv === undefined ? {} : { clearEnv });
  const kinds = Object.keys(row.set) as ("run" | "env")[];

  test(`permissions() of ${row.name} are the fewest possible`, () => {
    assertEquals(set, row.set);
  });

  test(`${row.name} works with exactly its permissions()`, async () => {
    assertEquals(await use(row, permissionFlags(set)), "hello");
  });

  for (const kind of kinds) {
    test(`${row.name} without ${kind} names that flag`, async () => {
      const { [kind]: missing, ...rest } = row.set;
      const refused = JSON.parse(await use(row, permissionFlags(rest)));
      assertEquals(refused.class, "NotCapable");
      assertEquals([refused.operation, refused.path], ["pair", null]);
      const flag = missing === true ? `--allow-${kind}` : `--allow-${kind}=${missing}`;
      const name = row.command instanceof URL ? row.command.href : row.command;
      assertEquals(
        refused.message,
        `Cannot start ${
          JSON.stringify(name)
        }: a Deno permission is missing. Run again with ${flag}`,
      );
    });
  }

  test(`${row.name} without any permission names all flags at once`, async () => {
    const refused = JSON.parse(await use(row, []));
    assertEquals(refused.class, "NotCapable");
    const [, asked] = refused.message.split("Run again with ");
    assertEquals(asked.split(" ").sort(), permissionFlags(row.set).sort());
  });
}

test("pair() with --allow-run for another program names the flag", async () => {
  const refused = JSON.parse(await use(ROWS[0]!, ["--allow-env", "--allow-run=cat"]));
  assertEquals(refused.class, "NotCapable");
  assertStringIncludes(refused.message, "Run again with --allow-run=sh");
});

test("pair() names a permission that is denied", async () => {
  const refused = JSON.parse(await use(ROWS[0]!, ["--allow-env", "--allow-run", "--deny-run=sh"]));
  assertStringIncludes(refused.message, "without the --deny flag");
});

test("pair() with a scoped --allow-run can still be killed", async () => {
  await using parent = fixture("pair_status.ts", ["--allow-run=sh", "--allow-env"], ["exit 4"]);
  assertEquals(JSON.parse(await parent.line()), { success: false, code: 4, signal: null });
});
