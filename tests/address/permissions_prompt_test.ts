import { connect, permissionFlags } from "@uds/uds";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { decode, denoArgs, Program, readAll, TempDir, test, within } from "../_helpers.ts";
import type { Use } from "../fixtures/permission_use.ts";
import { assertAsksFor, owning, permissionsOf, ROWS, singles } from "./_permissions.ts";

/** Runs a use in a terminal of its own, where Deno would ask. Returns everything that was shown. */
async function inTerminal(use: Use, flags: string[]): Promise<string> {
  const args = denoArgs("permission_use.ts", flags, [JSON.stringify(use)])
    .filter((arg) => arg !== "--no-prompt");
  const command = [Deno.execPath(), ...args].map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`);
  await using script = new Program("script", ["-qec", command.join(" "), "/dev/null"], {
    stdin: "piped",
    env: { NO_COLOR: "1", TERM: "dumb", SHELL: "/bin/sh" },
  });
  const shown: string[] = [];
  // A question has no line end, so read until the program ends or a line is late.
  for (;;) {
    const line = await within(5000, script.line()).catch(() => undefined);
    if (line === undefined) return shown.join("\n");
    shown.push(line.trimEnd());
    if (/Deno requests/.test(line)) {
      script.kill("SIGKILL");
      return shown.join("\n");
    }
  }
}

const SCRIPT = { needs: ["script"] };

test("Deno asks in a terminal when a permission is requested directly", async () => {
  const shown = await inTerminal({ operation: "Deno.connect", path: "/run/uds-absent.sock" }, []);
  assertStringIncludes(shown, "Deno requests");
}, SCRIPT);

// All at once, because each takes a process and most of its time is the start.
test("nothing asks in a terminal without any permission", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await Promise.all(ROWS.map(async (row) => {
    const use = { operation: row.operation, path, options: { ...row.options } };
    const shown = await inTerminal(use, []);
    assertAsksFor(JSON.parse(shown), use, permissionFlags(permissionsOf(row, path)).join(" "));
  }));
}, SCRIPT);

for (const row of ROWS.filter(({ name }) => /^(serve|connect|probe)\(\)$/.test(name))) {
  test(
    `${row.name} does not ask in a terminal for the one permission that is missing`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s.sock");
      await Promise.all(
        singles(row).map(async ([kind, index]) => {
          const needs = row.needs(path);
          const missing = needs[kind]?.splice(index, 1)[0];
          const use = { operation: row.operation, path };
          const shown = await inTerminal(use, permissionFlags(needs));
          assertAsksFor(JSON.parse(shown), use, `--allow-${kind}=${missing}`);
        }),
      );
    },
    SCRIPT,
  );
}

test(
  "claim() with exactly its permissions() does not ask for the umask in a terminal",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const shown = inTerminal({ operation: "claim", path }, permissionFlags(owning(path)));
    await using conn = await connect({ path, wait: true, timeout: Infinity });
    assertEquals(decode(await readAll(conn)), "hello");
    assertEquals(await shown, "ready\ndone");
  },
  SCRIPT,
);
