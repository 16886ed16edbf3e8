import { claim, InsecurePath } from "@uds/uds";
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { dirname } from "@std/path/posix";
import { TempDir, test } from "../_helpers.ts";
import { asNobody, assertRefused, modeOf, operationOf, OWNERS } from "./_claim.ts";

const NOBODY = 65534;

test("createDirectory makes missing directories with mode 0700, and leaves existing ones", async () => {
  await using dir = new TempDir(0o755);
  for (const [name, own] of Object.entries(OWNERS)) {
    const path = dir.file(`${operationOf(name)}/below/a.sock`);
    await using _owned = await own(path, { createDirectory: true, verifyDirectory: true });
    assertEquals(modeOf(dirname(path)), 0o700);
    assertEquals(modeOf(dirname(dirname(path))), 0o700);
  }
  assertEquals(modeOf(dir.path), 0o755);
  {
    await using _owned = await claim(dir.file("a.sock"), { createDirectory: true });
  }
  assertEquals(modeOf(dir.path), 0o755);
});

test("createDirectory refuses a path below a file", async () => {
  await using dir = new TempDir();
  Deno.writeTextFileSync(dir.file("f"), "precious");
  const path = dir.file("f/a.sock");
  const error = await assertRejects(() => claim(path, { createDirectory: true }), Error);
  const { operation, path: named, cause } = error as unknown as Record<string, unknown>;
  assertEquals([operation, named], ["claim", path]);
  assertInstanceOf(cause, Error);
  assertEquals(Deno.readTextFileSync(dir.file("f")), "precious");
});

test("claim() without createDirectory refuses a directory that is missing", async () => {
  await using dir = new TempDir();
  const path = dir.file("missing/a.sock");
  const error = await assertRejects(
    () => claim(path),
    Deno.errors.NotFound,
    "its directory does not exist",
  );
  const { operation, path: named, code } = error as unknown as Record<string, unknown>;
  assertEquals([operation, named, code], ["claim", path, "ENOENT"]);
  assertEquals(dir.list(), []);
});

for (const mode of [0o700, 0o755, 0o1777, 0o1770]) {
  test(`verifyDirectory accepts a directory with mode 0${mode.toString(8)}`, async () => {
    await using dir = new TempDir(mode);
    for (const own of Object.values(OWNERS)) {
      await using _owned = await own(dir.file("a.sock"), { verifyDirectory: true });
    }
    assertEquals(dir.list(), []);
  });
}

/** Asserts that `verifyDirectory` refuses a directory, in each of the ways to own a path. */
async function assertUnsafe(directory: string, says: string): Promise<void> {
  for (const [name, own] of Object.entries(OWNERS)) {
    await assertRefused(() => own(`${directory}/a.sock`, { verifyDirectory: true }), {
      is: InsecurePath,
      says: `its directory "${directory}" is not safe: ${says}`,
      operation: operationOf(name),
      path: directory,
      code: "EPERM",
    });
  }
  assertEquals([...Deno.readDirSync(directory)], []);
}

for (const mode of [0o777, 0o770, 0o707]) {
  test(`verifyDirectory refuses a directory with mode 0${mode.toString(8)}`, async () => {
    await using dir = new TempDir(mode);
    await assertUnsafe(dir.path, `others may write to it (mode 0${mode.toString(8)}, no sticky`);
  });
}

test("verifyDirectory refuses a symbolic link to a directory", async () => {
  await using dir = new TempDir();
  Deno.mkdirSync(dir.file("real"), { mode: 0o700 });
  Deno.symlinkSync(dir.file("real"), dir.file("link"));
  await assertUnsafe(dir.file("link"), "it is a symbolic link");
});

test("verifyDirectory refuses a directory of another user", async () => {
  await using dir = new TempDir();
  Deno.mkdirSync(dir.file("theirs"), { mode: 0o700 });
  Deno.chownSync(dir.file("theirs"), NOBODY, NOBODY);
  await assertUnsafe(dir.file("theirs"), `it belongs to uid ${NOBODY}`);
}, { root: true });

test("verifyDirectory accepts a sticky directory of root's", async () => {
  await using dir = new TempDir(0o1777);
  assertEquals(await asNobody("listen()", dir.file("a.sock"), "verify"), { name: "none" });
  assertEquals(dir.list(), []);
}, { root: true });
