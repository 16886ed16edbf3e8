/** The errors of runtimePath() where its directory is not private to this user. */

import { InsecurePath, runtimePath } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";

/** Sets the two variables until disposal. */
function setVariables(values: Record<"XDG_RUNTIME_DIR" | "TMPDIR", string>): Disposable {
  const before = Object.keys(values).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(values)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const [name, value] of before) {
        if (value === undefined) Deno.env.delete(name);
        else Deno.env.set(name, value);
      }
    },
  };
}

const uid = Deno.uid();
const required = `must be a directory with mode 0700 that belongs to uid ${uid}`;
const elsewhere = "Set XDG_RUNTIME_DIR to a directory of your own";

/**
 * What was prepared, how, and the advice in the error: for `$XDG_RUNTIME_DIR`, and for a directory
 * below `$TMPDIR`.
 */
const ROWS: [what: string, prepare: (path: string) => void, given: string, own: string][] = [
  [
    "belongs to another user",
    (path) => {
      Deno.mkdirSync(path, { mode: 0o700 });
      Deno.chownSync(path, 65534, 65534);
    },
    `it has mode 0700 and belongs to uid 65534, and it ${required}. ${elsewhere}, or unset it`,
    `it has mode 0700 and belongs to uid 65534, and it ${required}. ${elsewhere}`,
  ],
  [
    "is open to others",
    (path) => {
      Deno.mkdirSync(path);
      Deno.chmodSync(path, 0o755);
    },
    `it has mode 0755 and belongs to uid ${uid}, and it ${required}. Close it with "chmod 700", or ` +
    `set XDG_RUNTIME_DIR to a directory of your own, or unset it`,
    `it has mode 0755 and belongs to uid ${uid}, and it ${required}. Close it with "chmod 700", or ` +
    `set XDG_RUNTIME_DIR to a directory of your own`,
  ],
  [
    "is a symbolic link",
    (path) => Deno.symlinkSync("/", path),
    `it is a symbolic link, and it ${required}. ${elsewhere}, or unset it`,
    `it is a symbolic link, and it ${required}. ${elsewhere}`,
  ],
];

for (const [what, prepare, given, own] of ROWS) {
  test(`runtimePath() never advises to remove a directory that ${what}`, async () => {
    await using dir = new TempDir();
    for (const [name, said] of [["run", given], [`uds-${uid}`, own]] as const) {
      const path = dir.file(name);
      prepare(path);
      const XDG_RUNTIME_DIR = name === "run" ? path : "";
      using _variables = setVariables({ XDG_RUNTIME_DIR, TMPDIR: dir.path });
      const error = await assertRejects(() => runtimePath("app"), InsecurePath);
      assertEquals(error.message, `Cannot use the runtime directory "${path}": ${said}`);
      assertEquals([error.operation, error.path], ["runtimePath", path]);
    }
  }, { root: what === "belongs to another user" });
}

test("runtimePath() names the variable that leads to a directory that does not exist", async () => {
  await using dir = new TempDir();
  const missing = dir.file("missing");
  for (
    const [variables, path, said] of [
      [
        { XDG_RUNTIME_DIR: missing, TMPDIR: "" },
        missing,
        "it does not exist. Set XDG_RUNTIME_DIR to a directory that does, or unset it",
      ],
      [
        { XDG_RUNTIME_DIR: "", TMPDIR: missing },
        `${missing}/uds-${uid}`,
        "its parent directory does not exist. Set TMPDIR to one that does, or unset it",
      ],
    ] as const
  ) {
    using _variables = setVariables(variables);
    const error = await assertRejects(() => runtimePath("app"), Deno.errors.NotFound);
    assertEquals(error.message, `Cannot use the runtime directory "${path}": ${said}`);
  }
});

test("runtimePath() of a path that is too long does not recommend itself", async () => {
  await using dir = new TempDir();
  const long = dir.file("l".repeat(100));
  using _variables = setVariables({ XDG_RUNTIME_DIR: long, TMPDIR: "" });
  const path = `${long}/app.sock`;
  const { message } = await assertRejects(() => runtimePath("app"), RangeError);
  const limit = Deno.build.os === "linux" ? 107 : 103;
  assertEquals(
    message,
    `Invalid socket path "${path}": it has ${path.length} bytes when absolute, and the system allows ` +
      `at most ${limit}. Set XDG_RUNTIME_DIR to a shorter directory, or choose a shorter name`,
  );
});
