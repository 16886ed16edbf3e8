import { InsecurePath } from "@uds/uds";
import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { makeStale, Program, run, TempDir, test } from "../_helpers.ts";
import { lockContent } from "../_lock.ts";
import { asNobody, assertRefused, look, operationOf, OWNERS } from "./_claim.ts";

/** Returns a pid that no process has. */
async function deadPid(): Promise<number> {
  await using program = new Program("true", []);
  await program.status;
  return program.pid;
}

/**
 * Files that may be planted at the path of the lock. Each returns the file that must not change.
 */
const PLANTED: Record<string, (lock: string) => Promise<string> | string> = {
  "a symbolic link to a file": (lock) => {
    Deno.writeTextFileSync(`${lock}.victim`, "precious");
    Deno.symlinkSync(`${lock}.victim`, lock);
    return `${lock}.victim`;
  },
  "a symbolic link to an empty file": (lock) => {
    Deno.writeTextFileSync(`${lock}.victim`, "");
    Deno.symlinkSync(`${lock}.victim`, lock);
    return `${lock}.victim`;
  },
  "a dangling symbolic link": (lock) => {
    Deno.symlinkSync(`${lock}.victim`, lock);
    return lock;
  },
  "a directory": (lock) => {
    Deno.mkdirSync(lock);
    return lock;
  },
  "a fifo": async (lock) => {
    assertEquals((await run("mkfifo", [lock])).code, 0);
    return lock;
  },
  "a socket": async (lock) => {
    await makeStale(lock);
    return lock;
  },
  "a hard link to a file": (lock) => {
    Deno.writeTextFileSync(`${lock}.victim`, "precious");
    Deno.linkSync(`${lock}.victim`, lock);
    return `${lock}.victim`;
  },
  "a hard link to an empty file": (lock) => {
    Deno.writeTextFileSync(`${lock}.victim`, "");
    Deno.linkSync(`${lock}.victim`, lock);
    return `${lock}.victim`;
  },
  "a file with other content": (lock) => {
    Deno.writeTextFileSync(lock, "precious");
    return lock;
  },
  "a file that begins like a lock": (lock) => {
    Deno.writeTextFileSync(lock, "123\nprecious");
    return lock;
  },
  "a file that begins with a blank line": (lock) => {
    Deno.writeTextFileSync(lock, "\nprecious");
    return lock;
  },
};

for (const [what, plant] of Object.entries(PLANTED)) {
  test(
    `claim(), listen() and serve() refuse ${what} as the lock, and do not touch it`,
    async () => {
      await using dir = new TempDir();
      // All at once, because an unusable lock is retried for a while.
      const planted = await Promise.all(
        Object.keys(OWNERS).map(async (name) => {
          const lock = `${dir.file(operationOf(name))}.lock`;
          return { name, lock, victim: await plant(lock) };
        }),
      );
      const files = dir.list();
      const before = files.map((file) => look(dir.file(file)));
      await Promise.all(planted.map(async ({ name, lock }) => {
        const error = await assertRefused(
          () => OWNERS[name]!(lock.replace(/\.lock$/, "")),
          {
            is: InsecurePath,
            says: `Cannot lock "${lock}"`,
            operation: operationOf(name),
            path: lock,
            code: "EPERM",
          },
        );
        assertInstanceOf(error, Deno.errors.PermissionDenied);
      }));
      assertEquals(dir.list(), files);
      assertEquals(files.map((file) => look(dir.file(file))), before);
      for (const { victim } of planted) Deno.lstatSync(victim);
    },
    { needs: what === "a fifo" ? ["mkfifo"] : [] },
  );
}

for (
  const [what, content] of [
    ["an empty lock file", () => ""],
    ["a lock file with the pid of a dead process", async () => lockContent(await deadPid())],
    [
      "a lock file with the pid of a living process that does not hold it",
      () => lockContent(Deno.ppid),
    ],
  ] as const
) {
  test(`claim(), listen() and serve() take ${what} that was left behind`, async () => {
    await using dir = new TempDir();
    for (const [name, own] of Object.entries(OWNERS)) {
      const path = dir.file(operationOf(name));
      Deno.writeTextFileSync(`${path}.lock`, await content(), { mode: 0o700 });
      await using _owned = await own(path);
      assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid));
    }
    assertEquals(dir.list(), []);
  });
}

for (const directoryMode of [0o777, 0o1777]) {
  const where = directoryMode === 0o777 ? "an open directory" : "a sticky directory";
  for (
    const [what, mode, content] of [
      ["closed", 0o600, ""],
      ["open to all", 0o666, ""],
      ["open to all and with other content", 0o666, "precious"],
    ] as const
  ) {
    test(
      `claim(), listen() and serve() refuse a lock file of another user, ${what}, in ${where}`,
      async () => {
        await using dir = new TempDir(directoryMode);
        for (const name of Object.keys(OWNERS)) {
          const lock = `${dir.file(operationOf(name))}.lock`;
          Deno.writeTextFileSync(lock, content);
          Deno.chmodSync(lock, mode);
        }
        const files = dir.list();
        // Its times may show that it was opened and written to. All else must be unchanged.
        const unharmed = () => files.map((file) => ({ ...look(dir.file(file)), mtime: undefined }));
        const before = unharmed();
        const names = Object.keys(OWNERS);
        const refusals = await Promise.all(
          names.map((name) => asNobody(name, dir.file(operationOf(name)))),
        );
        for (const [i, { message, ...fields }] of refusals.entries()) {
          const operation = operationOf(names[i]!);
          const path = dir.file(`${operation}.lock`);
          assertEquals(fields, { name: "InsecurePath", operation, path, code: "EPERM" });
          assertStringIncludes(`${message}`, `Cannot lock "${path}"`);
        }
        assertEquals(dir.list(), files);
        assertEquals(unharmed(), before);
      },
      { root: true },
    );
  }
}
